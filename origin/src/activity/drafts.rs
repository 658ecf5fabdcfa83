//! Drafts: saved in Redis with every change, written to the table now and then, cleared when they are saved for good.
//!
//! Each save has a revision, Redis's time in microseconds, and the higher one is the newer one, wherever it stands. Saving
//! for good leaves its own revision in the table, without data, so that a write of an older one that was on its way, or a
//! draft that Redis could not be told to forget, does not come back.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    middleware,
    response::Response,
    routing::{get, post},
};
use redis::Script;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    activity::behind::NotWritten,
    http::{
        access::Asker,
        answer::{Representation, written},
        error::Problem,
        input::{Json, Path, no_zero_within, something, text},
    },
    postgres::{
        held::{Background, in_time},
        replicas::{PrimaryReader, Servers, touches_no_database},
        writer::{Write, Writer},
    },
    redis::{
        client::{Away, Redis},
        on_redis::OnRedis,
    },
};

/// How long a draft that nobody changes stays in Redis, in seconds.
const LIFETIME: u32 = 3_600;
/// What the keys of documents begin with that drafts became: personal data.
pub(crate) const DOCUMENTS: &str = "draft/";
/// How many drafts are written at once.
const BATCH: usize = 100;
/// Drafts that the table does not have yet, by revision.
const DIRTY: &str = "{tidegate-origin:drafts}:dirty";

static SAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('TIME')
         local revision = now[1] * 1000000 + now[2]
         local last = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
         if revision <= last then revision = last + 1 end
         revision = string.format('%.0f', revision)
         redis.call('HSET', KEYS[1], 'revision', revision, 'data', ARGV[2])
         redis.call('EXPIRE', KEYS[1], ARGV[3])
         redis.call('ZADD', KEYS[2], revision, ARGV[1])
         return revision",
    )
});

/// Takes drafts from those that are to be written, unless they have changed since.
static WRITTEN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 1, #ARGV, 2 do
             local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
             if score and tonumber(score) <= tonumber(ARGV[i + 1]) then redis.call('ZREM', KEYS[1], ARGV[i]) end
         end
         return 1",
    )
});

/// Forgets a draft, unless it has changed since the revision.
static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local revision = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
         if revision > tonumber(ARGV[2]) then return 0 end
         redis.call('DEL', KEYS[1])
         redis.call('ZREM', KEYS[2], ARGV[1])
         return 1",
    )
});

/// What a draft says now.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewDraft {
    /// Any JSON but `null`.
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

/// What became of a draft that was saved for good.
#[derive(Serialize, ToSchema)]
pub(crate) struct Finished {
    /// The key of the document that it is now.
    document: String,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/drafts/{user_id}/{name}", get(show).put(save))
        .route_layer(middleware::map_response(touches_no_database))
        .route("/drafts/{user_id}/{name}/final", post(finish))
}

fn member(user_id: i64, name: &str) -> String {
    format!("{user_id}:{name}")
}

fn key(member: &str) -> String {
    format!("{{tidegate-origin:drafts}}:of:{member}")
}

fn check(name: &str, data: Option<&Value>) -> Result<(), Problem> {
    text("name", name, 100)?;
    match data {
        Some(Value::Null) => Err(Problem::invalid("data must not be null").field("data")),
        Some(data) => no_zero_within("data", data),
        None => Ok(()),
    }
}

