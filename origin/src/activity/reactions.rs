//! Reactions: counters that are written behind. Each reaction is added up in Redis, and the sums are folded into the table
//! about once a second, so that something that everyone reacts to at once is a row that changes once a second.
//!
//! What has been added up is a batch with a number of its own, and folding records that number in the transaction that
//! changes the sums. A batch is open while reactions are added, then one of those that are closed, where none is, then in
//! the table, and only then gone from Redis. Whatever crashes in between, a closed batch is tried again, and is not added
//! to the sums when its number is there. A sum that is read is that of the table and of the batches that the table does
//! not have yet; both are seen at one moment by their numbers, so that nothing is missed or counted twice on the way.
//!
//! A Redis that was restarted, or that took over from another, may have forgotten its last moments: a batch that it has
//! for an open one may have been closed and recorded. So a batch belongs to the run of the server that opened it, and
//! what is added in another run goes into a batch of its own: what is answered after the restart is in the sum, and what
//! was before is in it once, or lost as far as Redis may lose what it has answered for; see `stream`.
//!
//! A batch has a bounded number of counters, and so many may be closed; folding takes them one by one and goes past one
//! that fails.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    middleware,
    response::Response,
    routing::get,
};
use redis::Script;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, Type},
};
use uuid::Uuid;

use crate::{
    activity::behind::NotWritten,
    http::{
        access::Asker,
        answer::{Policy, Representation, written},
        error::Problem,
        input::{Json, Path, one_of, text},
    },
    postgres::{
        held::{Background, in_time},
        refusal::{is_of_the_rows, is_too_much},
        replicas::{PrimaryReader, Servers, touches_no_database},
    },
    redis::{
        client::{Away, Redis},
        on_redis::OnRedis,
    },
};

/// Counters move all the time.
const POLICY: Policy = Policy::Brief { seconds: 5 };
const KINDS: [&str; 6] = ["like", "love", "laugh", "celebrate", "sad", "angry"];
/// The names share a part in braces, so that a cluster keeps them on one server.
const OPEN: &str = "{tidegate-origin:reactions}:open";
/// The numbers of closed batches, the oldest first.
const CLOSED: &str = "{tidegate-origin:reactions}:closed-batches";
/// What the name of a closed batch begins with; its number follows.
const BATCH: &str = "{tidegate-origin:reactions}:closed:";
/// The members of a batch that hold its number, and the run of Redis that it was opened in. Those of counters are arrays
/// in JSON.
const NUMBER: &str = "batch";
const RUN: &str = "run";
/// How many counters a batch may have, and how many batches may be closed: so much may wait while the database is away.
const MOST: (u32, u32) = (1_000, 100);

/// Adds to the open batch. One that is full, or of another run, is closed before; unless too many are.
static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
         local of = redis.call('HMGET', KEYS[1], 'batch', 'run', ARGV[2])
         local is_full = not of[3] and redis.call('HLEN', KEYS[1]) - 2 >= tonumber(ARGV[4])
         if of[1] and (of[2] ~= run or is_full) then
             if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[5]) then return 0 end
             redis.call('RENAME', KEYS[1], ARGV[6] .. of[1])
             redis.call('RPUSH', KEYS[2], of[1])
             of[1] = false
         end
         if not of[1] then redis.call('HSET', KEYS[1], 'batch', ARGV[1], 'run', run) end
         redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[3])
         return 1",
    )
});

/// Closes the open batch, unless too many are closed; returns the numbers of those that are.
static CLOSE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local number = redis.call('HGET', KEYS[1], 'batch')
         if number and redis.call('LLEN', KEYS[2]) < tonumber(ARGV[2]) then
             redis.call('RENAME', KEYS[1], ARGV[1] .. number)
             redis.call('RPUSH', KEYS[2], number)
         end
         return redis.call('LRANGE', KEYS[2], 0, -1)",
    )
});

/// A reaction to something.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewReaction {
    /// `like`, `love`, `laugh`, `celebrate`, `sad` or `angry`.
    #[schema(pattern = "^(like|love|laugh|celebrate|sad|angry)$")]
    reaction: String,
    /// 1, or -1 to take one back.
    #[serde(default = "one")]
    #[schema(schema_with = delta)]
    delta: i64,
}

fn one() -> i64 {
    1
}

