//! Failures as answers: problem details (RFC 9457). The only place that turns a failure into a status.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::answer::{NOT_FOUND, Policy, cache_headers},
    postgres::refusal::{is_contended, is_outage, is_passing},
    redis::client::Away,
};

/// How long a client should wait before it asks for what is away again, unless more is known, in seconds.
const AWAY: u32 = 2;
/// How long it should wait for a connection to come free, in seconds.
const BUSY: u32 = 1;
/// How long it should wait for another request of its own to end, in seconds.
const IN_PROGRESS: u32 = 1;

/// The kinds of a 401 that asks for more than a user's token.
const TOKEN: &str = "urn:tidegate:token";
const INVALID_TOKEN: &str = "urn:tidegate:invalid-token";

/// A failure, as its body shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is; the same kind has the same name.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The field of the request that is at fault, when one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The tags that a cacheable absence falls by; everything else is not stored.
    #[serde(skip)]
    tags: Vec<String>,
    /// After how many seconds asking again may help.
    #[serde(skip)]
    retry_after: Option<u32>,
    /// Whether a statement failed because PostgreSQL went away or does not answer.
    #[serde(skip)]
    is_outage: bool,
    /// Whether somebody else would be answered otherwise.
    #[serde(skip)]
    by_asker: bool,
}

