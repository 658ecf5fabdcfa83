//! How the origin is: for a load balancer, for Prometheus, and for a person.

pub(crate) mod asked;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod monitoring;
pub(crate) mod recent;
pub(crate) mod shared;

use axum::Router;
use utoipa::OpenApi;

use crate::state::Servers;

/// What is asked of the servers by those who watch, once for all of them.
#[derive(Default)]
pub(crate) struct Watched {
    asked: shared::Shared<asked::Asked>,
    reached: shared::Shared<health::Reached>,
}

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
