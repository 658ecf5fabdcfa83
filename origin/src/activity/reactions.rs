//! Reactions: counters that are written behind. Each reaction is added up in Redis, and the sums are folded into the table
//! about once a second, so that something that everyone reacts to at once is a row that changes once a second.
//!
//! What has been added up is a batch with a number of its own, and folding records that number in the transaction that
//! changes the sums. A batch goes from `open`, where reactions are added, to `closed`, where none is, to the table, and
//! only then from Redis. Whatever crashes in between, the closed batch is tried again, and is not added to the sums when its
//! number is there. A sum that is read is that of the table and of the batches that the table does not have yet; both are
//! seen at one moment by their numbers, so that nothing is missed or counted twice on the way.
//!
//! This holds as far as Redis keeps what it has answered for; see `stream`.

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
const CLOSED: &str = "{tidegate-origin:reactions}:closed";
/// The member of a batch that holds its number. Those of counters are arrays in JSON.
const NUMBER: &str = "batch";
/// How many counters a batch may have: so much may wait while the database is away.
const MOST: u32 = 100_000;

static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
             return 0
         end
         redis.call('HSETNX', KEYS[1], 'batch', ARGV[1])
         redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[3])
         return 1",
    )
});

/// The closed batch; if there is none, the open one is closed.
static CLOSE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
             redis.call('RENAME', KEYS[1], KEYS[2])
         end
         return redis.call('HGETALL', KEYS[2])",
    )
});

/// Forgets the closed batch if it is that of the number.
static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], 'batch') == ARGV[1] then redis.call('DEL', KEYS[1]) end
         return 1",
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
    if ![1, -1].contains(&new.delta) {
        return Err(Problem::invalid("delta must be 1 or -1").field("delta"));
    }
    let mut call = ADD.key(OPEN);
    call.arg(Uuid::now_v7().to_string());
    call.arg(counter(&target, &new.reaction))
        .arg(new.delta)
        .arg(MOST);
    let taken: bool = on_redis.redis()?.script(&call).await?;
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

/// The open batch and the closed one, seen at one moment.
async fn waiting(redis: &Redis, target: &str) -> Result<Vec<Waiting>, Away> {
    let mut commands = redis::pipe();
    commands.atomic();
    for batch in [OPEN, CLOSED] {
        let command = commands.cmd("HMGET").arg(batch).arg(NUMBER);
        for kind in KINDS {
            command.arg(counter(target, kind));
        }
    }
    let batches: Vec<Vec<Option<String>>> = redis.pipeline(&commands).await?;
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

/// Folds what has been added up into the table.
pub(crate) async fn fold(redis: &Redis, pool: &Background) -> Result<(), NotWritten> {
    let mut call = CLOSE.key(OPEN);
    let mut batch: BTreeMap<String, String> = redis.script(call.key(CLOSED)).await?;
    let Some(number) = batch.remove(NUMBER) else {
        return Ok(());
    };
    if let Ok(id) = number.parse() {
        record(pool, id, &batch).await?;
    } else {
        tracing::error!(
            number,
            "a batch of reactions has no number that can be read: left out"
        );
    }
    let mut call = SETTLE.key(CLOSED);
    Ok(redis.script(call.arg(number)).await?)
}

/// Adds a batch to the sums, unless it has been added.
async fn record(
    pool: &Background,
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
    let mut held = pool.begin().await?;
    // Another process with the same batch waits here, and then finds it recorded.
    let record = sqlx::query!(
        "INSERT INTO reaction_batches (id) VALUES ($1) ON CONFLICT DO NOTHING",
        id
    );
    let recorded = in_time(held.renew(), record.execute(&mut *held)).await?;
    if recorded.rows_affected() == 0 {
        return Ok(());
    }
    let add = sqlx::query!(
        "INSERT INTO reactions (target, reaction, count)
         SELECT target, reaction, count FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS new (target, reaction, count)
         ORDER BY target, reaction
         ON CONFLICT (target, reaction) DO UPDATE SET count = reactions.count + excluded.count",
        &targets,
        &kinds,
        &counts
    );
    in_time(held.renew(), add.execute(&mut *held)).await?;
    let forget =
        sqlx::query!("DELETE FROM reaction_batches WHERE folded_at < now() - interval '7 days'");
    in_time(held.renew(), forget.execute(&mut *held)).await?;
    in_time(held.renew(), held.commit()).await
}
