//! How the origin does, for people and for what has no Prometheus: its database, and its times.
//!
//! For those beside the origin, as `/metrics` is. Times are those of the last 1,024 requests, exactly.

use std::time::Instant;

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
    routing::get,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{answer::written, error::Problem},
    observe::{
        asked::ask,
        health::{reach, standing},
        recent::Percentiles,
    },
    state::Servers,
};

/// The database, as the origin sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatabaseHealth {
    /// `healthy`, `degraded` (all connections are in use) or `unhealthy`.
    status: &'static str,
    /// Whether requests are let through: `closed` (they are), `half-open` (one is), `open` (none is).
    circuit: &'static str,
    pool: Pool,
    /// How long it took to get a connection and to hear that it lives, in milliseconds.
    latency_ms: Option<f64>,
    replica: Replica,
    outbox: Outbox,
}

/// The connections that requests use.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pool {
    size: u32,
    idle: usize,
    max: u32,
    /// Requests that wait for one.
    waiting: i64,
}

/// The standby that may answer reads.
#[derive(Serialize, ToSchema)]
pub(crate) struct Replica {
    configured: bool,
    /// How much of the primary's log it has not replayed; nothing when it cannot be told.
    lag_bytes: Option<f64>,
}

/// Tags that wait for the purge log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outbox {
    rows: Option<i64>,
    oldest_seconds: Option<f64>,
}

/// The origin's times.
#[derive(Serialize, ToSchema)]
pub(crate) struct Performance {
    uptime_seconds: f64,
    requests: Requests,
    /// From a request's arrival to its answer.
    response_ms: Percentiles,
    /// Of a read's statements, or of a write's transaction, on their connection.
    query_ms: Percentiles,
}

/// Requests since the start.
#[derive(Serialize, ToSchema)]
pub(crate) struct Requests {
    total: u64,
    /// Those answered with 5xx.
    failed: u64,
    /// The part of them that failed, 0 to 100.
    error_rate_percent: f64,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/api/monitoring/database/health", get(database))
        .route("/api/monitoring/performance", get(performance))
}

/// Times and counts every request.
pub(crate) async fn measure(
    State(servers): State<Servers>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let answer = next.run(request).await;
    servers.metrics().answered(answer.status(), begun.elapsed());
    answer
}

/// Says how the database does.
#[utoipa::path(get, path = "/api/monitoring/database/health", tag = "operations", responses(
    (status = 200, body = DatabaseHealth), (status = 503, body = DatabaseHealth)))]
pub(crate) async fn database(State(servers): State<Servers>) -> Result<Response, Problem> {
    let primary = servers.primary();
    let reached = reach(&servers).await;
    let (code, status) = standing(reached);
    let asked = ask(&servers).await;
    let pool = primary.pool();
    let health = DatabaseHealth {
        status,
        circuit: primary.circuit(),
        pool: Pool {
            size: pool.size(),
            idle: pool.num_idle(),
            max: pool.options().get_max_connections(),
            waiting: servers.metrics().waiting_requests(),
        },
        latency_ms: reached.ok().map(|latency| latency.as_secs_f64() * 1_000.0),
        replica: Replica {
            configured: servers.replica().is_some(),
            lag_bytes: asked.lag,
        },
        outbox: Outbox {
            rows: asked.outbox.map(|(rows, _)| rows),
            oldest_seconds: asked.outbox.map(|(_, oldest)| oldest),
        },
    };
    written(code, &health)
}

/// Says how long answers and statements take.
#[utoipa::path(get, path = "/api/monitoring/performance", tag = "operations", responses(
    (status = 200, body = Performance)))]
pub(crate) async fn performance(State(servers): State<Servers>) -> Result<Response, Problem> {
    let metrics = servers.metrics();
    let (total, failed) = metrics.requests();
    let performance = Performance {
        uptime_seconds: servers.clock().elapsed().as_secs_f64(),
        requests: Requests {
            total,
            failed,
            error_rate_percent: failed as f64 * 100.0 / total.max(1) as f64,
        },
        response_ms: metrics.responses.percentiles(),
        query_ms: metrics.queries.percentiles(),
    };
    written(StatusCode::OK, &performance)
}