fn delta() -> Object {
    let integer = ObjectBuilder::new().schema_type(Type::Integer);
    integer.enum_values(Some([1, -1])).build()
}

/// How often something was reacted to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reactions {
    target: String,
    /// The counts by reaction; those of none are left out.
    reactions: BTreeMap<String, i64>,
}

/// A reaction that will be counted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counted {
    target: String,
    reaction: String,
    delta: i64,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/reactions/{target}", get(show).post(add))
        .route_layer(middleware::map_response(touches_no_database))
}

/// Counts a reaction to something, such as `message:17`. It is safe once it is answered, and in the table soon after.
#[utoipa::path(post, path = "/reactions/{target}", tag = "activity", params(("target" = String, Path, min_length = 1, max_length = 200)),
    request_body = NewReaction, responses((status = 202, body = Counted), (status = 422, body = Problem),
    (status = 503, description = "Redis is away, or too many counters wait", body = Problem)))]
pub(crate) async fn add(
    _: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path(target): Path<String>,
    Json(new): Json<NewReaction>,
) -> Result<Response, Problem> {
    text("target", &target, 200)?;
    one_of("reaction", &new.reaction, &KINDS)?;
    if !matches!(new.delta, 1 | -1) {
        return Err(Problem::invalid("delta must be 1 or -1").field("delta"));
    }
    let mut call = ADD.key(OPEN);
    let call = call.key(CLOSED).arg(Uuid::now_v7().to_string());
    let call = call.arg(counter(&target, &new.reaction)).arg(new.delta);
    let call = call.arg(MOST.0).arg(MOST.1).arg(BATCH);
    let taken: bool = on_redis.redis()?.script(call).await?;
    if !taken {
        return Err(Problem::later(
            "urn:tidegate:counters-full",
            "Too many counters wait",
            "try again when they have been written",
        ));
    }
    let counted = Counted {
        target,
        reaction: new.reaction,
        delta: new.delta,
    };
    written(StatusCode::ACCEPTED, &counted)
}

/// Shows how often something was reacted to. While Redis is away, what is on its way to the table is missing.
#[utoipa::path(get, path = "/reactions/{target}", tag = "activity", params(("target" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = Reactions), (status = 304)))]
pub(crate) async fn show(
    reader: PrimaryReader,
    State(on_redis): State<Arc<OnRedis>>,
    Path(target): Path<String>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    text("target", &target, 200)?;
    let waiting = match on_redis.redis() {
        Err(_) => Vec::new(),
        Ok(redis) => waiting(redis, &target).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "reactions are shown as the table has them");
            Vec::new()
        }),
    };
    let mut reader = reader.begin().await?;
    let numbers: Vec<_> = waiting.iter().map(|batch| batch.number).collect();
    // One statement sees one moment: a batch is either in the sums and among the numbers, or neither.
    let found = sqlx::query!(
        r#"SELECT ARRAY(SELECT id FROM reaction_batches WHERE id = ANY ($2)) AS "folded!",
               ARRAY(SELECT reaction FROM reactions WHERE target = $1 ORDER BY reaction) AS "kinds!",
               ARRAY(SELECT count FROM reactions WHERE target = $1 ORDER BY reaction) AS "counts!""#,
        target,
        &numbers
    )
    .fetch_one(&mut *reader)
    .await?;
    let mut reactions: BTreeMap<String, i64> = found.kinds.into_iter().zip(found.counts).collect();
    for batch in waiting {
        if !found.folded.contains(&batch.number) {
            for (kind, count) in batch.counts {
                *reactions.entry(kind.to_owned()).or_default() += count;
            }
        }
    }
    reactions.retain(|_, count| *count != 0);
    Ok(Representation::of(&Reactions { target, reactions })?
        .policy(POLICY)
        .answer(&request))
}

/// The name of a counter in a batch.
fn counter(target: &str, reaction: &str) -> String {
    serde_json::json!([target, reaction]).to_string()
}

/// A batch in Redis: what it has for one target.
struct Waiting {
    number: Uuid,
    counts: Vec<(&'static str, i64)>,
}

/// What the open batch and the closed ones have for a target, seen at one moment: the number of each, and its counts.
static WAITING: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local found = {redis.call('HMGET', KEYS[1], 'batch', unpack(ARGV, 2))}
         for _, number in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
             found[#found + 1] = redis.call('HMGET', ARGV[1] .. number, 'batch', unpack(ARGV, 2))
         end
         return found",
    )
});

