//! Circles. A public one is for everyone, like a course: it falls by `circle:ID`, lists by `circles`; both are announced by
//! the table's trigger. A private one is there for its members alone.

use axum::{
    Router,
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    community::members::{OWNER, role},
    http::{
        access::{Asker, Whoever},
        answer::{Policy, Representation, created, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Path, Query, no_zero, one_of, text},
        paging::{Cursor, Page, Paging, Start},
    },
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::Write,
    },
    relay::outbox::announce,
};

const CIRCLE: Policy = Policy::Public {
    browser: 60,
    edge: 1_800,
};
const LIST: Policy = Policy::Public {
    browser: 60,
    edge: 900,
};
const PERSONAL: Policy = Policy::Private { browser: 30 };
/// How many rows a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 20;
const MOST: i64 = 100;
/// How many members a circle may have unless it is said otherwise, and at most.
const SEATS: (i32, i32) = (100, 1_000);
const ORDERS: [&str; 2] = ["popular", "newest"];
/// Falls when so many circles change at once that naming them would be too much.
const TABLE: &str = "table:circles";

/// A circle of users.
#[derive(Serialize, ToSchema)]
pub(crate) struct Circle {
    id: i64,
    name: String,
    description: String,
    /// Whether it is there for its members alone, and an owner says who they are.
    is_private: bool,
    max_members: i32,
    /// Never more than `max_members`.
    member_count: i32,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// A circle to make; who makes it owns it.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewCircle {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[schema(max_length = 2_000)]
    #[serde(default)]
    description: String,
    #[serde(default)]
    is_private: bool,
    #[schema(minimum = 1, maximum = 1_000)]
    #[serde(default = "seats")]
    max_members: i32,
}

fn seats() -> i32 {
    SEATS.0
}

/// In which order to list circles.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// `popular`, those with most members first and of those with as many the newest, or `newest`.
    #[param(pattern = "^(popular|newest)$")]
    #[serde(default = "popular")]
    sort: String,
}

fn popular() -> String {
    ORDERS[0].to_owned()
}

/// A circle that a user is in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Joined {
    #[serde(skip)]
    membership_id: i64,
    circle_id: i64,
    name: String,
    is_private: bool,
    /// `owner` or `member`.
    role: String,
    #[serde(with = "time::serde::rfc3339")]
    joined_at: OffsetDateTime,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/circles", get(list).post(create))
        .route("/circles/{id}", get(show))
        .route("/users/{id}/circles", get(of_user))
}

/// The same for a circle that is not there and one that is not there for who asks, caches included.
pub(crate) fn absent(id: i64) -> Problem {
    Problem::not_found(format!("there is no circle {id}"))
}

/// Lists public circles.
#[utoipa::path(get, path = "/circles", tag = "circles", params(Listing, Paging<MOST>), responses(
    (status = 200, body = Vec<Circle>, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    Query(listing): Query<Listing>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    one_of("sort", &listing.sort, &ORDERS)?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    let is_popular = listing.sort == ORDERS[0];
    let mut circles = if is_popular {
        most_popular(&mut reader, &page).await?
    } else {
        newest(&mut reader, &page).await?
    };
    let link = page.cut(&mut circles, &uri, |circle| Cursor {
        rank: if is_popular {
            circle.member_count.into()
        } else {
            0
        },
        id: circle.id,
    });
    Ok(Representation::of(&circles)?
        .policy(LIST)
        .link(link)
        .tags(["circles".to_owned(), TABLE.to_owned()])
        .answer(&request))
}

macro_rules! public {
    ($reader:ident, $page:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            Circle,
            "SELECT id, name, description, is_private, max_members, member_count, created_at, updated_at
             FROM circles WHERE NOT is_private AND " + $page,
            $($argument),+
        )
        .fetch_all(&mut **$reader)
        .await?
    };
}

async fn most_popular(reader: &mut Reader, page: &Page) -> Result<Vec<Circle>, Problem> {
    let (members, id) = match page.start {
        // Before all others: a circle has no more members than this.
        Start::First => (i32::MAX, i64::MAX),
        Start::After(Cursor { rank, id }) => (members(rank, "after")?, id),
        Start::Before(Cursor { rank, id }) => (members(rank, "before")?, id),
    };
    Ok(if page.is_backwards() {
        public!(
            reader,
            "(member_count, id) > ($1, $2) ORDER BY member_count, id LIMIT $3",
            members,
            id,
            page.fetch()
        )
    } else {
        public!(
            reader,
            "(member_count, id) < ($1, $2) ORDER BY member_count DESC, id DESC LIMIT $3",
            members,
            id,
            page.fetch()
        )
    })
}

