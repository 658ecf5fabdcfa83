//! Who is in a circle: never more than there are seats, never nobody, and always somebody who owns it.
//!
//! Whoever asks joins a public circle; an owner adds anyone, which is the only way into a private one. How members leave
//! says [`leaving`].
//!
//! A circle's members fall by `circle-members:ID`, a user's circles by `user-circles:ID`; the circle itself, whose count
//! changes, is announced by its table's trigger. How locks are taken says the [room](super).

pub(crate) mod leaving;

use axum::{
    Router,
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    community::{
        circles::absent,
        hold,
        notifications::{Notice, tell},
    },
    http::{
        access::{Asker, allowed},
        answer::{Policy, Representation, created, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Path, Query},
        paging::{Cursor, Paging},
    },
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::Write,
    },
    relay::outbox::announce,
};

const POLICY: Policy = Policy::Private { browser: 30 };
/// How many rows a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 100;
const MOST: i64 = 1_000;
/// Who may add and remove members, and say who else owns the circle.
pub(crate) const OWNER: &str = "owner";

/// A user's place in a circle.
#[derive(Serialize, ToSchema)]
pub(crate) struct Membership {
    circle_id: i64,
    user_id: i64,
    /// `owner` or `member`.
    role: String,
    #[serde(with = "time::serde::rfc3339")]
    joined_at: OffsetDateTime,
}

/// A member as a circle's list shows them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    #[serde(skip)]
    membership_id: i64,
    user_id: i64,
    username: String,
    full_name: String,
    /// `owner` or `member`.
    role: String,
    #[serde(with = "time::serde::rfc3339")]
    joined_at: OffsetDateTime,
}

/// Who joins.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Joining {
    /// Who asks, unless it is said otherwise.
    user_id: Option<i64>,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/circles/{id}/members", get(list).post(join))
        .route(
            "/circles/{id}/members/{user_id}",
            get(show).patch(leaving::appoint).delete(leaving::leave),
        )
}

fn not_in(user: i64, circle: i64) -> Problem {
    Problem::not_found(format!("user {user} is not in circle {circle}"))
}

/// What a user is in a circle, if anything.
pub(crate) async fn role(
    connection: &mut PgConnection,
    circle: i64,
    user: i64,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT role FROM circle_members WHERE circle_id = $1 AND user_id = $2",
        circle,
        user
    )
    .fetch_optional(connection)
    .await
}

/// What the asker is in a circle, if anything. A private one is not there for whoever is not in it.
async fn standing(
    connection: &mut PgConnection,
    circle: i64,
    asker: Asker,
) -> Result<Option<String>, Problem> {
    let found = sqlx::query!(
        r#"SELECT is_private,
               (SELECT role FROM circle_members WHERE circle_id = circles.id AND user_id = $2) AS role
           FROM circles WHERE id = $1"#,
        circle,
        asker.id
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| absent(circle))?;
    if found.is_private && found.role.is_none() {
        return Err(absent(circle));
    }
    Ok(found.role)
}

/// What the asker is in a circle; refuses whoever is not in it.
pub(crate) async fn member(
    connection: &mut PgConnection,
    circle: i64,
    asker: Asker,
) -> Result<String, Problem> {
    standing(connection, circle, asker)
        .await?
        .ok_or_else(|| Problem::forbidden("only members of the circle may"))
}

/// Lists a circle's members to each other, those who have been in it for longest first.
#[utoipa::path(get, path = "/circles/{id}/members", tag = "circles", params(("id" = i64, Path), Paging<MOST>), responses(
    (status = 200, body = Vec<Member>, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    asker: Asker,
    Path(id): Path<i64>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    member(&mut reader, id, asker).await?;
    // A circle has a thousand members at most: they are put in order either way.
    let mut members = sqlx::query_as!(
        Member,
        "SELECT circle_members.id AS membership_id, user_id, username, full_name, circle_members.role, joined_at
         FROM circle_members JOIN users ON users.id = user_id
         WHERE circle_id = $1
             AND ($2::bigint IS NULL OR CASE WHEN $3 THEN circle_members.id < $2 ELSE circle_members.id > $2 END)
         ORDER BY CASE WHEN $3 THEN -circle_members.id ELSE circle_members.id END LIMIT $4",
        id,
        page.id(),
        page.is_backwards(),
        page.fetch()
    )
    .fetch_all(&mut *reader)
    .await?;
    let link = page.cut(&mut members, &uri, |member| Cursor {
        rank: 0,
        id: member.membership_id,
    });
    Ok(Representation::of(&members)?
        .link(link)
        .policy(POLICY)
        .tags([tag("circle-members", id)])
        .answer(&request))
}

