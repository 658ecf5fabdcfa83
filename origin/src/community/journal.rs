//! Journals: what users write for themselves, day by day, and for how many days in a row. Nobody stores it.
//!
//! A day is one of the user's own calendar, wherever the user is: the client says which. A day may be written of from when it
//! has begun anywhere, which is fourteen hours before it does at UTC.

pub(crate) mod streak;

use std::sync::LazyLock;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize, Serializer};
use time::{Date, Duration, OffsetDateTime, format_description::BorrowedFormatItem};
use utoipa::ToSchema;

use crate::{
    http::{
        access::{Asker, allowed},
        answer::{Representation, changed, created, gone},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Json, Path, Query, text},
        paging::{Cursor, Page, Paging, Start},
    },
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::{Write, Writer},
    },
};

/// How many rows a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 50;
const MOST: i64 = 200;
/// The longest entry, in characters.
const LONGEST: usize = 20_000;
/// How far ahead of UTC the earliest place on Earth is.
const EARLIEST: Duration = Duration::hours(14);

static DAY: LazyLock<Vec<BorrowedFormatItem<'static>>> = LazyLock::new(|| {
    time::format_description::parse_borrowed::<2>("[year]-[month]-[day]")
        .expect("year, month and day are components of a date")
});

/// What a user wrote of a day.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    id: i64,
    user_id: i64,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = Date)]
    day: Date,
    text: String,
    /// 1 to 10.
    mood: Option<i16>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

fn as_text<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

/// An entry to write.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewEntry {
    /// Of the user's own calendar, from 1970 to today.
    #[schema(format = Date)]
    day: String,
    #[schema(min_length = 1, max_length = 20_000)]
    text: String,
    #[schema(minimum = 1, maximum = 10)]
    mood: Option<i16>,
}

/// What to change about an entry; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct EntryChange {
    #[schema(min_length = 1, max_length = 20_000)]
    text: Option<String>,
    #[schema(minimum = 1, maximum = 10)]
    mood: Option<i16>,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/users/{id}/journal", get(list).post(write))
        .route("/users/{id}/journal/streak", get(streak::show))
        .route(
            "/users/{id}/journal/{entry}",
            get(show).patch(edit).delete(remove),
        )
}

fn missing(user: i64, entry: i64) -> Problem {
    Problem::not_found(format!("user {user} has no journal entry {entry}"))
}

fn date(field: &'static str, text: &str) -> Result<Date, Problem> {
    let wrong = |_| {
        let detail = format!("{field} must be a date such as 2026-01-31");
        Problem::invalid(detail).field(field)
    };
    Date::parse(text, &DAY).map_err(wrong)
}

/// A day that may be written of: no more days than there have been, and none that has begun nowhere yet.
fn check_day(text: &str, now: OffsetDateTime) -> Result<Date, Problem> {
    let day = date("day", text)?;
    if !(OffsetDateTime::UNIX_EPOCH.date()..=(now + EARLIEST).date()).contains(&day) {
        let detail = "day must be of 1970 or later, and not lie in the future";
        return Err(Problem::invalid(detail).field("day"));
    }
    Ok(day)
}

fn check_mood(mood: i16) -> Result<(), Problem> {
    if (1..=10).contains(&mood) {
        return Ok(());
    }
    Err(Problem::invalid("mood must be 1 to 10").field("mood"))
}

fn own(asker: Asker, user: i64) -> Result<(), Problem> {
    allowed(asker.id == user, "only that user may")
}

