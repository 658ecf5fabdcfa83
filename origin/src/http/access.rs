//! Who may ask: the edge, by its service token.

use axum::{
    extract::{Request, State},
    http::HeaderName,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::http::error::Problem;

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

/// In whose name the request comes. The edge asks for everybody and does not say for whom, so that all share one space of
/// keys; those who are known get one of their own here.
pub(crate) fn asker() -> &'static str {
    "edge"
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