/// Marks the answer to a request of which a statement failed because PostgreSQL went away or does not answer.
#[derive(Clone, Copy)]
pub(crate) struct Unavailable;

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            tags: Vec::new(),
            retry_after: None,
            is_outage: false,
            by_asker: false,
        }
    }

    /// The body or the query is not written as it should be.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "urn:tidegate:malformed",
            "The request cannot be read",
            detail,
        )
    }

    /// The request can be read, and its values make no sense.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "urn:tidegate:invalid",
            "A value is not acceptable",
            detail,
        )
    }

    /// The body is not JSON by its own account.
    pub(crate) fn not_json() -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(
            status,
            "urn:tidegate:not-json",
            "The body is not JSON",
            "content-type must be application/json",
        )
    }

    /// The body is longer than we read.
    pub(crate) fn too_large() -> Self {
        let detail = format!("a body may have {} bytes", crate::http::BODY_LIMIT);
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "urn:tidegate:too-large",
            "The body is too large",
            detail,
        )
    }

    /// The body is longer than what is kept with a key.
    pub(crate) fn too_large_to_keep(limit: usize) -> Self {
        let detail = format!("a body may have {limit} bytes where an idempotency-key is given");
        Self {
            detail,
            ..Self::too_large()
        }
    }

    /// The client has not sent the body in time.
    pub(crate) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "urn:tidegate:too-slow",
            "The body does not come",
            "the body must be sent without a pause: try again",
        )
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "urn:tidegate:not-found",
            "There is no such thing",
            detail,
        )
    }

    /// The path leads nowhere.
    pub(crate) fn nothing_here() -> Self {
        Self::not_found("there is nothing at this path")
    }

    /// The thing is there and does not know the method.
    pub(crate) fn method_not_allowed() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(
            status,
            "urn:tidegate:method",
            "The method is not allowed here",
            "see the allow field",
        )
    }

    /// The request is in the way of what is there.
    pub(crate) fn conflict(
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// The state is not the one that the request demands (RFC 9110 section 15.5.13).
    pub(crate) fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "urn:tidegate:precondition",
            "The state is another one",
            "if-match or if-none-match does not fit what is there: get it again",
        )
    }

    /// A request with the same key has not ended.
    pub(crate) fn in_progress() -> Self {
        let problem = Self::conflict(
            "urn:tidegate:in-progress",
            "A request with this key is in progress",
            "its answer is to be had by the same request in a moment",
        );
        Self {
            retry_after: Some(IN_PROGRESS),
            ..problem
        }
    }

    /// The key stands for another request.
    pub(crate) fn other_request() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "urn:tidegate:key-reused",
            "The key stands for another request",
            "a request with this idempotency-key had another path, body or condition",
        )
        .field("idempotency-key")
    }

    /// The request does not come from the edge.
    pub(crate) fn unauthorized() -> Self {
        let detail = "x-service-token is missing or wrong";
        Self::new(
            StatusCode::UNAUTHORIZED,
            TOKEN,
            "The edge's token is needed",
            detail,
        )
    }

    /// It matters who asks, and nobody says so.
    pub(crate) fn anonymous() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "urn:tidegate:anonymous",
            "It must be known who asks",
            "authorization must be the bearer token of a user",
        )
    }

    /// The token of a user is not to be believed (RFC 6750 section 3.1).
    pub(crate) fn invalid_token(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            INVALID_TOKEN,
            "The token is not valid",
            detail,
        )
    }

    /// Nobody is known by the name and the password.
    pub(crate) fn credentials() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "urn:tidegate:credentials",
            "Nobody is known by these",
            "the name or the password is wrong",
        )
    }

    /// Too many passwords are being looked at.
    pub(crate) fn hashing() -> Self {
        let problem = Self::later(
            "urn:tidegate:hashing",
            "The origin is busy with passwords",
            "too many passwords are being looked at: try again in a moment",
        );
        Self {
            retry_after: Some(BUSY),
            ..problem
        }
    }

    /// Something that cannot happen has; the log says what, and the client does not hear it.
    pub(crate) fn failed(what: &'static str, error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "{what}");
        Self::internal()
    }

    /// The user who asks may not do this.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "urn:tidegate:forbidden",
            "The user may not do this",
            detail,
        )
    }

    /// PostgreSQL is away or too slow; asking again later may help.
    pub(crate) fn unavailable() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(
            status,
            "urn:tidegate:unavailable",
            "The database is not available",
            "try again in a moment",
        )
    }

    /// PostgreSQL has fallen silent in the midst of a request.
    pub(crate) fn silent() -> Self {
        Self {
            is_outage: true,
            ..Self::unavailable()
        }
    }

    /// The same where it is known when it may be asked again.
    pub(crate) fn unavailable_for(wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self {
            retry_after: Some(seconds.max(1)),
            ..Self::unavailable()
        }
    }

    /// All connections to PostgreSQL are in use.
    pub(crate) fn busy() -> Self {
        let problem = Self::later(
            "urn:tidegate:busy",
            "The origin is busy",
            "all connections to the database are in use: try again in a moment",
        );
        Self {
            retry_after: Some(BUSY),
            ..problem
        }
    }

    /// Others write the same at this moment.
    pub(crate) fn contended() -> Self {
        let problem = Self::later(
            "urn:tidegate:contended",
            "Others are in the way",
            "what the request needs is being changed by others: try again in a moment",
        );
        Self {
            retry_after: Some(BUSY),
            ..problem
        }
    }

    /// Something that the answer needs is not there now; the text says what.
    pub(crate) fn later(
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail)
    }

    /// Our own mistake.
    pub(crate) fn internal() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(
            status,
            "urn:tidegate:internal",
            "The origin failed",
            "the failure has been logged",
        )
    }

    /// Names the field at fault.
    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says in which part of the request the field at fault is.
    pub(crate) fn within(mut self, part: &str) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("{part}.{field}"),
            None => part.to_owned(),
        });
        self
    }

    /// Says that it depends on who asks, so that caches keep it for those alone who show the same token, or none.
    pub(crate) fn by_asker(mut self) -> Self {
        self.by_asker = true;
        self
    }

    /// Lets caches keep the absence for a moment, until one of the tags falls.
    pub(crate) fn tagged(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags.extend(tags);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem has only strings and a number");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        let policy = if self.tags.is_empty() {
            &Policy::NoStore
        } else {
            &NOT_FOUND
        };
        cache_headers(headers, policy, &self.tags);
        let is_passing = status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(seconds) = self.retry_after.or(is_passing.then_some(AWAY)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.is_outage {
            response.extensions_mut().insert(Unavailable);
        }
        let headers = response.headers_mut();
        if self.by_asker {
            headers.insert(header::VARY, HeaderValue::from_static("authorization"));
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1 asks for a challenge, and RFC 6750 section 3 says what is in it.
            let challenge = match self.kind {
                TOKEN => "ServiceToken",
                INVALID_TOKEN => "Bearer error=\"invalid_token\"",
                _ => "Bearer",
            };
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_contended(&error) {
            tracing::warn!(%error, "others are in the way of a request");
            return Self::contended();
        }
        if is_passing(&error) {
            tracing::warn!(%error, "the database is not available");
            return Self {
                is_outage: is_outage(&error),
                ..Self::unavailable()
            };
        }
        if let sqlx::Error::Database(refused) = &error {
            match refused.code().as_deref() {
                Some("23505") => {
                    let problem = Self::conflict(
                        "urn:tidegate:taken",
                        "The value is taken",
                        "another one has this value",
                    );
                    return named(problem, refused.constraint());
                }
                Some("23503") => {
                    let problem = Self::invalid("it refers to something that is not there");
                    return named(problem, refused.constraint());
                }
                Some("23514") => {
                    let problem = Self::invalid("the value is out of its bounds");
                    return named(problem, refused.constraint());
                }
                // Class 22: data exceptions. PostgreSQL's own words may have the value in them, and are for the log.
                Some(code) if code.starts_with("22") => {
                    tracing::warn!(%error, "the database refuses a value");
                    return Self::invalid("a value is none that can be kept");
                }
                _ => {}
            }
        }
        tracing::error!(%error, "a statement failed");
        Self::internal()
    }
}

impl From<Away> for Problem {
    fn from(error: Away) -> Self {
        tracing::warn!(%error, "redis is not available");
        Self::later(
            "urn:tidegate:redis-unavailable",
            "Redis is not available",
            "try again in a moment",
        )
    }
}

/// Names the field that a constraint is on: constraints are called `TABLE_FIELD_KIND`.
fn named(problem: Problem, constraint: Option<&str>) -> Problem {
    let field = constraint
        .and_then(|name| name.split_once('_'))
        .and_then(|(_, rest)| rest.rsplit_once('_'))
        .map(|(field, _)| field.to_owned());
    match field {
        Some(field) => problem.field(field),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_names_its_field() {
        for (constraint, field) in [
            (Some("users_email_key"), Some("email")),
            (Some("courses_max_students_check"), Some("max_students")),
            (Some("courses_instructor_id_fkey"), Some("instructor_id")),
            (Some("odd"), None),
            (None, None),
        ] {
            assert_eq!(
                named(Problem::invalid(""), constraint).field.as_deref(),
                field,
                "{constraint:?}"
            );
        }
    }
}
