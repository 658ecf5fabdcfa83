//! One request on its way through the edge: what it asks for, checked once at the door.

mod fields;
mod host;
mod upgrade;

use std::net::IpAddr;

pub use fields::Fields;
pub use host::canonical;
use http::header::{COOKIE, EXPECT, FORWARDED, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use hyper::body::{Body as _, Incoming};
use tidegate_semantics::{Timestamp, strip_nominated};
pub use upgrade::{Upgrade, is_asked as asks_to_upgrade};

use crate::body::Arriving;
use crate::encoding::Wish;
use crate::error::Failure;
use crate::interim::Informer;

/// A request target over this many bytes is answered 414.
pub(crate) const MAX_TARGET: usize = 16 << 10;

/// In which scheme a client asked, as a front tells those behind it.
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The scheme of our own listener.
const SCHEME: &str = "http";

const NO_TARGET: &str = "the request target is neither a path nor a URL";

/// A checked request, and when it came. Everything is decided with this one `now`.
pub struct Exchange {
    pub now: Timestamp,
    pub client: IpAddr,
    pub version: Version,
    pub method: Method,
    /// What the client used, where a trusted front says so; ours otherwise. Part of the key: an
    /// origin may answer the two differently, with a redirect from one to the other, say.
    pub scheme: &'static str,
    /// Lower-case, without the default port.
    pub authority: Authority,
    pub path_and_query: PathAndQuery,
    pub headers: Fields,
    /// `None` where the request has no body.
    pub body: Option<Arriving>,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// The other protocols in which the client would go on.
    pub upgrade: Option<Box<Upgrade>>,
    /// How interim responses reach the client, where they can.
    pub informer: Option<Informer>,
    /// Which form of the response the client would have, on a route that encodes.
    pub encoding: Option<Wish>,
    /// What the client says it has seen of the purge log, taken out of the request.
    pub token: Option<Box<str>>,
    /// What the request filters added to the cache key.
    pub key_extra: String,
    /// What they added may say whose request it is.
    pub key_depends_on_user: bool,
    /// What the client asked for, where a request filter changed the path or the query.
    pub rewritten_from: Option<PathAndQuery>,
    /// A request filter decided that the cache is not used.
    pub bypass_cache: bool,
}

/// What an exchange needs to know of its connection.
#[derive(Clone)]
pub struct Connection {
    pub client: IpAddr,
    pub informer: Option<Informer>,
    /// The field in which a trusted front names the client's address. What else the front says of
    /// the client is believed only with it.
    pub client_address_header: Option<HeaderName>,
}

impl Exchange {
    /// Checks a request as hyper parsed it: what hyper lets through and a cache must not
    /// (RFC 9110 §7.2, RFC 9112 §3.2, §6.1).
    ///
    /// # Errors
    /// The [`Failure`] to answer with.
    pub fn begin(
        mut request: Request<Incoming>,
        connection: &Connection,
        now: Timestamp,
    ) -> Result<Exchange, Failure> {
        let upgrade = Upgrade::asked(&mut request);
        let (parts, body) = request.into_parts();
        let mut exchange = Exchange::of(parts, connection, now)?;
        exchange.body = (!body.is_end_stream()).then(|| Arriving::from(body));
        exchange.upgrade = upgrade;
        Ok(exchange)
    }

    /// Checks a request without a body.
    ///
    /// # Errors
    /// As [`Exchange::begin`].
    pub fn of(parts: Parts, connection: &Connection, now: Timestamp) -> Result<Exchange, Failure> {
        check_method(&parts)?;
        check_transfer_encoding(&parts.headers)?;
        let authority = host::target_authority(&parts)?;
        let Parts {
            method,
            uri,
            version,
            mut headers,
            ..
        } = parts;
        let path_and_query = rooted(&uri)?;
        if path_and_query.as_str().len() > MAX_TARGET {
            return Err(Failure::TargetTooLong(MAX_TARGET));
        }
        let expects_continue = headers.contains_key(EXPECT);
        let client = client_address(&headers, connection);
        let scheme = if connection.client_address_header.is_some() {
            forwarded_scheme(&headers)
        } else {
            SCHEME
        };
        // What ends here makes no difference to the origin, so it must make none to the cache.
        strip_nominated(&mut headers);
        join_cookies(&mut headers);
        let is_front_trusted = connection.client_address_header.is_some();
        if !is_front_trusted {
            headers.remove(FORWARDED);
        }
        Ok(Exchange {
            now,
            client,
            version,
            method,
            scheme,
            authority,
            path_and_query,
            headers: Fields::from(headers),
            body: None,
            expects_continue,
            upgrade: None,
            // A client of HTTP/1.0 takes an interim response for the final one (RFC 9110 §15.2).
            informer: connection
                .informer
                .clone()
                .filter(|_| version >= Version::HTTP_11),
            encoding: None,
            token: None,
            key_extra: String::new(),
            key_depends_on_user: false,
            rewritten_from: None,
            bypass_cache: false,
        })
    }

    /// The same request without its body, as nobody's answer to the connection: what reaches the
    /// client beside the response, or in its place, is left out.
    pub fn without_body(&self) -> Exchange {
        Exchange {
            now: self.now,
            client: self.client,
            version: self.version,
            method: self.method.clone(),
            scheme: self.scheme,
            authority: self.authority.clone(),
            path_and_query: self.path_and_query.clone(),
            headers: self.headers.clone(),
            body: None,
            expects_continue: self.expects_continue,
            upgrade: None,
            informer: None,
            encoding: None,
            token: self.token.clone(),
            key_extra: self.key_extra.clone(),
            key_depends_on_user: self.key_depends_on_user,
            rewritten_from: self.rewritten_from.clone(),
            bypass_cache: self.bypass_cache,
        }
    }

    /// Whether the cache may answer this kind of request at all.
    pub fn is_lookup(&self) -> bool {
        self.body.is_none()
            && self.upgrade.is_none()
            && !self.bypass_cache
            && (self.method == Method::GET || self.method == Method::HEAD)
    }
}

fn check_method(parts: &Parts) -> Result<(), Failure> {
    if parts.method == Method::CONNECT {
        return Err(Failure::Method("CONNECT"));
    }
    // The answer would tell the client what we add for the origin alone (RFC 9110 §9.3.8).
    if parts.method == Method::TRACE {
        return Err(Failure::Method("TRACE"));
    }
    // `GET x` and `GET host:443` are parsed as an authority alone.
    if parts.uri.scheme().is_none() && parts.uri.authority().is_some() {
        return Err(Failure::BadRequest(NO_TARGET));
    }
    if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
        return Err(Failure::BadRequest("only OPTIONS may ask for \"*\""));
    }
    Ok(())
}

