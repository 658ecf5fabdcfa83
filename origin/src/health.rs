//! Health: whether the origin can answer. Open to all, for those who watch it.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::{answer::written, error::Problem, replicas::Servers};

/// Whether the origin can answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    layer: &'static str,
    databases: Databases,
}

/// The databases that the origin needs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Databases {
    /// `connected` or `unreachable`.
    postgresql: &'static str,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/health", get(show))
}

/// Says whether the origin can answer.
#[utoipa::path(get, path = "/health", tag = "operations", responses(
    (status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn show(State(pool): State<PgPool>) -> Result<Response, Problem> {
    let reached = sqlx::query("SELECT 1").execute(&pool).await.is_ok();
    let (code, status, postgresql) = if reached {
        (StatusCode::OK, "healthy", "connected")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "unreachable")
    };
    written(
        code,
        &Health {
            status,
            layer: "origin",
            databases: Databases { postgresql },
        },
    )
}
