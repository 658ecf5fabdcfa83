//! Drafts: saved in Redis with every change, written to the table now and then, cleared when they are saved for good.
//!
//! Each save has a revision, and the higher one is the newer one, wherever it stands. Redis alone gives them out, in the
//! order in which saves arrive there: its time in microseconds, or one more than the last one where that is not higher.
//! Saving for good has a revision as well, given out while it is decided, so that what is saved meanwhile is newer and
//! stays. It is left in the table, without data, so that a write of an older one that was on its way, or a draft that
//! Redis could not be told to forget, does not come back.
//!
//! A draft's `ETag` is its revision. Whoever saves for good may demand by `If-Match` that nothing newer than what the
//! client has seen ends with it.

mod flush;
mod kept;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

pub(crate) use self::flush::flush;
use crate::{
    activity::drafts::kept::{Expected, Kept},
    clock::Clock,
    http::{
        access::Asker,
        answer::{Representation, written},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Json, Path, no_zero_within, something, text},
    },
    postgres::{
        replicas::{PrimaryReader, Servers, touches_no_database},
        writer::Write,
    },
    redis::on_redis::OnRedis,
};

/// The longest draft, in bytes.
const LONGEST: usize = 128 << 10;

/// What a draft says now.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewDraft {
    /// Any JSON but `null`; 131072 bytes at most.
    #[schema(schema_with = something)]
    data: Value,
}

/// A draft.
#[derive(Serialize, ToSchema)]
pub(crate) struct Draft {
    user_id: i64,
    name: String,
    /// Higher with each save.
    revision: i64,
    data: Value,
}

/// A save.
#[derive(Serialize, ToSchema)]
pub(crate) struct Saved {
    user_id: i64,
    name: String,
    /// Higher with each save.
    revision: i64,
}

/// The end of a draft.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    user_id: i64,
    name: String,
    /// Higher than those of all saves that ended.
    revision: i64,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
}

/// What was saved for good.
#[derive(Serialize, ToSchema)]
pub(crate) struct Finished {
    user_id: i64,
    name: String,
    revision: i64,
    data: Value,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/drafts/{user_id}/{name}", get(show).put(save))
        .route_layer(middleware::map_response(touches_no_database))
        .route(
            "/drafts/{user_id}/{name}/final",
            post(finish).get(show_finished),
        )
}

fn member(user_id: i64, name: &str) -> String {
    format!("{user_id}:{name}")
}

fn tag(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// What is kept of a draft that says this.
fn checked(name: &str, data: &Value) -> Result<String, Problem> {
    text("name", name, 100)?;
    if data.is_null() {
        return Err(Problem::invalid("data must not be null").field("data"));
    }
    no_zero_within("data", data)?;
    let data = data.to_string();
    if data.len() > LONGEST {
        let detail = format!("data must be at most {LONGEST} bytes long");
        return Err(Problem::invalid(detail).field("data"));
    }
    Ok(data)
}

/// Saves a draft as it is now; for each change.
#[utoipa::path(put, path = "/drafts/{user_id}/{name}", tag = "activity",
    params(("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100)), request_body = NewDraft, responses(
    (status = 200, body = Saved, headers(("ETag" = String, description = "the revision"))),
    (status = 422, body = Problem),
    (status = 503, description = "Redis is away, or too many drafts wait to be written", body = Problem)))]
pub(crate) async fn save(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path((user_id, name)): Path<(i64, String)>,
    Json(new): Json<NewDraft>,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    let data = checked(&name, &new.data)?;
    let revision = kept::save(on_redis.redis()?, &member(user_id, &name), &data).await?;
    let revision = revision.ok_or_else(|| {
        Problem::later(
            "urn:tidegate:drafts-full",
            "Too many drafts wait",
            "try again when some have been written",
        )
    })?;
    let saved = Saved {
        user_id,
        name,
        revision,
    };
    tagged(written(StatusCode::OK, &saved)?, revision)
}

