//! How the origin is: for a load balancer, for Prometheus, and for a person.

pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod monitoring;

use axum::Router;
use utoipa::OpenApi;

use crate::postgres::replicas::Servers;

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(monitoring::routes())
}

/// The room's part of the description.
#[derive(OpenApi)]
#[openapi(paths(health::show, monitoring::database, monitoring::performance,))]
pub(crate) struct Description;
