//! Documents by what they hold: all that contain a given piece of JSON, in pages.
//!
//! `@>` asks whether a document contains the filter: every member and element of the filter is in it somewhere in the
//! same place, whatever else is there. The index of paths and values (`jsonb_path_ops`) answers that. A list falls by
//! `documents`, which every change of a document announces.

use axum::{
    http::{HeaderMap, Uri},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::POLICY;
use crate::{
    http::{
        answer::Representation,
        error::Problem,
        input::{Query, no_zero_within},
        paging::{Cursor, Paging},
    },
    postgres::replicas::Reading,
};

/// How many documents a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 20;
const MOST: i64 = 100;
/// The longest filter, in bytes: each value in it is looked up in the index.
const LONGEST_FILTER: usize = 2_048;

const FORWARDS: &str = "SELECT id, key, data, created_at, updated_at FROM documents
    WHERE ($1::jsonb IS NULL OR data @> $1) AND id > $2 ORDER BY id LIMIT $3";
const BACKWARDS: &str = "SELECT id, key, data, created_at, updated_at FROM documents
    WHERE ($1::jsonb IS NULL OR data @> $1) AND id < $2 ORDER BY id DESC LIMIT $3";

/// Which documents to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// JSON that they must contain, such as `{"theme":"sea"}`; at most 2,048 bytes. Without it, all of them.
    filter: Option<String>,
}

impl Listing {
    fn filter(&self) -> Result<Option<Value>, Problem> {
        let Some(text) = &self.filter else {
            return Ok(None);
        };
        let refused = |detail: String| Problem::invalid(detail).field("filter");
        if text.len() > LONGEST_FILTER {
            let detail = format!("filter must have at most {LONGEST_FILTER} bytes");
            return Err(refused(detail));
        }
        let filter = serde_json::from_str(text)
            .map_err(|error| refused(format!("filter must be JSON: {error}")))?;
        no_zero_within("filter", &filter)?;
        Ok(Some(filter))
    }
}

/// A document in a list.
#[derive(FromRow, Serialize, ToSchema)]
pub(crate) struct Listed {
    #[serde(skip)]
    id: i64,
    key: String,
    data: Value,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// A page of documents, in the order in which their keys were first written.
#[derive(Serialize, ToSchema)]
pub(crate) struct Documents {
    success: bool,
    value: Vec<Listed>,
    source: &'static str,
}

/// Lists documents that contain a piece of JSON.
#[utoipa::path(get, path = "/documents", tag = "documents", params(Listing, Paging<MOST>), responses(
    (status = 200, body = Documents, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn list(
    Query(listing): Query<Listing>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let filter = listing.filter()?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    let (statement, end) = match page.is_backwards() {
        true => (BACKWARDS, i64::MAX),
        false => (FORWARDS, i64::MIN),
    };
    // Planned anew each time, for this very filter: one that fits few documents goes by the index of what they hold, one
    // that fits most by their order, and a plan for any filter would be wrong for half of them.
    let mut value = sqlx::query_as::<_, Listed>(statement)
        .bind(filter)
        .bind(page.id().unwrap_or(end))
        .bind(page.fetch())
        .persistent(false)
        .fetch_all(&mut *reader)
        .await?;
    drop(reader);
    let link = page.cut(&mut value, &uri, |document| Cursor {
        rank: 0,
        id: document.id,
    });
    let documents = Documents {
        success: true,
        value,
        source: "PostgreSQL",
    };
    Ok(Representation::of(&documents)?
        .policy(POLICY)
        .link(link)
        .tags(["documents".to_owned(), "table:documents".to_owned()])
        .answer(&request))
}
