//! Requests that guests make.
//!
//! They go where the guest's route allows and nowhere else: what a response refers to is the
//! guest's to ask for, and is looked at like anything else it asks for. Connections are the
//! worker's own, a pool for each authority, like those to an origin.

mod pools;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRANSFER_ENCODING, VIA};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tidegate_semantics::strip_hop_by_hop;

use crate::body::{Body, BodyError, Received, is_about_its_body, unless_empty};
use crate::error::Failure;
use crate::upstream::{UnknownCoding, copies, strip_lsn};
use pools::Pools;

pub use crate::config::AllowedHosts;

/// Of an upgrade, which is not offered (RFC 9113 §3.1).
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The way out for the guests of one worker.
pub struct Egress {
    pools: Pools,
    via: HeaderValue,
}

/// Why a guest's request brought no response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EgressError {
    #[error("{0:?} is no absolute http url")]
    Url(String),
    #[error("method {0} is for tunnels, and there are none")]
    Method(Method),
    #[error("{0} is not among the hosts that the route allows")]
    Denied(String),
    #[error("https is not supported: requests of plugins go by http alone")]
    Https,
    #[error("cannot connect to {to}: {reason}")]
    Connect { to: String, reason: String },
    #[error("{to} did not answer within {within:?}")]
    Timeout { to: String, within: Duration },
    #[error("{to} broke off: {reason}")]
    Terminated { to: String, reason: String },
    #[error("{to} sent no usable response: {reason}")]
    Protocol { to: String, reason: String },
    #[error("{to} sent a body of more than {most} bytes")]
    TooLarge { to: String, most: usize },
}

impl Egress {
    /// A way out; `via` is our name in `Via`. Must be used inside the worker's runtime.
    pub fn new(via: HeaderValue) -> Egress {
        Egress {
            pools: Pools::new(),
            via,
        }
    }

    /// Sends a request for an absolute URL, without following redirects, and waits for the head of
    /// the response. Fields that belong to the connection are ours, whatever the request says.
    /// The head must be there within `timeout`, connecting and sending included, but not the second at
    /// most that is given to a guest to say whether its GET has a body; each part of the body within
    /// `timeout` of the one before.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn send(
        &self,
        allowed: &AllowedHosts,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Received>, EgressError> {
        let target = Target::of(request.method(), request.uri(), allowed)?;
        let to = target.authority.to_string();
        let upstream = self.pools.upstream(&target.authority)?;
        // The guest's time, not the server's.
        let request = without_empty_body(request).await;
        let request = self.outbound(request, target.path, &target.host);
        let sent = upstream.send(copies(request));
        let response = match tokio::time::timeout(timeout, sent).await {
            Ok(response) => response.map_err(|failure| EgressError::of(failure, &to, timeout))?,
            Err(_) => {
                return Err(EgressError::Timeout {
                    to,
                    within: timeout,
                });
            }
        };
        if response.extensions().get::<UnknownCoding>().is_some() {
            let reason = "its transfer coding is not known".to_owned();
            return Err(EgressError::Protocol { to, reason });
        }
        let mut response = response.map(|body| Received::new(body, timeout, usize::MAX));
        let headers = response.headers_mut();
        strip_hop_by_hop(headers);
        headers.remove(TRANSFER_ENCODING);
        Ok(response)
    }

    /// [`Egress::send`], with the whole response, of at most `most` bytes, within `timeout`.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn fetch(
        &self,
        allowed: &AllowedHosts,
        request: Request<Body>,
        timeout: Duration,
        most: usize,
    ) -> Result<Response<Bytes>, EgressError> {
        let to = request.uri().authority().map(Authority::to_string);
        let to = to.unwrap_or_default();
        let fetch = async {
            let (head, body) = self.send(allowed, request, timeout).await?.into_parts();
            let body = collect(body, most).await.map_err(|error| match error {
                BodyError::TooLarge(most) => EgressError::TooLarge {
                    to: to.clone(),
                    most,
                },
                BodyError::Timeout(within) => EgressError::Timeout {
                    to: to.clone(),
                    within,
                },
                BodyError::Cut(reason) => EgressError::Terminated {
                    to: to.clone(),
                    reason,
                },
            })?;
            Ok(Response::from_parts(head, body))
        };
        match tokio::time::timeout(timeout, fetch).await {
            Ok(response) => response,
            Err(_) => Err(EgressError::Timeout {
                to: to.clone(),
                within: timeout,
            }),
        }
    }

    /// The message for the connection.
    fn outbound(
        &self,
        request: Request<Body>,
        path: PathAndQuery,
        host: &HeaderValue,
    ) -> Request<Body> {
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        strip_own(&mut headers);
        headers.insert(HOST, host.clone());
        headers.append(VIA, self.via.clone());
        if body.size_hint().exact().is_none() {
            // Left to itself, hyper leaves the body of a GET behind.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        request
    }
}

