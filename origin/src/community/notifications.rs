//! Notifications: what a user is told of, written in the transaction of what it tells of, so that there is never one without
//! the other. They are the user's alone, and fall by `user-notifications:ID`.
//!
//! How many are unread is counted and not kept: in an index that has nothing but those, which costs as much as there is
//! unread. A counter would be one more row that all who tell a user something wait for, and one that can be wrong.

use axum::{
    Router,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
    routing::{get, put},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        access::{Asker, allowed},
        answer::{Policy, Representation, gone, tag, written},
        error::Problem,
        input::{Path, Query},
        paging::{Cursor, Page, Paging},
    },
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::Writer,
    },
    relay::outbox::announce,
};

/// Kept by the user's browser, and asked about each time: nobody wants to hear too late.
const POLICY: Policy = Policy::Private { browser: 0 };
/// How many rows a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 50;
const MOST: i64 = 200;

/// What users are told of.
#[derive(Clone, Copy)]
pub(crate) enum Notice {
    /// Owners of a circle: somebody has joined it.
    Joined,
    /// Somebody has been added to a circle.
    Added,
    /// A message, by its number, names somebody.
    Mentioned(i64),
}

/// Something that a user is told.
#[derive(Serialize, ToSchema)]
pub(crate) struct Notification {
    id: i64,
    /// `joined`: somebody has joined a circle that the user owns; `added`: the user has been added to a circle;
    /// `mentioned`: a message names the user.
    kind: String,
    /// Whose doing it is.
    actor_id: i64,
    circle_id: i64,
    /// The message that names the user.
    message_id: Option<i64>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When the user has read it.
    #[serde(with = "time::serde::rfc3339::option")]
    read_at: Option<OffsetDateTime>,
}

/// How many notifications a user has not read.
#[derive(Serialize, ToSchema)]
pub(crate) struct Unread {
    user_id: i64,
    unread: i64,
}

/// Which notifications to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those that are unread.
    #[serde(default)]
    unread: bool,
}

/// How far the user has read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Seen {
    /// The newest notification that the user has seen; those with higher numbers stay unread.
    through: Option<i64>,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/users/{id}/notifications", get(list))
        .route("/users/{id}/notifications/unread", get(unread))
        .route("/users/{id}/notifications/read", put(read_all))
        .route("/users/{id}/notifications/{notification}/read", put(read))
}

/// Tells users of something that a user did in a circle; they are locked. In the transaction of what it tells of.
pub(crate) async fn tell(
    connection: &mut PgConnection,
    notice: Notice,
    actor: i64,
    circle: i64,
    users: &[i64],
) -> Result<(), sqlx::Error> {
    let (kind, message) = match notice {
        Notice::Joined => ("joined", None),
        Notice::Added => ("added", None),
        Notice::Mentioned(message) => ("mentioned", Some(message)),
    };
    sqlx::query!(
        "INSERT INTO notifications (user_id, kind, actor_id, circle_id, message_id)
         SELECT user_id, $2, $3, $4, $5 FROM unnest($1::bigint[]) AS told (user_id)",
        users,
        kind,
        actor,
        circle,
        message
    )
    .execute(&mut *connection)
    .await?;
    let tags: Vec<_> = users
        .iter()
        .map(|user| tag("user-notifications", user))
        .collect();
    announce(connection, &tags).await
}

/// Lists a user's notifications, the newest first.
#[utoipa::path(get, path = "/users/{id}/notifications", tag = "notifications",
    params(("id" = i64, Path), Wanted, Paging<MOST>), responses(
    (status = 200, body = Vec<Notification>, headers(("Link" = String, description = "next, prev, first"))),
    (status = 304), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    asker: Asker,
    Path(user): Path<i64>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    let mut notifications = select(&mut reader, user, wanted.unread, &page).await?;
    let link = page.cut(&mut notifications, &uri, |notification| Cursor {
        rank: 0,
        id: notification.id,
    });
    Ok(Representation::of(&notifications)?
        .policy(POLICY)
        .link(link)
        .tags([tag("user-notifications", user)])
        .answer(&request))
}

