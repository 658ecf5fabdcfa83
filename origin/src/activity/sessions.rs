//! Sessions: in Redis only, for 24 hours after they were last used. A token is shown once, to who made the session; Redis
//! knows its hash, so that what is read there opens nothing.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::Response,
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    http::{
        access::{Asker, Role},
        answer::{gone, written},
        error::Problem,
        input::Json,
    },
    postgres::replicas::{Servers, touches_no_database},
    redis::on_redis::OnRedis,
};

/// How long a session lives without being used, in seconds.
const LIFETIME: u32 = 24 * 3_600;

/// A session to begin.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewSession {
    user_id: i64,
    /// Anything to remember; up to 10,000 bytes.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Value,
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Begun {
    /// What is to be sent as `Authorization: Bearer TOKEN`. It is not shown again.
    token: String,
    /// In how many seconds the session ends if it is not used.
    expires_in: u32,
}

/// A session.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct Session {
    user_id: i64,
    #[schema(value_type = Object)]
    data: Value,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/session", post(begin).get(show).delete(end))
        .route_layer(middleware::map_response(touches_no_database))
}

/// Begins a session of a user, whom the caller has made sure of.
#[utoipa::path(post, path = "/session", tag = "presence", request_body = NewSession, responses(
    (status = 201, body = Begun), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn begin(
    State(on_redis): State<Arc<OnRedis>>,
    Json(new): Json<NewSession>,
) -> Result<Response, Problem> {
    let session = Session {
        user_id: new.user_id,
        data: new.data,
    };
    let text =
        serde_json::to_string(&session).map_err(|error| Problem::invalid(error.to_string()))?;
    if text.len() > 10_000 {
        return Err(Problem::invalid("data may have 10000 bytes").field("data"));
    }
    // Two of them have 244 random bits.
    let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut command = redis::cmd("SET");
    command.arg(key(&token)).arg(text).arg("EX").arg(LIFETIME);
    on_redis.redis()?.query::<()>(&command).await?;
    let begun = Begun {
        token,
        expires_in: LIFETIME,
    };
    written(StatusCode::CREATED, &begun)
}

/// Shows the session of the token, which lives for another 24 hours.
#[utoipa::path(get, path = "/session", tag = "presence", params(("authorization" = String, Header)), responses(
    (status = 200, body = Session), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(
    State(on_redis): State<Arc<OnRedis>>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let mut command = redis::cmd("GETEX");
    command.arg(key(token(&request)?)).arg("EX").arg(LIFETIME);
    let text: Option<String> = on_redis.redis()?.query(&command).await?;
    let session: Option<Session> = text.and_then(|text| serde_json::from_str(&text).ok());
    written(StatusCode::OK, &session.ok_or_else(none)?)
}

/// Ends the session of the token.
#[utoipa::path(delete, path = "/session", tag = "presence", params(("authorization" = String, Header)), responses(
    (status = 204), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn end(
    State(on_redis): State<Arc<OnRedis>>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let mut command = redis::cmd("DEL");
    command.arg(key(token(&request)?));
    let ended: bool = on_redis.redis()?.query(&command).await?;
    if ended { Ok(gone()) } else { Err(none()) }
}

/// Who shows the token, if it is that of a session, which then lives for another 24 hours.
pub(crate) async fn asker(on_redis: &OnRedis, token: &str) -> Result<Asker, Problem> {
    #[derive(Deserialize)]
    struct Kept {
        user_id: i64,
        role: Role,
    }
    let mut command = redis::cmd("GETEX");
    command.arg(key(token)).arg("EX").arg(LIFETIME);
    let text: Option<String> = on_redis.redis()?.query(&command).await?;
    let kept: Option<Kept> = text.and_then(|text| serde_json::from_str(&text).ok());
    let kept = kept.ok_or_else(|| Problem::invalid_token("there is no session of this token"))?;
    Ok(Asker {
        id: kept.user_id,
        role: kept.role,
    })
}

fn none() -> Problem {
    Problem::not_found("there is no session of this token")
}

fn token(request: &HeaderMap) -> Result<&str, Problem> {
    let mut given = request.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return Err(none());
    };
    let given = one.to_str().ok().and_then(|given| given.split_once(' '));
    match given {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(none()),
    }
}

fn key(token: &str) -> String {
    format!(
        "tidegate-origin:session:{}",
        blake3::hash(token.as_bytes()).to_hex()
    )
}
