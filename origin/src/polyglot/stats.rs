//! Statistics: how much there is.

use axum::{Router, extract::State, http::HeaderMap, response::Response, routing::get};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::{
    http::{access::Asker, answer::Representation, error::Problem},
    postgres::replicas::{Reader, Servers},
};

/// How much there is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stats {
    /// Connections to PostgreSQL that are open.
    postgres_pool_size: u32,
    /// Always 0: documents live in PostgreSQL.
    mongodb_connections: u32,
    /// Always 0: the cache is the edge's, which has statistics of its own.
    cache_keys: u32,
    total_transactions: i64,
    total_documents: i64,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/stats", get(show))
}

/// Shows how much there is.
#[utoipa::path(get, path = "/stats", tag = "operations", responses((status = 200, body = Stats)))]
pub(crate) async fn show(
    asker: Asker,
    State(pool): State<PgPool>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be_admin()?;
    let totals = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM transactions) AS "transactions!",
                  (SELECT count(*) FROM documents) AS "documents!""#
    )
    .fetch_one(&mut *reader)
    .await?;
    let stats = Stats {
        postgres_pool_size: pool.size(),
        mongodb_connections: 0,
        cache_keys: 0,
        total_transactions: totals.transactions,
        total_documents: totals.documents,
    };
    Ok(Representation::of(&stats)?.answer(&request))
}
