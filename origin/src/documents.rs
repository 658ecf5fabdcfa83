//! Documents: any JSON under a key, kept as JSONB. A document falls by `document:KEY`, announced by the table's trigger.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::{
    answer::{Policy, Representation, tag, written},
    error::Problem,
    input::{Json, Path, text},
    replicas::{Reader, Servers},
};

const POLICY: Policy = Policy::Public {
    browser: 60,
    edge: 300,
};
/// The longest key, in characters; encoded in a tag it may be twelve times as long.
const LONGEST_KEY: usize = 200;

/// A document to keep; one with the same key is replaced.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewDocument {
    key: String,
    #[schema(value_type = Object)]
    data: Value,
}

/// A document.
#[derive(Serialize, ToSchema)]
pub(crate) struct Document {
    success: bool,
    key: String,
    #[schema(value_type = Object)]
    data: Value,
    /// Always false: the origin has no cache. `Cache-Status` says what the edge did.
    from_cache: bool,
    stored_in: &'static str,
}

impl Document {
    fn new(key: String, data: Value) -> Self {
        Self {
            success: true,
            key,
            data,
            from_cache: false,
            stored_in: "PostgreSQL",
        }
    }
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/write/document", post(write))
        .route("/read/document/{key}", get(read))
}

/// Keeps a document.
#[utoipa::path(post, path = "/write/document", tag = "documents", request_body = NewDocument, responses(
    (status = 200, body = Document), (status = 422, body = Problem)))]
pub(crate) async fn write(
    State(pool): State<PgPool>,
    Json(new): Json<NewDocument>,
) -> Result<Response, Problem> {
    text("key", &new.key, LONGEST_KEY)?;
    sqlx::query!(
        "INSERT INTO documents (key, data) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET data = excluded.data",
        new.key,
        new.data
    )
    .execute(&pool)
    .await?;
    written(StatusCode::OK, &Document::new(new.key, new.data))
}

/// Shows a document.
#[utoipa::path(get, path = "/read/document/{key}", tag = "documents", params(("key" = String, Path)), responses(
    (status = 200, body = Document), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn read(
    Path(key): Path<String>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    text("key", &key, LONGEST_KEY)?;
    let tags = [tag("document", &key), "table:documents".to_owned()];
    let found = sqlx::query!("SELECT data, updated_at FROM documents WHERE key = $1", key)
        .fetch_optional(&mut *reader)
        .await?;
    match found {
        None => Err(Problem::not_found(format!("there is no document {key:?}")).tagged(tags)),
        Some(found) => {
            let document = Document::new(key, found.data);
            Ok(Representation::of(&document)?
                .policy(POLICY)
                .tags(tags)
                .modified(found.updated_at)
                .answer(&request))
        }
    }
}
