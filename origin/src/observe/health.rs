//! Health: whether the origin can answer. Open to all, for those who watch it.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{answer::written, error::Problem},
    postgres::{primary::NoConnection, replicas::Servers},
};

/// Whether the origin can answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    layer: &'static str,
    databases: Databases,
}

/// The databases that the origin needs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Databases {
    /// `connected`, `busy` (all connections are in use) or `unreachable`.
    postgresql: &'static str,
    /// Whether requests for it are let through: `closed` (they are), `half-open` (one is), `open` (none is).
    circuit: &'static str,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/health", get(show))
}

/// Says whether the origin can answer.
#[utoipa::path(get, path = "/health", tag = "operations", responses(
    (status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn show(State(servers): State<Servers>) -> Result<Response, Problem> {
    let primary = servers.primary();
    // A connection is asked whether it lives before it is given out, and a new one has just been made.
    let (code, status, postgresql) = match primary.acquire().await {
        Ok(_) => (StatusCode::OK, "healthy", "connected"),
        // Nobody is helped when an origin that has much to do is taken for a dead one.
        Err(NoConnection::Exhausted) => (StatusCode::OK, "degraded", "busy"),
        Err(NoConnection::Open { .. } | NoConnection::Unreachable) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "unreachable")
        }
    };
    let databases = Databases {
        postgresql,
        circuit: primary.circuit(),
    };
    written(
        code,
        &Health {
            status,
            layer: "origin",
            databases,
        },
    )
}