/// Path and query of the target. An empty path is "/", also before a query (RFC 9110 §4.2.3):
/// otherwise one resource had two keys, and purges knew only one of them.
pub(crate) fn rooted(uri: &Uri) -> Result<PathAndQuery, Failure> {
    let path_and_query = match uri.path_and_query() {
        Some(path_and_query) => path_and_query,
        None => return Ok(PathAndQuery::from_static("/")),
    };
    match path_and_query.as_str() {
        "" => Ok(PathAndQuery::from_static("/")),
        text if text.starts_with('/') || text == "*" => Ok(path_and_query.clone()),
        text if text.starts_with('?') => {
            PathAndQuery::try_from(format!("/{text}")).map_err(|_| Failure::BadRequest(NO_TARGET))
        }
        // HTTP/2 may bring any text as `:path`.
        _ => Err(Failure::BadRequest(NO_TARGET)),
    }
}

/// HTTP/2 may bring cookies one a line; everybody else expects one line (RFC 9113 §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined).expect("field values joined by \"; \" are one");
    headers.insert(COOKIE, joined);
}

/// What a trusted front says of the scheme, if it says one that there is, once.
fn forwarded_scheme(headers: &HeaderMap) -> &'static str {
    let mut lines = headers.get_all(FORWARDED_PROTO).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if line.as_bytes().eq_ignore_ascii_case(b"https") => "https",
        _ => SCHEME,
    }
}

/// Only the last coding decides for hyper; anything but one `chunked` would reach us still coded.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(coding), _) => Err(Failure::TransferCoding(
            String::from_utf8_lossy(coding.as_bytes()).into_owned(),
        )),
    }
}

fn client_address(headers: &HeaderMap, connection: &Connection) -> IpAddr {
    let named = connection
        .client_address_header
        .as_ref()
        .and_then(|name| headers.get(name));
    let named = named
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok());
    named.unwrap_or(connection.client)
}