/// Shows a user's place in a circle to its members.
#[utoipa::path(get, path = "/circles/{id}/members/{user_id}", tag = "circles",
    params(("id" = i64, Path), ("user_id" = i64, Path)), responses(
    (status = 200, body = Membership), (status = 304), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    Path((circle, user)): Path<(i64, i64)>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    member(&mut reader, circle, asker).await?;
    let membership = sqlx::query_as!(
        Membership,
        "SELECT circle_id, user_id, role, joined_at FROM circle_members WHERE circle_id = $1 AND user_id = $2",
        circle,
        user
    )
    .fetch_optional(&mut *reader)
    .await?
    .ok_or_else(|| not_in(user, circle))?;
    Ok(Representation::of(&membership)?
        .policy(POLICY)
        .tags([tag("circle-members", circle)])
        .answer(&request))
}

/// Joins a public circle, or adds somebody to a circle that the asker owns.
#[utoipa::path(post, path = "/circles/{id}/members", tag = "circles", params(("id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    request_body = Joining, responses((status = 201, body = Membership), (status = 401, body = Problem),
    (status = 403, description = "who asks may not add others", body = Problem), (status = 404, body = Problem),
    (status = 409, description = "the circle is full, the user is in it already, or a request with this key is in \
    progress", body = Problem), (status = 422, description = "there is no such user", body = Problem)))]
pub(crate) async fn join(
    asker: Asker,
    Path(circle): Path<i64>,
    Once(attempt, Joining { user_id }): Once<Joining>,
) -> Result<Response, Problem> {
    let user = user_id.unwrap_or(asker.id);
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = take_seat(&mut first.write, asker, circle, user).await;
            first.end(outcome).await
        }
    }
}

async fn take_seat(
    write: &mut Write,
    asker: Asker,
    circle: i64,
    user: i64,
) -> Result<Response, Problem> {
    // Whoever joins, and whoever will be told.
    let (notice, mut told) = match asker.id == user {
        true => (Notice::Joined, owners(write, circle).await?),
        false => (Notice::Added, Vec::new()),
    };
    told.push(user);
    let there = hold(write, &told).await?;
    let seats = sqlx::query!(
        "SELECT max_members, member_count FROM circles WHERE id = $1 FOR NO KEY UPDATE",
        circle
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| absent(circle))?;
    let is_owner = standing(write, circle, asker).await?.as_deref() == Some(OWNER);
    allowed(
        asker.id == user || is_owner,
        "only an owner of the circle may add others",
    )?;
    if role(write, circle, user).await?.is_some() {
        let detail = format!("user {user} is in circle {circle} already");
        return Err(Problem::conflict(
            "urn:tidegate:already-member",
            "The user is a member already",
            detail,
        ));
    }
    if !there.contains(&user) {
        return Err(Problem::invalid(format!("there is no user {user}")).field("user_id"));
    }
    if seats.member_count >= seats.max_members {
        let detail = format!(
            "all {} seats of circle {circle} are taken",
            seats.max_members
        );
        return Err(Problem::conflict(
            "urn:tidegate:circle-full",
            "The circle is full",
            detail,
        ));
    }
    let membership = sqlx::query_as!(
        Membership,
        "INSERT INTO circle_members (circle_id, user_id) VALUES ($1, $2)
         RETURNING circle_id, user_id, role, joined_at",
        circle,
        user
    )
    .fetch_one(&mut **write)
    .await?;
    sqlx::query!(
        "UPDATE circles SET member_count = member_count + 1 WHERE id = $1",
        circle
    )
    .execute(&mut **write)
    .await?;
    told.retain(|id| *id != asker.id && there.contains(id));
    tell(write, notice, asker.id, circle, &told).await?;
    announce(write, &fallen(circle, user)).await?;
    created(format!("/circles/{circle}/members/{user}"), &membership)
}

async fn owners(connection: &mut PgConnection, circle: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT user_id FROM circle_members WHERE circle_id = $1 AND role = $2",
        circle,
        OWNER
    )
    .fetch_all(connection)
    .await
}

fn fallen(circle: i64, user: i64) -> [String; 2] {
    [tag("circle-members", circle), tag("user-circles", user)]
}
