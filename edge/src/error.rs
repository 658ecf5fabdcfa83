//! Every way in which the edge itself answers instead of the cache or an origin, and its status.

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::wasm::FailureKind;

/// Why a request got no response from the cache or an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("the request target is longer than {0} bytes")]
    TargetTooLong(usize),
    #[error("the request body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("transfer coding {0:?} is not supported")]
    TransferCoding(String),
    #[error("method {0} is not supported")]
    Method(&'static str),
    #[error("no route for {0:?}")]
    NoRoute(String),
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("cannot connect to origin {origin:?}: {reason}")]
    Connect { origin: String, reason: String },
    #[error("origin {origin:?} broke off: {reason}")]
    Terminated { origin: String, reason: String },
    #[error("origin {origin:?} sent no usable response: {reason}")]
    Protocol { origin: String, reason: String },
    #[error("origin {origin:?} did not answer within {seconds} s")]
    Timeout { origin: String, seconds: u64 },
    #[error("nothing usable is stored, and the request allows nothing else")]
    OnlyIfCached,
    #[error("plugin {plugin:?} failed ({kind})")]
    Plugin { plugin: String, kind: &'static str },
    #[error("handler {plugin:?} failed ({kind})")]
    Handler { plugin: String, kind: FailureKind },
    #[error("{0}")]
    NotRecorded(String),
    #[error("{0}")]
    NotMeant(String),
    #[error("too many purges: try again in {seconds} s")]
    TooManyPurges { seconds: u64 },
}

impl Failure {
    /// An origin answered with an error where a stored response may stand in.
    pub fn answered(origin: &str, status: StatusCode) -> Failure {
        Failure::Terminated {
            origin: origin.to_owned(),
            reason: format!("answered {status}"),
        }
    }

    /// The status that a client sees (RFC 9110 §15).
    pub fn status(&self) -> StatusCode {
        match self {
            Failure::BadRequest(_) | Failure::NotMeant(_) => StatusCode::BAD_REQUEST,
            Failure::TooManyPurges { .. } => StatusCode::TOO_MANY_REQUESTS,
            Failure::TargetTooLong(_) => StatusCode::URI_TOO_LONG,
            Failure::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::TransferCoding(_) | Failure::Method(_) => StatusCode::NOT_IMPLEMENTED,
            Failure::NoRoute(_) => StatusCode::NOT_FOUND,
            Failure::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Failure::Connect { .. } | Failure::Terminated { .. } | Failure::Protocol { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Failure::Timeout { .. } | Failure::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Failure::Handler { kind, .. } => match kind {
                FailureKind::Refused => StatusCode::SERVICE_UNAVAILABLE,
                FailureKind::Deadline => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            },
            Failure::Plugin { .. } | Failure::NotRecorded(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The one name of this case: in `Cache-Status`, `Proxy-Status` (RFC 9209 §2.3 where it has
    /// one), log and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Failure::BadRequest(_) | Failure::TargetTooLong(_) | Failure::BodyTooLarge(_) => {
                "http_request_error"
            }
            Failure::TransferCoding(_) | Failure::Method(_) | Failure::NotMeant(_) => {
                "http_request_error"
            }
            Failure::NoRoute(_) => "destination_not_found",
            Failure::Unauthorized(_) | Failure::TooManyPurges { .. } => "http_request_denied",
            Failure::Connect { .. } => "destination_unavailable",
            Failure::Terminated { .. } => "connection_terminated",
            Failure::Protocol { .. } => "http_protocol_error",
            Failure::Timeout { .. } => "http_response_timeout",
            Failure::OnlyIfCached => "only_if_cached",
            Failure::Plugin { .. } | Failure::Handler { .. } => "plugin_failed",
            Failure::NotRecorded(_) => "purge_not_recorded",
        }
    }

    /// Whether a stored response may stand in (RFC 5861 §4): the origin is to blame, or what
    /// answers in its place.
    pub fn is_upstream(&self) -> bool {
        matches!(
            self,
            Failure::Connect { .. }
                | Failure::Terminated { .. }
                | Failure::Protocol { .. }
                | Failure::Timeout { .. }
                | Failure::Handler { .. }
        )
    }

    /// Whether the origin may have acted on the request all the same.
    pub fn may_have_been_sent(&self) -> bool {
        !matches!(
            self,
            Failure::Connect { .. }
                | Failure::Handler {
                    kind: FailureKind::Refused,
                    ..
                }
        )
    }

    /// The answer as problem details (RFC 9457).
    pub fn into_response(self, name: &str) -> Response<Body> {
        let status = self.status();
        let mut response = problem(status, &self.to_string());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Failure::TooManyPurges { seconds } = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status.is_server_error()
            && let Ok(value) = HeaderValue::try_from(format!("{name}; error={}", self.name()))
        {
            headers.insert("proxy-status", value);
        }
        response
    }
}

/// A response with problem details (RFC 9457).
pub fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    problem_with(status, detail, serde_json::Map::new())
}

/// The same with members of its own (RFC 9457 §3.2).
pub fn problem_with(
    status: StatusCode,
    detail: &str,
    members: serde_json::Map<String, serde_json::Value>,
) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    for (name, value) in members {
        body[name] = value;
    }
    let mut response = Response::new(Body::from(bytes::Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    response
}
