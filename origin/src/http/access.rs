//! Who may ask: the edge, by its service token; and in whose name it asks, by what the client showed as
//! `Authorization: Bearer TOKEN` (RFC 6750). A token with a dot in it is a JWT (see `jwt`), one without is that of a session.
//!
//! Who shows no token is anonymous. A token that is not to be believed is refused wherever it matters who asks, and not
//! looked at where it does not: what everyone may see is the same for everyone, and caches may share it.
//!
//! A handler says what it needs: an `Asker` refuses whoever is anonymous, an `Option<Asker>` does not. What the asker may
//! do is decided in the handler by `Asker::must_be` and its like, or in the statement's own WHERE.

use std::fmt;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

pub use crate::http::jwt::sign;
use crate::{activity::sessions, http::error::Problem, postgres::replicas::Servers};

const SERVICE_TOKEN: HeaderName = HeaderName::from_static("x-service-token");
/// What anyone may see: nothing in it is anyone's.
const OPEN: [&str; 2] = ["/health", "/openapi.json"];
/// For those who watch the origin on its own network. What comes through an edge shows the token, and has no business
/// here.
const METRICS: &str = "/metrics";
const MONITORING: &str = "/api/monitoring/";

/// The token, as its hash. Hashes are compared in constant time, and tell nothing of the token's length.
#[derive(Clone)]
pub(crate) struct Token(blake3::Hash);

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }
}

/// What a user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes courses. Everybody begins as one.
    Student,
    /// Gives courses of their own.
    Instructor,
    /// May do everything.
    Admin,
}

impl Role {
    /// The name that the database and the API have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Student => "student",
            Self::Instructor => "instructor",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        let all = [Self::Student, Self::Instructor, Self::Admin];
        all.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A user who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) id: i64,
    pub(crate) role: Role,
    /// When the token ends by itself, in seconds since 1970; a session's may be ended at any moment.
    pub(crate) until: Option<i64>,
}

impl Asker {
    pub(crate) fn is_admin(self) -> bool {
        self.role == Role::Admin
    }

    /// Whether the user may make courses and documents.
    pub(crate) fn is_instructor_or_admin(self) -> bool {
        matches!(self.role, Role::Instructor | Role::Admin)
    }

    /// Whether what is that user's is for this one.
    pub(crate) fn is_self_or_admin(self, user: i64) -> bool {
        self.id == user || self.is_admin()
    }

    /// Whether the user may do what a course's instructor may.
    pub(crate) fn may_teach(self, instructor: Option<i64>) -> bool {
        self.is_admin() || (self.role == Role::Instructor && instructor == Some(self.id))
    }

    /// Refuses everybody but the user and admins.
    pub(crate) fn must_be(self, user: i64) -> Result<(), Problem> {
        allowed(
            self.is_self_or_admin(user),
            "only that user or an admin may",
        )
    }

    /// Refuses everybody but admins.
    pub(crate) fn must_be_admin(self) -> Result<(), Problem> {
        allowed(self.is_admin(), "only an admin may")
    }

    /// Refuses students.
    pub(crate) fn must_be_instructor(self) -> Result<(), Problem> {
        let detail = "only an instructor or an admin may";
        allowed(self.is_instructor_or_admin(), detail)
    }
}

/// Refuses what is not allowed; the text says to whom it is.
pub(crate) fn allowed(is_allowed: bool, detail: &'static str) -> Result<(), Problem> {
    if is_allowed {
        Ok(())
    } else {
        Err(Problem::forbidden(detail))
    }
}

/// Found out once for each request.
#[derive(Clone, Copy)]
struct Known(Option<Asker>);

/// Whoever asks, who is found out when it matters.
pub(crate) struct Whoever {
    servers: Servers,
    request: HeaderMap,
}

impl Whoever {
    /// The asker; nobody, where no token is shown.
    pub(crate) async fn is(&self) -> Result<Option<Asker>, Problem> {
        who(&self.servers, &self.request).await
    }
}

impl FromRequestParts<Servers> for Whoever {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        Ok(Self {
            servers: servers.clone(),
            request: parts.headers.clone(),
        })
    }
}

impl OptionalFromRequestParts<Servers> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        servers: &Servers,
    ) -> Result<Option<Self>, Problem> {
        if let Some(Known(asker)) = parts.extensions.get() {
            return Ok(*asker);
        }
        let asker = who(servers, &parts.headers).await?;
        parts.extensions.insert(Known(asker));
        Ok(asker)
    }
}

impl FromRequestParts<Servers> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        <Self as OptionalFromRequestParts<Servers>>::from_request_parts(parts, servers)
            .await?
            .ok_or_else(Problem::anonymous)
    }
}

/// Who shows the token of a request; nobody, where none is shown.
async fn who(servers: &Servers, request: &HeaderMap) -> Result<Option<Asker>, Problem> {
    let Some(token) = bearer(request)? else {
        return Ok(None);
    };
    if !token.contains('.') {
        return sessions::asker(servers.on_redis(), token).await.map(Some);
    }
    let key = servers.jwt_key().ok_or("tokens of this kind are not known");
    key.and_then(|key| key.verify(token, servers.clock().now()))
        .map(Some)
        .map_err(Problem::invalid_token)
}

/// The token that a request shows; nothing when it shows none.
pub(crate) fn bearer(request: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = request.get_all(header::AUTHORIZATION).iter();
    let one = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(one), None) => one.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    match one.and_then(|given| given.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::invalid_token(
            "authorization must be one bearer token",
        )),
    }
}

/// The space of a request's idempotency keys: each user has one, and all who are anonymous share one.
pub(crate) fn scope(asker: Option<Asker>) -> String {
    match asker {
        Some(asker) => format!("user:{}", asker.id),
        None => "anonymous".to_owned(),
    }
}

/// Lets a request pass that shows the token or needs none.
pub(crate) async fn require(State(token): State<Token>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let shown = request.headers().get(SERVICE_TOKEN);
    let path = request.uri().path();
    if path == METRICS || path.starts_with(MONITORING) {
        return match shown {
            None => next.run(request).await,
            Some(_) => Problem::nothing_here().into_response(),
        };
    }
    let shown = shown.map(|value| blake3::hash(value.as_bytes()));
    if shown == Some(token.0) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}