/// An answer with a revision as its validator.
fn tagged(mut answer: Response, revision: i64) -> Result<Response, Problem> {
    let tag = HeaderValue::try_from(tag(revision)).expect("a number in quotes");
    answer.headers_mut().insert(header::ETAG, tag);
    Ok(answer)
}

/// Shows a draft as it was saved last: as Redis has it, or else the table.
#[utoipa::path(get, path = "/drafts/{user_id}/{name}", tag = "activity",
    params(("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100)), responses(
    (status = 200, body = Draft, headers(("ETag" = String, description = "the revision"))), (status = 304),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    reader: PrimaryReader,
    State(on_redis): State<Arc<OnRedis>>,
    Path((user_id, name)): Path<(i64, String)>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    text("name", &name, 100)?;
    let kept = match on_redis.redis() {
        Err(_) => Kept::default(),
        Ok(redis) => kept::look(redis, &member(user_id, &name))
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "a draft is shown as the table has it");
                Kept::default()
            }),
    };
    let in_redis = kept.revision.zip(kept.data);
    let newest = if in_redis.is_some() && kept.last == kept.revision {
        in_redis
    } else {
        // Redis has nothing, or its draft may have ended meanwhile.
        let mut reader = reader.begin().await?;
        let row = sqlx::query!(
            "SELECT revision, data FROM drafts WHERE user_id = $1 AND name = $2",
            user_id,
            name
        )
        .fetch_optional(&mut *reader)
        .await?;
        let in_table = row.map(|row| (row.revision, row.data));
        match (in_redis, in_table) {
            (in_redis, None) => in_redis,
            (Some(fresh), Some((revision, _))) if revision < fresh.0 => Some(fresh),
            (_, Some((revision, data))) => data.map(|data| (revision, data)),
        }
    };
    let Some((revision, data)) = newest else {
        let detail = format!("user {user_id} has no draft {name:?}");
        return Err(Problem::not_found(detail));
    };
    let draft = Draft {
        user_id,
        name,
        revision,
        data,
    };
    Ok(Representation::of(&draft)?
        .etag(tag(revision))
        .answer(&request))
}

/// Saves for good, in one transaction with the end of the draft. What was saved for good under the name before is
/// replaced.
#[utoipa::path(post, path = "/drafts/{user_id}/{name}/final", tag = "activity", params(
    ("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100),
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once"),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the draft as the client has seen it")),
    request_body = NewDraft, responses((status = 200, body = Ended),
    (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 412, description = "the draft has a newer revision, or there is none", body = Problem),
    (status = 422, body = Problem),
    (status = 503, description = "Redis or the database is away", body = Problem)))]
pub(crate) async fn finish(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    State(clock): State<Clock>,
    Path((user_id, name)): Path<(i64, String)>,
    Once(attempt, new): Once<NewDraft>,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    checked(&name, &new.data)?;
    let redis = on_redis.redis()?;
    let mut first = match attempt.begin().await? {
        Begun::Answered(answer) => return Ok(answer),
        Begun::First(first) => first,
    };
    let member = member(user_id, &name);
    // Of those who end one draft, one after the other: the table may have no row of it to lock.
    sqlx::query_scalar!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) IS NULL AS "locked!""#,
        member
    )
    .fetch_one(&mut *first.write)
    .await?;
    let kept = kept::look(redis, &member).await?;
    let row = sqlx::query!(
        r#"SELECT revision, data IS NOT NULL AS "is_draft!" FROM drafts WHERE user_id = $1 AND name = $2 FOR UPDATE"#,
        user_id,
        name
    )
    .fetch_optional(&mut *first.write)
    .await?;
    let in_table = row.map(|row| (row.revision, row.is_draft));
    let current = match (kept.revision, in_table) {
        (kept, None) => kept,
        (Some(kept), Some((revision, _))) if revision < kept => Some(kept),
        (_, Some((revision, is_draft))) => is_draft.then_some(revision),
    };
    let demanded = first
        .write
        .conditions
        .require_tag(current.map(tag).as_deref());
    let ended = match demanded {
        Err(problem) => Err(problem),
        Ok(()) => {
            // What the condition was decided on must be what ends.
            let expected = match first.write.conditions.is_empty() {
                true => Expected::Any,
                false => Expected::Revision(kept.revision),
            };
            let floor = in_table.map_or(0, |(revision, _)| revision);
            let reserved = kept::reserve(redis, &member, expected, floor).await?;
            reserved.ok_or_else(Problem::precondition_failed)
        }
    };
    let revision = ended.as_ref().ok().copied();
    let outcome = match ended {
        Err(problem) => Err(problem),
        Ok(revision) => {
            let ended = Ended {
                user_id,
                name,
                revision,
                finished_at: clock.now(),
            };
            end(&mut first.write, ended, &new.data).await
        }
    };
    let answer = first.end(outcome).await?;
    if let Some(revision) = revision.filter(|_| answer.status().is_success())
        && let Err(error) = kept::forget(redis, &member, revision).await
    {
        // What the table says is newer.
        tracing::warn!(%error, "a draft that is done with stays in redis for a while");
    }
    Ok(answer)
}

