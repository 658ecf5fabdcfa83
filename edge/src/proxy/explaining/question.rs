//! The request of a question, and the connection that nobody made for it.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::exchange::Connection;
use crate::explanation::Question;

/// The request of a question.
pub(super) fn parts(question: &Question) -> Result<Parts, String> {
    let url: Uri = question
        .url
        .parse()
        .map_err(|error| format!("url {:?}: {error}", question.url))?;
    if url.authority().is_none() || url.scheme().is_none() {
        return Err(format!("url {:?} is not absolute", question.url));
    }
    let method = Method::from_bytes(question.method.as_bytes())
        .map_err(|_| format!("method {:?} is none", question.method))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = url;
    // In which the target alone names the host.
    parts.version = Version::HTTP_2;
    for (name, value) in &question.headers {
        let field = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("header {name:?} is no field name"))?;
        let value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("header {name:?}: its value is none"))?;
        parts.headers.append(field, value);
    }
    Ok(parts)
}

/// The connection of a request that nobody made.
pub(super) fn nobody() -> Connection {
    Connection {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        informer: None,
        client_address_header: None,
    }
}
