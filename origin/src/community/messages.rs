//! Messages: written through to PostgreSQL, which is the authority, and read by the members of a circle alone.
//!
//! They are personal data: no cache that is shared keeps them, and a member's own browser asks each time whether they have
//! changed, which costs a 304 where they have not. All pages of a circle fall by `circle-messages:ID` with each write.

use axum::{
    Router,
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    community::{
        circles::absent,
        hold,
        members::member,
        notifications::{Notice, tell},
    },
    http::{
        access::{Asker, allowed},
        answer::{Policy, Representation, changed, created, gone, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Json, Path, Query, text},
        paging::{Cursor, Paging},
    },
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::{Write, Writer},
    },
    relay::outbox::announce,
};

const POLICY: Policy = Policy::Private { browser: 0 };
/// How many rows a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 50;
const MOST: i64 = 200;
/// The longest message, in characters.
const LONGEST: usize = 4_000;
/// How many users one may name.
const MENTIONS: usize = 20;

/// A message in a circle.
#[derive(Serialize, ToSchema)]
pub(crate) struct Message {
    id: i64,
    circle_id: i64,
    author_id: i64,
    text: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When the author last changed it.
    #[serde(with = "time::serde::rfc3339::option")]
    edited_at: Option<OffsetDateTime>,
}

/// A message to send.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewMessage {
    #[schema(min_length = 1, max_length = 4_000)]
    text: String,
    /// Members who are told of it.
    #[schema(max_items = 20)]
    #[serde(default)]
    mentions: Vec<i64>,
}

/// What the message says now.
#[derive(Deserialize, ToSchema)]
pub(crate) struct MessageChange {
    #[schema(min_length = 1, max_length = 4_000)]
    text: String,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/circles/{id}/messages", get(list).post(say))
        .route(
            "/circles/{id}/messages/{message}",
            get(show).patch(edit).delete(remove),
        )
}

fn missing(circle: i64, message: i64) -> Problem {
    Problem::not_found(format!("there is no message {message} in circle {circle}"))
}

/// Lists a circle's messages, the newest first.
#[utoipa::path(get, path = "/circles/{id}/messages", tag = "messages", params(("id" = i64, Path), Paging<MOST>), responses(
    (status = 200, body = Vec<Message>, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    asker: Asker,
    Path(circle): Path<i64>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    member(&mut reader, circle, asker).await?;
    let mut messages = if page.is_backwards() {
        sqlx::query_as!(
            Message,
            "SELECT id, circle_id, author_id, text, created_at, edited_at FROM messages
             WHERE circle_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            circle,
            page.id(),
            page.fetch()
        )
        .fetch_all(&mut *reader)
        .await?
    } else {
        sqlx::query_as!(
            Message,
            "SELECT id, circle_id, author_id, text, created_at, edited_at FROM messages
             WHERE circle_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            circle,
            page.id().unwrap_or(i64::MAX),
            page.fetch()
        )
        .fetch_all(&mut *reader)
        .await?
    };
    let link = page.cut(&mut messages, &uri, |message| Cursor {
        rank: 0,
        id: message.id,
    });
    Ok(Representation::of(&messages)?
        .policy(POLICY)
        .link(link)
        .tags([tag("circle-messages", circle)])
        .answer(&request))
}

/// Shows a message.
#[utoipa::path(get, path = "/circles/{id}/messages/{message}", tag = "messages",
    params(("id" = i64, Path), ("message" = i64, Path)), responses(
    (status = 200, body = Message), (status = 304), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    Path((circle, message)): Path<(i64, i64)>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    member(&mut reader, circle, asker).await?;
    let message = sqlx::query_as!(
        Message,
        "SELECT id, circle_id, author_id, text, created_at, edited_at FROM messages WHERE circle_id = $1 AND id = $2",
        circle,
        message
    )
    .fetch_optional(&mut *reader)
    .await?
    .ok_or_else(|| missing(circle, message))?;
    Ok(Representation::of(&message)?
        .policy(POLICY)
        .tags([tag("circle-messages", circle)])
        .answer(&request))
}

/// Sends a message to a circle, and tells the members whom it mentions.
#[utoipa::path(post, path = "/circles/{id}/messages", tag = "messages", params(("id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    request_body = NewMessage, responses((status = 201, body = Message), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 422, description = "whoever is mentioned is not a member", body = Problem)))]
pub(crate) async fn say(
    asker: Asker,
    Path(circle): Path<i64>,
    Once(attempt, mut new): Once<NewMessage>,
) -> Result<Response, Problem> {
    text("text", &new.text, LONGEST)?;
    if new.mentions.len() > MENTIONS {
        let detail = format!("mentions must be {MENTIONS} members at most");
        return Err(Problem::invalid(detail).field("mentions"));
    }
    // Each once, and nobody oneself.
    new.mentions.sort_unstable();
    new.mentions.dedup();
    new.mentions.retain(|user| *user != asker.id);
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = insert(&mut first.write, asker, circle, new).await;
            first.end(outcome).await
        }
    }
}

