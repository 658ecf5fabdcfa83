//! Health: whether the origin can answer. Open to all, for those who watch it.

use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{answer::written, error::Problem},
    postgres::primary::NoConnection,
    state::Servers,
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
    /// `connected`, `busy` (all connections are in use), `unreachable`, or `starting` (it has not been reached since the
    /// origin started, or its tables are being brought up to date).
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
    let reached = reach(&servers).await;
    let (code, status) = standing(reached);
    let postgresql = match reached {
        Ok(_) => "connected",
        Err(NoConnection::Exhausted) => "busy",
        Err(NoConnection::NotReady) => "starting",
        Err(NoConnection::Open { .. } | NoConnection::Unreachable) => "unreachable",
    };
    let databases = Databases {
        postgresql,
        circuit: servers.primary().circuit(),
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

/// How long it took to get a connection that lives, or why there is none; tried once for all who ask at a time.
pub(crate) type Reached = Result<Duration, NoConnection>;

/// Tries whether a request would get a connection.
pub(crate) async fn reach(servers: &Servers) -> Reached {
    let question = async {
        let begun = Instant::now();
        // A connection is asked whether it lives before it is given out, and a new one has just been made.
        let reached = servers.primary().acquire().await;
        reached.map(|_| begun.elapsed())
    };
    servers.watched().reached.ask(question).await
}

/// What that says of the origin.
pub(crate) fn standing(reached: Reached) -> (StatusCode, &'static str) {
    match reached {
        Ok(_) => (StatusCode::OK, "healthy"),
        // Nobody is helped when an origin that has much to do is taken for a dead one.
        Err(NoConnection::Exhausted) => (StatusCode::OK, "degraded"),
        Err(NoConnection::NotReady | NoConnection::Open { .. } | NoConnection::Unreachable) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
        }
    }
}
