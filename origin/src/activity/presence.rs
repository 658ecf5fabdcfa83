//! Presence and typing: who was here a moment ago, in Redis only. Whoever says nothing more is forgotten: after five
//! minutes for presence, after thirty seconds for typing. Times are those of Redis's own clock. Users speak for themselves, and
//! any of them may ask about others.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    middleware,
    response::Response,
    routing::{get, put},
};
use redis::Script;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        access::Asker,
        answer::{gone, written},
        error::Problem,
        input::{Path, Query},
    },
    postgres::replicas::{Servers, touches_no_database},
    redis::on_redis::OnRedis,
};

/// How long a user counts as present, in seconds.
const PRESENCE: u32 = 300;
/// How long a user counts as typing, in seconds.
const TYPING: u32 = 30;
/// How many users may be asked about at once.
const MOST: usize = 200;

/// Users who type in a circle are a set ordered by when they stop to count. The set goes with the last of them.
static TYPE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('ZADD', KEYS[1], redis.call('TIME')[1] + ARGV[2], ARGV[1])
         redis.call('EXPIRE', KEYS[1], ARGV[2] + 1)
         return 1",
    )
});

static TYPISTS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
         return redis.call('ZRANGE', KEYS[1], 0, -1)",
    )
});

/// Which users are asked about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Their numbers, with commas between them; up to 200.
    #[param(pattern = "^[0-9]{1,18}(,[0-9]{1,18}){0,199}$")]
    users: String,
}

/// Users who are present.
#[derive(Serialize, ToSchema)]
pub(crate) struct Present {
    /// Those who were asked about and have been here within five minutes, in the order in which they were asked about.
    present: Vec<i64>,
}

/// Users who are typing.
#[derive(Serialize, ToSchema)]
pub(crate) struct Typing {
    circle_id: i64,
    /// Those who have typed within thirty seconds, the earliest first.
    typing: Vec<i64>,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/presence", get(present))
        .route("/presence/{user_id}", put(here).delete(leave))
        .route("/circles/{circle_id}/typing", get(typing))
        .route(
            "/circles/{circle_id}/typing/{user_id}",
            put(types).delete(stops),
        )
        .route_layer(middleware::map_response(touches_no_database))
}

fn presence(user: i64) -> String {
    format!("tidegate-origin:presence:{user}")
}

fn circle(circle: i64) -> String {
    format!("tidegate-origin:typing:{circle}")
}

/// Says that a user is here.
#[utoipa::path(put, path = "/presence/{user_id}", tag = "presence", params(("user_id" = i64, Path)), responses(
    (status = 204), (status = 503, body = Problem)))]
pub(crate) async fn here(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path(user): Path<i64>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let mut command = redis::cmd("SET");
    command.arg(presence(user)).arg(1).arg("EX").arg(PRESENCE);
    on_redis.redis()?.query::<()>(&command).await?;
    Ok(gone())
}

/// Says that a user has left.
#[utoipa::path(delete, path = "/presence/{user_id}", tag = "presence", params(("user_id" = i64, Path)), responses(
    (status = 204), (status = 503, body = Problem)))]
pub(crate) async fn leave(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path(user): Path<i64>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let mut command = redis::cmd("DEL");
    command.arg(presence(user));
    on_redis.redis()?.query::<()>(&command).await?;
    Ok(gone())
}

/// Shows who is present of those who are asked about.
#[utoipa::path(get, path = "/presence", tag = "presence", params(Asked), responses(
    (status = 200, body = Present), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn present(
    _: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let users: Result<Vec<i64>, _> = asked
        .users
        .split(',')
        .map(|user| user.trim().parse())
        .collect();
    let users = match users {
        Ok(users) if users.len() <= MOST => users,
        _ => {
            let detail = format!("users must be 1 to {MOST} numbers with commas between them");
            return Err(Problem::invalid(detail).field("users"));
        }
    };
    let mut command = redis::cmd("MGET");
    for user in &users {
        command.arg(presence(*user));
    }
    let found: Vec<Option<String>> = on_redis.redis()?.query(&command).await?;
    let present = users.into_iter().zip(found);
    let present = present.filter_map(|(user, found)| found.map(|_| user));
    written(
        StatusCode::OK,
        &Present {
            present: present.collect(),
        },
    )
}

/// Says that a user types in a circle.
#[utoipa::path(put, path = "/circles/{circle_id}/typing/{user_id}", tag = "presence",
    params(("circle_id" = i64, Path), ("user_id" = i64, Path)), responses(
    (status = 204), (status = 503, body = Problem)))]
pub(crate) async fn types(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path((circle_id, user)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let mut call = TYPE.key(circle(circle_id));
    on_redis
        .redis()?
        .script::<()>(call.arg(user).arg(TYPING))
        .await?;
    Ok(gone())
}

/// Says that a user types no more in a circle.
#[utoipa::path(delete, path = "/circles/{circle_id}/typing/{user_id}", tag = "presence",
    params(("circle_id" = i64, Path), ("user_id" = i64, Path)), responses(
    (status = 204), (status = 503, body = Problem)))]
pub(crate) async fn stops(
    asker: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path((circle_id, user)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let mut command = redis::cmd("ZREM");
    command.arg(circle(circle_id)).arg(user);
    on_redis.redis()?.query::<()>(&command).await?;
    Ok(gone())
}

/// Shows who types in a circle.
#[utoipa::path(get, path = "/circles/{circle_id}/typing", tag = "presence", params(("circle_id" = i64, Path)),
    responses((status = 200, body = Typing), (status = 503, body = Problem)))]
pub(crate) async fn typing(
    _: Asker,
    State(on_redis): State<Arc<OnRedis>>,
    Path(circle_id): Path<i64>,
) -> Result<Response, Problem> {
    let call = TYPISTS.key(circle(circle_id));
    let typing = on_redis.redis()?.script(&call).await?;
    written(StatusCode::OK, &Typing { circle_id, typing })
}