async fn newest(reader: &mut Reader, page: &Page) -> Result<Vec<Circle>, Problem> {
    let id = page.id().unwrap_or(i64::MAX);
    Ok(if page.is_backwards() {
        public!(reader, "id > $1 ORDER BY id LIMIT $2", id, page.fetch())
    } else {
        public!(
            reader,
            "id < $1 ORDER BY id DESC LIMIT $2",
            id,
            page.fetch()
        )
    })
}

/// A number of members, as a place in the list has it.
fn members(rank: i64, field: &'static str) -> Result<i32, Problem> {
    let wrong = |_| {
        let detail = format!("{field} must be taken from a link, as it is");
        Problem::invalid(detail).field(field)
    };
    i32::try_from(rank).map_err(wrong)
}

/// Makes a circle, whose owner and first member is who asks.
#[utoipa::path(post, path = "/circles", tag = "circles", request_body = NewCircle,
    params(("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    responses((status = 201, body = Circle), (status = 401, body = Problem),
    (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn create(
    asker: Asker,
    Once(attempt, new): Once<NewCircle>,
) -> Result<Response, Problem> {
    text("name", &new.name, 100)?;
    if new.description.chars().count() > 2_000 {
        let detail = "description must have at most 2000 characters";
        return Err(Problem::invalid(detail).field("description"));
    }
    no_zero("description", &new.description)?;
    if !(1..=SEATS.1).contains(&new.max_members) {
        let detail = format!("max_members must be 1 to {}", SEATS.1);
        return Err(Problem::invalid(detail).field("max_members"));
    }
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = insert(&mut first.write, asker.id, new).await;
            first.end(outcome).await
        }
    }
}

async fn insert(write: &mut Write, owner: i64, new: NewCircle) -> Result<Response, Problem> {
    let circle = sqlx::query_as!(
        Circle,
        "INSERT INTO circles (name, description, is_private, max_members, member_count) VALUES ($1, $2, $3, $4, 1)
         RETURNING id, name, description, is_private, max_members, member_count, created_at, updated_at",
        new.name,
        new.description,
        new.is_private,
        new.max_members
    )
    .fetch_one(&mut **write)
    .await?;
    sqlx::query!(
        "INSERT INTO circle_members (circle_id, user_id, role) VALUES ($1, $2, $3)",
        circle.id,
        owner,
        OWNER
    )
    .execute(&mut **write)
    .await?;
    announce(
        write,
        &[tag("user-circles", owner), tag("circle-members", circle.id)],
    )
    .await?;
    created(format!("/circles/{}", circle.id), &circle)
}

/// Shows a circle; a private one to its members.
#[utoipa::path(get, path = "/circles/{id}", tag = "circles", params(("id" = i64, Path)), responses(
    (status = 200, body = Circle), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn show(
    whoever: Whoever,
    Path(id): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let circle = sqlx::query_as!(
        Circle,
        "SELECT id, name, description, is_private, max_members, member_count, created_at, updated_at
         FROM circles WHERE id = $1",
        id
    )
    .fetch_optional(&mut *reader)
    .await?
    .ok_or_else(|| absent(id))?;
    let policy = if circle.is_private {
        let asker = whoever.is().await?.ok_or_else(|| absent(id))?;
        role(&mut reader, id, asker.id)
            .await?
            .ok_or_else(|| absent(id))?;
        PERSONAL
    } else {
        CIRCLE
    };
    Ok(Representation::of(&circle)?
        .policy(policy)
        .tags([tag("circle", id), TABLE.to_owned()])
        .modified(circle.updated_at)
        .answer(&request))
}

/// Lists the circles that a user is in, those joined first before others.
#[utoipa::path(get, path = "/users/{id}/circles", tag = "circles", params(("id" = i64, Path), Paging<MOST>), responses(
    (status = 200, body = Vec<Joined>, headers(("Link" = String, description = "next, prev, first"))),
    (status = 304), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn of_user(
    asker: Asker,
    Path(id): Path<i64>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(id)?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    // Few rows are one user's: they are put in order either way.
    let mut joined = sqlx::query_as!(
        Joined,
        "SELECT circle_members.id AS membership_id, circle_id, name, is_private, role, joined_at
         FROM circle_members JOIN circles ON circles.id = circle_id
         WHERE user_id = $1
             AND ($2::bigint IS NULL OR CASE WHEN $3 THEN circle_members.id < $2 ELSE circle_members.id > $2 END)
         ORDER BY CASE WHEN $3 THEN -circle_members.id ELSE circle_members.id END LIMIT $4",
        id,
        page.id(),
        page.is_backwards(),
        page.fetch()
    )
    .fetch_all(&mut *reader)
    .await?;
    let link = page.cut(&mut joined, &uri, |joined| Cursor {
        rank: 0,
        id: joined.membership_id,
    });
    Ok(Representation::of(&joined)?
        .policy(PERSONAL)
        .link(link)
        .tags([tag("user-circles", id)])
        .answer(&request))
}