/// Keeps the data for good, and the end of the draft instead of the draft, unless that has been saved since.
async fn end(write: &mut Write, ended: Ended, data: &Value) -> Result<Response, Problem> {
    sqlx::query!(
        "INSERT INTO finished_drafts (user_id, name, revision, data, finished_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, name) DO UPDATE SET revision = excluded.revision, data = excluded.data,
             finished_at = excluded.finished_at",
        ended.user_id,
        ended.name,
        ended.revision,
        data,
        ended.finished_at
    )
    .execute(&mut **write)
    .await?;
    sqlx::query!(
        "INSERT INTO drafts (user_id, name, revision, data) VALUES ($1, $2, $3, NULL)
         ON CONFLICT (user_id, name) DO UPDATE SET revision = excluded.revision, data = NULL,
             saved_at = excluded.saved_at
         WHERE drafts.revision < excluded.revision",
        ended.user_id,
        ended.name,
        ended.revision
    )
    .execute(&mut **write)
    .await?;
    written(StatusCode::OK, &ended)
}

/// Shows what was saved for good.
#[utoipa::path(get, path = "/drafts/{user_id}/{name}/final", tag = "activity",
    params(("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100)), responses(
    (status = 200, body = Finished, headers(("ETag" = String, description = "the revision"))), (status = 304),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show_finished(
    asker: Asker,
    reader: PrimaryReader,
    Path((user_id, name)): Path<(i64, String)>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    text("name", &name, 100)?;
    let mut reader = reader.begin().await?;
    let finished = sqlx::query_as!(
        Finished,
        "SELECT user_id, name, revision, data, finished_at FROM finished_drafts WHERE user_id = $1 AND name = $2",
        user_id,
        name
    )
    .fetch_optional(&mut *reader)
    .await?;
    let finished = finished.ok_or_else(|| {
        Problem::not_found(format!("user {user_id} has saved no {name:?} for good"))
    })?;
    let tag = tag(finished.revision);
    Ok(Representation::of(&finished)?.etag(tag).answer(&request))
}

/// Forgets all drafts of a user, and what was saved for good, in one transaction with the user's removal.
pub(crate) async fn forget_all(
    on_redis: &OnRedis,
    write: &mut Write,
    user: i64,
) -> Result<(), Problem> {
    sqlx::query!("DELETE FROM finished_drafts WHERE user_id = $1", user)
        .execute(&mut **write)
        .await?;
    let names = sqlx::query_scalar!("DELETE FROM drafts WHERE user_id = $1 RETURNING name", user)
        .fetch_all(&mut **write)
        .await?;
    let Ok(redis) = on_redis.redis() else {
        return Ok(());
    };
    let mut members: Vec<_> = names.iter().map(|name| member(user, name)).collect();
    // Those that the table does not have yet.
    let prefix = member(user, "");
    let dirty = kept::dirty(redis).await?;
    members.extend(dirty.into_iter().filter(|one| one.starts_with(&prefix)));
    Ok(kept::forget_all(redis, &members).await?)
}
