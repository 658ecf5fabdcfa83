//! Documents: any JSON under a key, kept as JSONB. A document falls by `document:KEY`, announced by the table's trigger.

pub(crate) mod listing;

use axum::{
    Router,
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    http::{
        access::Asker,
        answer::{Policy, Representation, changed, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Path, text},
    },
    postgres::{
        replicas::{Reading, Servers},
        writer::Write,
    },
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
    #[schema(min_length = 1, max_length = 200)]
    key: String,
    data: Value,
}

/// A document.
#[derive(Serialize, ToSchema)]
pub(crate) struct Document {
    success: bool,
    key: String,
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
        .route("/documents", get(listing::list))
}

/// Keeps a document.
#[utoipa::path(post, path = "/write/document", tag = "documents", request_body = NewDocument, params(
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once"),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the document that may be replaced"),
    ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none")),
    responses((status = 200, body = Document),
    (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 412, description = "what is there is not what was demanded", body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn write(
    asker: Asker,
    Once(attempt, new): Once<NewDocument>,
) -> Result<Response, Problem> {
    asker.must_be_instructor()?;
    text("key", &new.key, LONGEST_KEY)?;
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = keep(&mut first.write, new).await;
            first.end(outcome).await
        }
    }
}

async fn keep(write: &mut Write, new: NewDocument) -> Result<Response, Problem> {
    let data = if write.conditions.is_empty() {
        sqlx::query_scalar!(
            "INSERT INTO documents (key, data) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET data = excluded.data RETURNING data",
            new.key,
            new.data
        )
        .fetch_one(&mut **write)
        .await?
    } else {
        replace(write, &new).await?
    };
    changed(&Document::new(new.key, data))
}

/// Writes a document if what is there is what the request demands, decided under the lock of its row.
async fn replace(write: &mut Write, new: &NewDocument) -> Result<Value, Problem> {
    let current = sqlx::query_scalar!(
        "SELECT data FROM documents WHERE key = $1 FOR UPDATE",
        new.key
    )
    .fetch_optional(&mut **write)
    .await?;
    let is_there = current.is_some();
    let current = current.map(|data| Document::new(new.key.clone(), data));
    write.conditions.require(current.as_ref())?;
    let written = if is_there {
        sqlx::query_scalar!(
            "UPDATE documents SET data = $2 WHERE key = $1 RETURNING data",
            new.key,
            new.data
        )
        .fetch_optional(&mut **write)
        .await?
    } else {
        // No row, no lock: whoever makes it first has it, and nothing is there for the others to have demanded.
        sqlx::query_scalar!(
            "INSERT INTO documents (key, data) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING RETURNING data",
            new.key,
            new.data
        )
        .fetch_optional(&mut **write)
        .await?
    };
    written.ok_or_else(Problem::precondition_failed)
}

/// Shows a document.
#[utoipa::path(get, path = "/read/document/{key}", tag = "documents", params(("key" = String, Path, min_length = 1, max_length = 200)), responses(
    (status = 200, body = Document), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn read(
    Path(key): Path<String>,
    reading: Reading,
    request: HeaderMap,
) -> Result<Response, Problem> {
    text("key", &key, LONGEST_KEY)?;
    let tags = [tag("document", &key), "table:documents".to_owned()];
    let mut reader = reading.begin().await?;
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