/// Saves a draft as it is now; for each change.
#[utoipa::path(put, path = "/drafts/{user_id}/{name}", tag = "activity",
    params(("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100)), request_body = NewDraft, responses(
    (status = 200, body = Saved), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn save(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path((user_id, name)): Path<(i64, String)>,
    Json(new): Json<NewDraft>,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    check(&name, Some(&new.data))?;
    let member = member(user_id, &name);
    let mut call = SAVE.key(key(&member));
    let call = call.key(DIRTY).arg(&member);
    let call = call.arg(new.data.to_string()).arg(LIFETIME);
    let revision: i64 = on_redis.redis()?.script(call).await?;
    let saved = Saved {
        user_id,
        name,
        revision,
    };
    written(StatusCode::OK, &saved)
}

/// Shows a draft as it was saved last. While Redis is away, as the table has it.
#[utoipa::path(get, path = "/drafts/{user_id}/{name}", tag = "activity",
    params(("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100)), responses(
    (status = 200, body = Draft), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    reader: PrimaryReader,
    State(on_redis): State<Arc<OnRedis>>,
    Path((user_id, name)): Path<(i64, String)>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    check(&name, None)?;
    let fresh = match on_redis.redis() {
        Err(_) => None,
        Ok(redis) => saved(redis, &member(user_id, &name))
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "a draft is shown as the table has it");
                None
            }),
    };
    let mut reader = reader.begin().await?;
    let kept = sqlx::query!(
        "SELECT revision, data FROM drafts WHERE user_id = $1 AND name = $2",
        user_id,
        name
    )
    .fetch_optional(&mut *reader)
    .await?;
    let kept = kept.map(|kept| (kept.revision, kept.data));
    let newest = match (fresh, kept) {
        (Some((revision, data)), Some(kept)) if kept.0 < revision => Some((revision, Some(data))),
        (Some((revision, data)), None) => Some((revision, Some(data))),
        (_, kept) => kept,
    };
    let Some((revision, Some(data))) = newest else {
        let detail = format!("user {user_id} has no draft {name:?}");
        return Err(Problem::not_found(detail));
    };
    let draft = Draft {
        user_id,
        name,
        revision,
        data,
    };
    Ok(Representation::of(&draft)?.answer(&request))
}

/// Saves for good: as a document, in one transaction with the end of the draft.
#[utoipa::path(post, path = "/drafts/{user_id}/{name}/final", tag = "activity",
    params(("user_id" = i64, Path), ("name" = String, Path, min_length = 1, max_length = 100)), request_body = NewDraft, responses(
    (status = 200, body = Finished), (status = 422, body = Problem)))]
pub(crate) async fn finish(
    asker: Asker,
    writer: Writer,
    State(on_redis): State<Arc<OnRedis>>,
    Path((user_id, name)): Path<(i64, String)>,
    Json(new): Json<NewDraft>,
) -> Result<Response, Problem> {
    asker.must_be(user_id)?;
    check(&name, Some(&new.data))?;
    let member = member(user_id, &name);
    // The newest save ends here, also one that a clock has dated later than now.
    let newest = match on_redis.redis() {
        Ok(redis) => saved(redis, &member).await.ok().flatten(),
        Err(_) => None,
    };
    let newest = newest.map_or(0, |(revision, _)| revision);
    let document = format!("{DOCUMENTS}{member}");
    let mut write = writer.begin().await?;
    sqlx::query!(
        "INSERT INTO documents (key, data) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET data = excluded.data",
        document,
        new.data
    )
    .execute(&mut *write)
    .await?;
    let revision = sqlx::query_scalar!(
        "INSERT INTO drafts (user_id, name, revision, data)
         VALUES ($1, $2, greatest($3, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), NULL)
         ON CONFLICT (user_id, name) DO UPDATE SET data = NULL, saved_at = excluded.saved_at,
             revision = greatest(drafts.revision, excluded.revision)
         RETURNING revision",
        user_id,
        name,
        newest
    )
    .fetch_one(&mut *write)
    .await?;
    write.commit().await?;
    if let Ok(redis) = on_redis.redis() {
        let mut call = FORGET.key(key(&member));
        let call = call.key(DIRTY).arg(&member).arg(revision);
        if let Err(error) = redis.script::<()>(call).await {
            // What the table says is newer.
            tracing::warn!(%error, "a draft that is done with stays in redis for a while");
        }
    }
    written(StatusCode::OK, &Finished { document })
}

/// A draft's revision and data, as Redis has them.
async fn saved(redis: &Redis, member: &str) -> Result<Option<(i64, Value)>, Away> {
    let mut command = redis::cmd("HMGET");
    command.arg(key(member)).arg("revision").arg("data");
    let (revision, data): (Option<i64>, Option<String>) = redis.query(&command).await?;
    let data = data.and_then(|data| serde_json::from_str(&data).ok());
    Ok(revision.zip(data))
}