async fn waiting(redis: &Redis, target: &str) -> Result<Vec<Waiting>, Away> {
    let mut call = WAITING.key(OPEN);
    call.key(CLOSED).arg(BATCH);
    for kind in KINDS {
        call.arg(counter(target, kind));
    }
    let batches: Vec<Vec<Option<String>>> = redis.script(&call).await?;
    let read = |members: Vec<Option<String>>| {
        let mut members = members.into_iter();
        let number = members.next()??.parse().ok()?;
        let counts = KINDS.into_iter().zip(members);
        let counts = counts.filter_map(|(kind, count)| Some((kind, count?.parse().ok()?)));
        Some(Waiting {
            number,
            counts: counts.collect(),
        })
    };
    Ok(batches.into_iter().filter_map(read).collect())
}

/// Folds what has been added up into the table, batch by batch. One that fails for what is in it waits for the next time,
/// and those behind it do not wait for it.
pub(crate) async fn fold(redis: &Redis, pool: &Background) -> Result<(), NotWritten> {
    let mut call = CLOSE.key(OPEN);
    let closed: Vec<String> = redis
        .script(call.key(CLOSED).arg(BATCH).arg(MOST.1))
        .await?;
    let mut failed = None;
    for number in closed {
        match fold_one(redis, pool, &number).await {
            Ok(()) => {}
            Err(NotWritten::Database(error)) if is_too_much(&error) || is_of_the_rows(&error) => {
                tracing::warn!(%error, number, "a batch of reactions is left for later");
                failed = Some(NotWritten::Database(error));
            }
            Err(error) => return Err(error),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

async fn fold_one(redis: &Redis, pool: &Background, number: &str) -> Result<(), NotWritten> {
    let name = format!("{BATCH}{number}");
    let mut command = redis::cmd("HGETALL");
    let mut batch: BTreeMap<String, String> = redis.query(command.arg(&name)).await?;
    batch.retain(|member, _| ![NUMBER, RUN].contains(&member.as_str()));
    if let Ok(id) = number.parse() {
        let mut held = pool.acquire().await?;
        in_time(held.until(), record(&mut held, id, &batch)).await?;
    } else {
        tracing::error!(
            number,
            "a batch of reactions has no number that can be read: left out"
        );
    }
    let mut commands = redis::pipe();
    commands.atomic();
    commands.cmd("DEL").arg(&name).ignore();
    commands.cmd("LREM").arg(CLOSED).arg(0).arg(number).ignore();
    Ok(redis.pipeline(&commands).await?)
}

/// Adds a batch to the sums, unless it has been added.
async fn record(
    connection: &mut PgConnection,
    id: Uuid,
    batch: &BTreeMap<String, String>,
) -> Result<(), sqlx::Error> {
    let (mut targets, mut kinds, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for (counter, count) in batch {
        // What is not of our making is in nobody's sum.
        let read = serde_json::from_str::<(String, String)>(counter).ok();
        let Some(((target, kind), count)) = read.zip(count.parse::<i64>().ok()) else {
            continue;
        };
        targets.push(target);
        kinds.push(kind);
        counts.push(count);
    }
    let mut transaction = connection.begin().await?;
    // Another process with the same batch waits here, and then finds it recorded.
    let recorded = sqlx::query!(
        "INSERT INTO reaction_batches (id) VALUES ($1) ON CONFLICT DO NOTHING",
        id
    )
    .execute(&mut *transaction)
    .await?;
    if recorded.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO reactions (target, reaction, count)
         SELECT target, reaction, count FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS new (target, reaction, count)
         ORDER BY target, reaction
         ON CONFLICT (target, reaction) DO UPDATE SET count = reactions.count + excluded.count",
        &targets,
        &kinds,
        &counts
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    // Whoever else does so skips these.
    sqlx::query!(
        "DELETE FROM reaction_batches WHERE id IN (
             SELECT id FROM reaction_batches WHERE folded_at < now() - interval '7 days'
             ORDER BY folded_at LIMIT 100 FOR UPDATE SKIP LOCKED)"
    )
    .execute(connection)
    .await?;
    Ok(())
}