/// A page from its end of the index, on all or on those that are unread.
async fn select(
    reader: &mut Reader,
    user: i64,
    is_unread: bool,
    page: &Page,
) -> Result<Vec<Notification>, sqlx::Error> {
    macro_rules! page {
        ($which:literal, $from:expr) => {
            sqlx::query_as!(
                Notification,
                "SELECT id, kind, actor_id, circle_id, message_id, created_at, read_at FROM notifications
                 WHERE user_id = $1 AND " + $which + " LIMIT $3",
                user,
                $from,
                page.fetch()
            )
            .fetch_all(&mut **reader)
            .await
        };
    }
    let newest = page.id().unwrap_or(i64::MAX);
    match (is_unread, page.is_backwards()) {
        (false, false) => page!("id < $2 ORDER BY id DESC", newest),
        (false, true) => page!("id > $2 ORDER BY id", newest),
        (true, false) => page!("read_at IS NULL AND id < $2 ORDER BY id DESC", newest),
        (true, true) => page!("read_at IS NULL AND id > $2 ORDER BY id", newest),
    }
}

/// Says how many notifications a user has not read.
#[utoipa::path(get, path = "/users/{id}/notifications/unread", tag = "notifications", params(("id" = i64, Path)),
    responses((status = 200, body = Unread), (status = 304), (status = 401, body = Problem),
    (status = 403, body = Problem)))]
pub(crate) async fn unread(
    asker: Asker,
    Path(user): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let unread = count(&mut reader, user).await?;
    Ok(Representation::of(&unread)?
        .policy(POLICY)
        .tags([tag("user-notifications", user)])
        .answer(&request))
}

async fn count(connection: &mut PgConnection, user: i64) -> Result<Unread, sqlx::Error> {
    let unread = sqlx::query_scalar!(
        r#"SELECT count(*) AS "unread!" FROM notifications WHERE user_id = $1 AND read_at IS NULL"#,
        user
    )
    .fetch_one(connection)
    .await?;
    Ok(Unread {
        user_id: user,
        unread,
    })
}

/// Marks a notification as read; one that is read stays as it is.
#[utoipa::path(put, path = "/users/{id}/notifications/{notification}/read", tag = "notifications",
    params(("id" = i64, Path), ("notification" = i64, Path)), responses((status = 204), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn read(
    asker: Asker,
    writer: Writer,
    Path((user, notification)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    allowed(asker.id == user, "only that user may")?;
    let mut write = writer.begin().await?;
    let marked = sqlx::query!(
        "UPDATE notifications SET read_at = now() WHERE user_id = $1 AND id = $2 AND read_at IS NULL",
        user,
        notification
    )
    .execute(&mut *write)
    .await?;
    if marked.rows_affected() > 0 {
        announce(&mut write, &[tag("user-notifications", user)]).await?;
        write.commit().await?;
        return Ok(gone());
    }
    sqlx::query_scalar!(
        "SELECT id FROM notifications WHERE user_id = $1 AND id = $2",
        user,
        notification
    )
    .fetch_optional(&mut *write)
    .await?
    .map(|_| gone())
    .ok_or_else(|| Problem::not_found(format!("user {user} has no notification {notification}")))
}

/// Marks all notifications as read, or those up to one; says how many are left.
#[utoipa::path(put, path = "/users/{id}/notifications/read", tag = "notifications", params(("id" = i64, Path), Seen),
    responses((status = 200, body = Unread), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(crate) async fn read_all(
    asker: Asker,
    writer: Writer,
    Path(user): Path<i64>,
    Query(Seen { through }): Query<Seen>,
) -> Result<Response, Problem> {
    allowed(asker.id == user, "only that user may")?;
    let mut write = writer.begin().await?;
    // Two who do this at once take the rows in one order, and so does who removes the user: after this.
    super::hold(&mut write, &[user]).await?;
    let marked = sqlx::query!(
        "UPDATE notifications SET read_at = now() WHERE id IN (
             SELECT id FROM notifications WHERE user_id = $1 AND read_at IS NULL AND id <= $2
             ORDER BY id FOR UPDATE)",
        user,
        through.unwrap_or(i64::MAX)
    )
    .execute(&mut *write)
    .await?;
    let left = count(&mut write, user).await?;
    if marked.rows_affected() > 0 {
        announce(&mut write, &[tag("user-notifications", user)]).await?;
    }
    write.commit().await?;
    written(StatusCode::OK, &left)
}