/// Lists a user's entries, the last day first.
#[utoipa::path(get, path = "/users/{id}/journal", tag = "journal", params(("id" = i64, Path), Paging<MOST>), responses(
    (status = 200, body = Vec<Entry>, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn list(
    asker: Asker,
    Path(user): Path<i64>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    let mut entries = select(&mut reader, user, &page).await?;
    let link = page.cut(&mut entries, &uri, |entry| Cursor {
        rank: entry.day.to_julian_day().into(),
        id: entry.id,
    });
    Ok(Representation::of(&entries)?.link(link).answer(&request))
}

async fn select(reader: &mut Reader, user: i64, page: &Page) -> Result<Vec<Entry>, Problem> {
    let (day, id) = match page.start {
        Start::First => (Date::MAX, i64::MAX),
        Start::After(cursor) => (place("after", cursor)?, cursor.id),
        Start::Before(cursor) => (place("before", cursor)?, cursor.id),
    };
    let entries = if page.is_backwards() {
        sqlx::query_as!(
            Entry,
            "SELECT id, user_id, day, text, mood, created_at, updated_at FROM journal_entries
             WHERE user_id = $1 AND (day, id) > ($2, $3) ORDER BY day, id LIMIT $4",
            user,
            day,
            id,
            page.fetch()
        )
        .fetch_all(&mut **reader)
        .await?
    } else {
        sqlx::query_as!(
            Entry,
            "SELECT id, user_id, day, text, mood, created_at, updated_at FROM journal_entries
             WHERE user_id = $1 AND (day, id) < ($2, $3) ORDER BY day DESC, id DESC LIMIT $4",
            user,
            day,
            id,
            page.fetch()
        )
        .fetch_all(&mut **reader)
        .await?
    };
    Ok(entries)
}

/// The day at which a list is cut.
fn place(field: &'static str, cursor: Cursor) -> Result<Date, Problem> {
    let day = i32::try_from(cursor.rank).ok();
    day.and_then(|day| Date::from_julian_day(day).ok())
        // PostgreSQL begins in the year -4712.
        .filter(|day| day.year() >= 0)
        .ok_or_else(|| {
            let detail = format!("{field} must be taken from a link, as it is");
            Problem::invalid(detail).field(field)
        })
}

/// Shows an entry.
#[utoipa::path(get, path = "/users/{id}/journal/{entry}", tag = "journal",
    params(("id" = i64, Path), ("entry" = i64, Path)), responses(
    (status = 200, body = Entry), (status = 304), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    Path((user, entry)): Path<(i64, i64)>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let entry = sqlx::query_as!(
        Entry,
        "SELECT id, user_id, day, text, mood, created_at, updated_at FROM journal_entries
         WHERE user_id = $1 AND id = $2",
        user,
        entry
    )
    .fetch_optional(&mut *reader)
    .await?
    .ok_or_else(|| missing(user, entry))?;
    Ok(Representation::of(&entry)?.answer(&request))
}

/// Writes of a day, of which there may be several entries.
#[utoipa::path(post, path = "/users/{id}/journal", tag = "journal", params(("id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    request_body = NewEntry, responses((status = 201, body = Entry), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn write(
    asker: Asker,
    State(servers): State<Servers>,
    Path(user): Path<i64>,
    Once(attempt, new): Once<NewEntry>,
) -> Result<Response, Problem> {
    own(asker, user)?;
    text("text", &new.text, LONGEST)?;
    new.mood.map(check_mood).transpose()?;
    let day = check_day(&new.day, servers.clock().now())?;
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = insert(&mut first.write, user, day, new).await;
            first.end(outcome).await
        }
    }
}

async fn insert(
    write: &mut Write,
    user: i64,
    day: Date,
    new: NewEntry,
) -> Result<Response, Problem> {
    let entry = sqlx::query_as!(
        Entry,
        "INSERT INTO journal_entries (user_id, day, text, mood) VALUES ($1, $2, $3, $4)
         RETURNING id, user_id, day, text, mood, created_at, updated_at",
        user,
        day,
        new.text,
        new.mood
    )
    .fetch_one(&mut **write)
    .await?;
    created(format!("/users/{user}/journal/{}", entry.id), &entry)
}

/// Changes an entry.
#[utoipa::path(patch, path = "/users/{id}/journal/{entry}", tag = "journal",
    params(("id" = i64, Path), ("entry" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the entry that may be changed")),
    request_body = EntryChange, responses((status = 200, body = Entry), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 412, description = "it has been changed meanwhile", body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn edit(
    asker: Asker,
    writer: Writer,
    Path((user, entry)): Path<(i64, i64)>,
    Json(change): Json<EntryChange>,
) -> Result<Response, Problem> {
    own(asker, user)?;
    let longest = |new: &String| text("text", new, LONGEST);
    change.text.as_ref().map(longest).transpose()?;
    change.mood.map(check_mood).transpose()?;
    let mut write = writer.begin().await?;
    require(&mut write, user, entry).await?;
    let entry = sqlx::query_as!(
        Entry,
        "UPDATE journal_entries SET text = coalesce($3, text), mood = coalesce($4, mood)
         WHERE user_id = $1 AND id = $2
         RETURNING id, user_id, day, text, mood, created_at, updated_at",
        user,
        entry,
        change.text,
        change.mood
    )
    .fetch_optional(&mut *write)
    .await?
    .ok_or_else(|| missing(user, entry))?;
    write.commit().await?;
    changed(&entry)
}

/// Removes an entry.
#[utoipa::path(delete, path = "/users/{id}/journal/{entry}", tag = "journal",
    params(("id" = i64, Path), ("entry" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the entry that may be removed")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 412, description = "it has been changed meanwhile", body = Problem)))]
pub(crate) async fn remove(
    asker: Asker,
    writer: Writer,
    Path((user, entry)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    own(asker, user)?;
    let mut write = writer.begin().await?;
    require(&mut write, user, entry).await?;
    let removed = sqlx::query!(
        "DELETE FROM journal_entries WHERE user_id = $1 AND id = $2",
        user,
        entry
    )
    .execute(&mut *write)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(missing(user, entry));
    }
    write.commit().await?;
    Ok(gone())
}

/// Locks an entry, and refuses a write that demands another state.
async fn require(write: &mut Write, user: i64, entry: i64) -> Result<(), Problem> {
    if write.conditions.is_empty() {
        return Ok(());
    }
    let entry = sqlx::query_as!(
        Entry,
        "SELECT id, user_id, day, text, mood, created_at, updated_at FROM journal_entries
         WHERE user_id = $1 AND id = $2 FOR UPDATE",
        user,
        entry
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| missing(user, entry))?;
    write.conditions.require(Some(&entry))
}
