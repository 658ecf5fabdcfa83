//! Sessions: in Redis only, for 24 hours after they were last used. A token is shown once, to who made the session; Redis
//! knows its hash, so that what is read there opens nothing.
//!
//! All sessions of a user carry one stamp, which Redis has under the user's number. Without it none of them counts, so that
//! all end when it is forgotten: when the user goes, and when the password or the role changes. Beginning one holds the
//! user's row against change until Redis has it, and a change forgets the stamp before it is committed. So whatever comes
//! first, no session is left of what the user no longer is; and where Redis cannot be told, the change is refused.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
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
        access::{Asker, Role, bearer},
        answer::{gone, written},
        error::Problem,
        input::{Json, text},
    },
    learning::passwords::{Hash, Hashing, Password},
    postgres::{
        replicas::{PrimaryReader, Servers, touches_no_database},
        writer::Writer,
    },
    redis::{client::Redis, on_redis::OnRedis},
};

/// How long a session lives without being used, in seconds.
const LIFETIME: u32 = 24 * 3_600;
/// For how long a JWT is valid that goes with it.
const JWT_LIFETIME: time::Duration = time::Duration::minutes(15);
/// The longest name that is looked for, in characters.
const LONGEST_NAME: usize = 254;

/// A session to begin: who it is, by either name, and how they prove it.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewSession {
    #[schema(min_length = 1, max_length = 254)]
    email: Option<String>,
    #[schema(min_length = 1, max_length = 254)]
    username: Option<String>,
    password: Password,
    /// Anything to remember; up to 10,000 bytes.
    #[serde(default)]
    data: Value,
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Begun {
    /// What is to be sent as `Authorization: Bearer TOKEN`. It is not shown again.
    token: String,
    /// In how many seconds the session ends if it is not used.
    expires_in: u32,
    user_id: i64,
    /// The same for fifteen minutes, as a JWT, which an edge can count by and which is believed while Redis is away. There
    /// is none where the origin has no key. `GET /session` shows another one.
    jwt: Option<String>,
}

/// A session.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct Session {
    user_id: i64,
    /// What the user was when the session began, and is: a change ends it.
    #[schema(value_type = String)]
    role: Role,
    data: Value,
}

/// A session as it is shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownSession {
    #[serde(flatten)]
    session: Session,
    /// Says who asks for fifteen minutes; none where the origin has no key.
    jwt: Option<String>,
}

/// A session as Redis has it.
#[derive(Deserialize, Serialize)]
struct Kept {
    stamp: String,
    session: Session,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/session", post(begin).get(show).delete(end))
        .route_layer(middleware::map_response(touches_no_database))
}