async fn insert(
    write: &mut Write,
    asker: Asker,
    circle: i64,
    NewMessage { text, mentions }: NewMessage,
) -> Result<Response, Problem> {
    enter(write, asker, circle, &mentions).await?;
    let members = sqlx::query_scalar!(
        "SELECT user_id FROM circle_members WHERE circle_id = $1 AND user_id = ANY ($2)",
        circle,
        &mentions
    )
    .fetch_all(&mut **write)
    .await?;
    if let Some(stranger) = mentions.iter().find(|user| !members.contains(user)) {
        let detail = format!("user {stranger} is not in circle {circle}");
        return Err(Problem::invalid(detail).field("mentions"));
    }
    let message = sqlx::query_as!(
        Message,
        "INSERT INTO messages (circle_id, author_id, text) VALUES ($1, $2, $3)
         RETURNING id, circle_id, author_id, text, created_at, edited_at",
        circle,
        asker.id,
        text
    )
    .fetch_one(&mut **write)
    .await?;
    tell(
        write,
        Notice::Mentioned(message.id),
        asker.id,
        circle,
        &mentions,
    )
    .await?;
    announce(write, &[tag("circle-messages", circle)]).await?;
    created(
        format!("/circles/{circle}/messages/{}", message.id),
        &message,
    )
}

/// Lets a member write in a circle, which none of its members leaves until the transaction ends. Users whom the write
/// speaks of are kept, too.
async fn enter(write: &mut Write, asker: Asker, circle: i64, users: &[i64]) -> Result<(), Problem> {
    hold(write, &[users, &[asker.id]].concat()).await?;
    sqlx::query_scalar!("SELECT id FROM circles WHERE id = $1 FOR KEY SHARE", circle)
        .fetch_optional(&mut **write)
        .await?
        .ok_or_else(|| absent(circle))?;
    member(write, circle, asker).await.map(drop)
}

/// Changes what a message says; its author does.
#[utoipa::path(patch, path = "/circles/{id}/messages/{message}", tag = "messages",
    params(("id" = i64, Path), ("message" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the message that may be changed")),
    request_body = MessageChange, responses((status = 200, body = Message), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn edit(
    asker: Asker,
    writer: Writer,
    Path((circle, message)): Path<(i64, i64)>,
    Json(change): Json<MessageChange>,
) -> Result<Response, Problem> {
    text("text", &change.text, LONGEST)?;
    let mut write = writer.begin().await?;
    enter(&mut write, asker, circle, &[]).await?;
    require(&mut write, asker, circle, message).await?;
    // The clock's time and not the transaction's start: of two changes, the later has the later time.
    let message = sqlx::query_as!(
        Message,
        "UPDATE messages SET text = $2, edited_at = clock_timestamp() WHERE id = $1
         RETURNING id, circle_id, author_id, text, created_at, edited_at",
        message,
        change.text
    )
    .fetch_one(&mut *write)
    .await?;
    announce(&mut write, &[tag("circle-messages", circle)]).await?;
    write.commit().await?;
    changed(&message)
}

/// Takes a message back; its author does.
#[utoipa::path(delete, path = "/circles/{id}/messages/{message}", tag = "messages",
    params(("id" = i64, Path), ("message" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the message that may be taken back")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 412, description = "somebody else has changed it", body = Problem)))]
pub(crate) async fn remove(
    asker: Asker,
    writer: Writer,
    Path((circle, message)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    let mut write = writer.begin().await?;
    enter(&mut write, asker, circle, &[]).await?;
    require(&mut write, asker, circle, message).await?;
    sqlx::query!("DELETE FROM messages WHERE id = $1", message)
        .execute(&mut *write)
        .await?;
    announce(&mut write, &[tag("circle-messages", circle)]).await?;
    write.commit().await?;
    Ok(gone())
}

/// Locks a message, and refuses a write of anybody but its author, or one that demands another state.
async fn require(
    write: &mut Write,
    asker: Asker,
    circle: i64,
    message: i64,
) -> Result<(), Problem> {
    let message = sqlx::query_as!(
        Message,
        "SELECT id, circle_id, author_id, text, created_at, edited_at FROM messages
         WHERE circle_id = $1 AND id = $2 FOR UPDATE",
        circle,
        message
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| missing(circle, message))?;
    allowed(message.author_id == asker.id, "only its author may")?;
    write.conditions.require(Some(&message))
}