/// Whose the draft was that a document was made of.
pub(crate) fn owner(document: &str) -> Option<i64> {
    let (user, _) = document.strip_prefix(DOCUMENTS)?.split_once(':')?;
    user.parse().ok()
}

/// Forgets all drafts of a user, and the documents that they became, in one transaction with the user's removal.
pub(crate) async fn forget_all(
    on_redis: &OnRedis,
    write: &mut Write,
    user: i64,
) -> Result<(), Problem> {
    // The first condition is that of an index of its own.
    sqlx::query!(
        "DELETE FROM documents WHERE key LIKE 'draft/%' AND key LIKE $1",
        format!("{DOCUMENTS}{user}:%")
    )
    .execute(&mut **write)
    .await?;
    let mut names =
        sqlx::query_scalar!("DELETE FROM drafts WHERE user_id = $1 RETURNING name", user)
            .fetch_all(&mut **write)
            .await?;
    let Ok(redis) = on_redis.redis() else {
        return Ok(());
    };
    // Those that the table does not have yet.
    let mut command = redis::cmd("ZRANGE");
    command.arg(DIRTY).arg(0).arg(-1);
    let dirty: Vec<String> = redis.query(&command).await?;
    let prefix = member(user, "");
    let dirty = dirty
        .iter()
        .filter_map(|member| member.strip_prefix(&prefix));
    names.extend(dirty.map(str::to_owned));
    let mut forgetting = redis::pipe();
    for name in &names {
        let member = member(user, name);
        forgetting.cmd("DEL").arg(key(&member)).ignore();
        forgetting.cmd("ZREM").arg(DIRTY).arg(&member).ignore();
    }
    if !names.is_empty() {
        redis.pipeline::<()>(&forgetting).await?;
    }
    Ok(())
}

/// Writes drafts that have changed into the table, batch after batch.
pub(crate) async fn flush(redis: &Redis, pool: &Background) -> Result<(), NotWritten> {
    while flush_some(redis, pool).await? == BATCH {}
    Ok(())
}

/// Writes the drafts that have waited longest; returns how many they were.
async fn flush_some(redis: &Redis, pool: &Background) -> Result<usize, NotWritten> {
    let mut command = redis::cmd("ZRANGE");
    command.arg(DIRTY).arg(0).arg(BATCH - 1).arg("WITHSCORES");
    let dirty: Vec<(String, f64)> = redis.query(&command).await?;
    if dirty.is_empty() {
        return Ok(0);
    }
    let mut call = WRITTEN.key(DIRTY);
    let (mut users, mut names) = (Vec::new(), Vec::new());
    let (mut revisions, mut data) = (Vec::new(), Vec::<Value>::new());
    for (member, score) in &dirty {
        // One that has expired meanwhile is nobody's any more.
        let draft = saved(redis, member).await?;
        let owner = member
            .split_once(':')
            .and_then(|(user, name)| Some((user.parse::<i64>().ok()?, name)));
        if let (Some((revision, content)), Some((user, name))) = (draft, owner) {
            users.push(user);
            names.push(name.to_owned());
            revisions.push(revision);
            data.push(content);
            call.arg(member).arg(revision);
        } else {
            call.arg(member).arg(format!("{score:.0}"));
        }
    }
    let keep = sqlx::query!(
        "INSERT INTO drafts (user_id, name, revision, data)
         SELECT user_id, name, revision, data
         FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::jsonb[]) AS new (user_id, name, revision, data)
         ORDER BY user_id, name
         ON CONFLICT (user_id, name) DO UPDATE SET revision = excluded.revision, data = excluded.data,
             saved_at = excluded.saved_at
         WHERE drafts.revision < excluded.revision",
        &users,
        &names,
        &revisions,
        &data
    );
    let mut held = pool.acquire().await?;
    in_time(held.renew(), keep.execute(&mut *held)).await?;
    let forget = sqlx::query!(
        "DELETE FROM drafts WHERE data IS NULL AND saved_at < now() - interval '1 day'"
    );
    in_time(held.renew(), forget.execute(&mut *held)).await?;
    drop(held);
    redis.script::<()>(&call).await?;
    Ok(dirty.len())
}