/// Begins a session of the user with the name and the password.
#[utoipa::path(post, path = "/session", tag = "presence", request_body = NewSession, responses(
    (status = 201, body = Begun), (status = 401, description = "the name or the password is wrong", body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn begin(
    State(servers): State<Servers>,
    State(hashing): State<Hashing>,
    reader: PrimaryReader,
    writer: Writer,
    Json(new): Json<NewSession>,
) -> Result<Response, Problem> {
    let (field, name) = match (&new.email, &new.username) {
        (Some(email), None) => ("email", email),
        (None, Some(username)) => ("username", username),
        _ => return Err(Problem::invalid("there must be an email or a username").field("email")),
    };
    text(field, name, LONGEST_NAME)?;
    new.password.check("password")?;
    if new.data.to_string().len() > 10_000 {
        return Err(Problem::invalid("data may have 10000 bytes").field("data"));
    }
    let redis = servers.on_redis().redis()?;
    let mut reader = reader.begin().await?;
    let user = sqlx::query!(
        "SELECT id, password_hash FROM users WHERE email = $1 OR username = $2",
        new.email,
        new.username
    )
    .fetch_optional(&mut *reader)
    .await?;
    // Nobody else waits for a connection while the hash is made.
    drop(reader);
    let (id, hash) = user.map_or((0, None), |user| (user.id, user.password_hash.map(Hash)));
    if !hashing.fits(new.password, hash.as_ref()).await? {
        return Err(Problem::credentials());
    }
    let mut write = writer.begin().await?;
    let role = sqlx::query_scalar!(
        "SELECT role FROM users WHERE id = $1 AND password_hash = $2 FOR SHARE",
        id,
        hash.map(|hash| hash.0)
    )
    .fetch_optional(&mut *write)
    .await?;
    let role = role.as_deref().and_then(Role::of);
    let session = Session {
        user_id: id,
        role: role.ok_or_else(Problem::credentials)?,
        data: new.data,
    };
    let jwt = jwt(&servers, &session);
    let token = keep(redis, session).await?;
    write.commit().await?;
    let begun = Begun {
        token,
        expires_in: LIFETIME,
        user_id: id,
        jwt,
    };
    written(StatusCode::CREATED, &begun)
}

/// Puts a session into Redis, under a token that this alone returns.
async fn keep(redis: &Redis, session: Session) -> Result<String, Problem> {
    // Two of them have 244 random bits.
    let token = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let stamp = stamp(session.user_id);
    let mut stamping = redis::pipe();
    stamping.cmd("SET").arg(&stamp).arg(token());
    stamping.arg("NX").arg("EX").arg(LIFETIME).ignore();
    stamping.cmd("GETEX").arg(&stamp).arg("EX").arg(LIFETIME);
    let (stamp,): (String,) = redis.pipeline(&stamping).await?;
    let kept = serde_json::to_string(&Kept { stamp, session });
    let kept = kept.map_err(|error| Problem::invalid(error.to_string()))?;
    let token = token();
    let mut command = redis::cmd("SET");
    command.arg(key(&token)).arg(kept).arg("EX").arg(LIFETIME);
    redis.query::<()>(&command).await?;
    Ok(token)
}

/// Shows the session of the token, which lives for another 24 hours.
#[utoipa::path(get, path = "/session", tag = "presence", params(("authorization" = String, Header)), responses(
    (status = 200, body = ShownSession), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(
    State(servers): State<Servers>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let token = bearer(&request)?.ok_or_else(Problem::anonymous)?;
    let session = session(servers.on_redis(), token).await?;
    let jwt = jwt(&servers, &session);
    written(StatusCode::OK, &ShownSession { session, jwt })
}

/// Says for a while what the session says. It cannot be called back, so that it is a short while.
fn jwt(servers: &Servers, session: &Session) -> Option<String> {
    let user = Asker {
        id: session.user_id,
        role: session.role,
        until: None,
    };
    let expires = servers.clock().now() + JWT_LIFETIME;
    Some(servers.jwt_key()?.sign(user, expires))
}

/// Ends the session of the token.
#[utoipa::path(delete, path = "/session", tag = "presence", params(("authorization" = String, Header)), responses(
    (status = 204), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn end(
    State(on_redis): State<Arc<OnRedis>>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let token = bearer(&request)?.ok_or_else(Problem::anonymous)?;
    session(&on_redis, token).await?;
    let mut command = redis::cmd("DEL");
    command.arg(key(token));
    on_redis.redis()?.query::<()>(&command).await?;
    Ok(gone())
}

/// Who shows the token, if it is that of a session, which then lives for another 24 hours.
pub(crate) async fn asker(on_redis: &OnRedis, token: &str) -> Result<Asker, Problem> {
    let session = session(on_redis, token).await?;
    Ok(Asker {
        id: session.user_id,
        role: session.role,
        until: None,
    })
}

async fn session(on_redis: &OnRedis, token: &str) -> Result<Session, Problem> {
    let redis = on_redis.redis()?;
    let kept = used(redis, key(token)).await?;
    let kept: Option<Kept> = kept.and_then(|kept| serde_json::from_str(&kept).ok());
    let none = || Problem::invalid_token("there is no session of this token");
    let kept = kept.ok_or_else(none)?;
    let now = used(redis, stamp(kept.session.user_id)).await?;
    if now.as_ref() != Some(&kept.stamp) {
        return Err(none());
    }
    Ok(kept.session)
}

/// What Redis has under a key, which then lives for another 24 hours.
async fn used(redis: &Redis, key: String) -> Result<Option<String>, Problem> {
    let mut command = redis::cmd("GETEX");
    command.arg(key).arg("EX").arg(LIFETIME);
    Ok(redis.query(&command).await?)
}

/// Ends all sessions of a user, in whose row's lock this is called: none is begun meanwhile.
pub(crate) async fn end_all(on_redis: &OnRedis, user: i64) -> Result<(), Problem> {
    // Without Redis there are none.
    let Ok(redis) = on_redis.redis() else {
        return Ok(());
    };
    let mut command = redis::cmd("DEL");
    command.arg(stamp(user));
    redis.query::<()>(&command).await?;
    Ok(())
}

fn key(token: &str) -> String {
    format!(
        "tidegate-origin:session:{}",
        blake3::hash(token.as_bytes()).to_hex()
    )
}

fn stamp(user: i64) -> String {
    format!("tidegate-origin:sessions-of:{user}")
}
