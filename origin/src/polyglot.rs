//! Transactions and documents under one roof, and how many there are of each: what elsewhere takes two databases.

pub(crate) mod documents;
pub(crate) mod stats;
pub(crate) mod transactions;

use axum::Router;
use utoipa::OpenApi;

use crate::postgres::replicas::Servers;

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .merge(documents::routes())
        .merge(transactions::routes())
        .merge(stats::routes())
}

/// The room's part of the description.
#[derive(OpenApi)]
#[openapi(paths(
    documents::write,
    documents::read,
    documents::listing::list,
    transactions::write,
    transactions::read,
    stats::show,
))]
pub(crate) struct Description;