/// A request that needs no body, without one where there is nothing to it: many servers refuse a GET
/// that comes in chunks, if only in none.
async fn without_empty_body(request: Request<Body>) -> Request<Body> {
    let (head, body) = request.into_parts();
    let body = match body {
        Body::Stream(_) if !is_about_its_body(&head.method) => match unless_empty(body).await {
            Some(body) => Body::stream(body),
            None => Body::Empty,
        },
        body => body,
    };
    Request::from_parts(head, body)
}

/// Removes what belongs to the connection or to the edge (RFC 9110 §7.2, §7.6.1, §10.1.1).
fn strip_own(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in [
        CONTENT_LENGTH,
        EXPECT,
        HOST,
        HTTP2_SETTINGS,
        TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    strip_lsn(headers);
}

/// Where a request goes.
struct Target {
    /// In lower case, always with a port.
    authority: Authority,
    host: HeaderValue,
    path: PathAndQuery,
}

impl Target {
    fn of(method: &Method, url: &Uri, allowed: &AllowedHosts) -> Result<Target, EgressError> {
        let wrong = || EgressError::Url(shown(url));
        if method == Method::CONNECT {
            return Err(EgressError::Method(method.clone()));
        }
        let authority = url.authority().ok_or_else(wrong)?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EgressError::Https),
            _ => return Err(wrong()),
        }
        // Whoever writes a user before a host means to be read in two ways (RFC 9110 §4.2.4).
        if authority.as_str().contains('@') {
            return Err(wrong());
        }
        let name = authority.host().to_ascii_lowercase();
        let port = port_of(authority).ok_or_else(wrong)?;
        if !allowed.allows(url) {
            return Err(EgressError::Denied(authority.to_string()));
        }
        let path = url.path_and_query().cloned();
        Ok(Target {
            authority: format!("{name}:{port}").parse().map_err(|_| wrong())?,
            host: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?,
            path: path.unwrap_or(PathAndQuery::from_static("/")),
        })
    }
}

/// The port of an authority without a user; the parser of URLs takes anything for one, and "+80" for
/// a number (RFC 3986 §3.2.3).
fn port_of(authority: &Authority) -> Option<u16> {
    let behind = &authority.as_str()[authority.host().len()..];
    match behind.strip_prefix(':') {
        None if behind.is_empty() => Some(80),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
}

/// A URL as an error shows it: without a query or a user, which may be secret.
fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let authority = url.authority().map(Authority::as_str).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", url.path())
}

impl EgressError {
    /// The one word for this case in metrics and in what guests are told.
    pub fn name(&self) -> &'static str {
        match self {
            EgressError::Url(_) | EgressError::Method(_) => "invalid",
            EgressError::Denied(_) | EgressError::Https => "denied",
            EgressError::Connect { .. } => "connect",
            EgressError::Timeout { .. } => "timeout",
            EgressError::Terminated { .. } => "terminated",
            EgressError::Protocol { .. } => "protocol",
            EgressError::TooLarge { .. } => "too-large",
        }
    }

    fn of(failure: Failure, to: &str, within: Duration) -> EgressError {
        let to = to.to_owned();
        match failure {
            Failure::Connect { reason, .. } => EgressError::Connect { to, reason },
            Failure::Timeout { .. } => EgressError::Timeout { to, within },
            Failure::Terminated { reason, .. } => EgressError::Terminated { to, reason },
            Failure::Protocol { reason, .. } => EgressError::Protocol { to, reason },
            other => EgressError::Protocol {
                to,
                reason: other.to_string(),
            },
        }
    }
}

/// All of a body, unless it is larger than `most`.
async fn collect(mut body: Received, most: usize) -> Result<Bytes, BodyError> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if data.len() > most - collected.len() {
                return Err(BodyError::TooLarge(most));
            }
            collected.extend_from_slice(&data);
        }
    }
    Ok(collected.freeze())
}

#[cfg(test)]
mod tests;
