//! Activity: what the events say. By user, by type, by window of time; how often a course was looked at; what is looked at
//! most. All of it is read from the table, so it lags behind what was accepted by as much as events wait in the stream.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime, UtcOffset};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    activity::events::{AHEAD, APART, Metadata, floor_of},
    clock::Clock,
    http::{
        access::Asker,
        answer::{Policy, Representation},
        error::Problem,
        input::{Path, Query, text},
        paging::{Cursor, Page, Paging, Start},
    },
    postgres::replicas::{Reading, Servers},
};

/// Counts move all the time, and nobody minds a minute.
const COUNTS: Policy = Policy::Brief { seconds: 60 };
/// The sliding window of what is trending.
const TREND: Duration = Duration::hours(1);

/// How long a window of time may be: so many days are looked through.
const WINDOW: Duration = Duration::days(31);
/// How many events a page has unless it is said otherwise.
const PAGE: i64 = 100;
/// How many bytes of `event_data` a page may have, and one event more.
const BYTES: i64 = 1 << 20;

/// Which events to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those of a user.
    user_id: Option<i64>,
    /// Only those of a type.
    #[param(min_length = 1, max_length = 100)]
    event_type: Option<String>,
    /// Only those of this moment or later; 31 days before the end when it is left out.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Only those before this moment, up to 31 days after the beginning.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
}

/// A window of time of up to 31 days. Where its end is left out, it is as late as possible; where its beginning is, it is
/// 31 days before the end.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Window {
    /// Only what was at this moment or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Only what was before this moment.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
}

/// An event that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct Shown {
    id: Uuid,
    /// Nobody, where it was not known who it was.
    user_id: Option<i64>,
    event_type: String,
    event_data: Value,
    metadata: Metadata,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
}

/// A page of events, newest first by the time in their ids.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    events: Vec<Shown>,
}

/// How often a course was looked at.
#[derive(Serialize, ToSchema)]
pub(crate) struct Views {
    course_id: i64,
    views: i64,
    /// How many users that were.
    viewers: i64,
}

/// How many courses to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Top {
    /// How many, 1 to 100.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 100)]
    limit: i64,
}

fn ten() -> i64 {
    10
}

/// A course, and how often it was looked at in the last hour.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trending {
    course_id: i64,
    title: String,
    views: i64,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/events", get(list))
        .route("/courses/{id}/views", get(views))
        .route("/trending", get(trending))
}

/// What a statement reads: a range of ids, which says which partitions and which part of an index, and of time in it.
struct Range {
    ids: [Uuid; 2],
    from: OffsetDateTime,
    to: OffsetDateTime,
}

impl Range {
    /// What a window means at a moment.
    fn of(
        from: Option<OffsetDateTime>,
        to: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<Self, Problem> {
        // The latest that an event may be of.
        let ahead = AHEAD + APART;
        let in_utc = |moment: OffsetDateTime, field: &'static str| {
            let beyond = || Problem::invalid("the year must be 0 to 9999 in UTC").field(field);
            moment.checked_to_offset(UtcOffset::UTC).ok_or_else(beyond)
        };
        let from = from.map(|from| in_utc(from, "from")).transpose()?;
        let to = in_utc(to.unwrap_or(now + ahead), "to")?;
        let from = from.or(to.checked_sub(WINDOW)).unwrap_or(to);
        if to - from > WINDOW + ahead {
            let detail = format!("from and to may be {} days apart", WINDOW.whole_days());
            return Err(Problem::invalid(detail).field("from"));
        }
        Ok(Self::between(from, to))
    }

    fn between(from: OffsetDateTime, to: OffsetDateTime) -> Self {
        let by = |moment: OffsetDateTime, by| moment.checked_add(by).unwrap_or(moment);
        Self {
            ids: [
                floor_of(by(from, -APART)),
                floor_of(by(to, APART + Duration::MILLISECOND)),
            ],
            from,
            to,
        }
    }
}

/// Lists events, newest first, of up to 31 days: an admin those of everybody, others their own. A page has as many as it has room for, at most 1 MiB of data.
#[utoipa::path(get, path = "/events", tag = "activity", params(Wanted, Paging), responses(
    (status = 200, body = Events, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    asker: Asker,
    Query(mut wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
    State(clock): State<Clock>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !asker.is_admin() {
        let user = *wanted.user_id.get_or_insert(asker.id);
        asker.must_be(user)?;
    }
    let mut page = paging.page(PAGE)?;
    let range = Range::of(wanted.from, wanted.to, clock.now())?;
    if let Some(event_type) = &wanted.event_type {
        text("event_type", event_type, 100)?;
    }
    let mut reader = reading.begin().await?;
    let mut rows = select(&mut reader, &wanted, range, &page).await?;
    let have_room = rows.iter().take_while(|row| row.bytes <= BYTES).count();
    if have_room < rows.len() {
        page.at_most(have_room);
    }
    let link = page.cut(&mut rows, &uri, |row| place(row.id));
    let events = rows.into_iter().map(Shown::from).collect();
    // Personal data, that anyone may add to at any moment.
    Ok(Representation::of(&Events { events })?
        .link(link)
        .answer(&request))
}

/// The highest bit of an id's second half, which is set in every id.
const VARIANT: u64 = 1 << 63;

/// An event's place in a list: its id in two halves, neither of them negative in our time.
fn place(id: Uuid) -> Cursor {
    let (rank, id) = id.as_u64_pair();
    Cursor {
        rank: rank.cast_signed(),
        id: (id ^ VARIANT).cast_signed(),
    }
}

fn event_at(place: Cursor) -> Uuid {
    Uuid::from_u64_pair(
        place.rank.cast_unsigned(),
        place.id.cast_unsigned() ^ VARIANT,
    )
}

/// An event as the table has it, and how many bytes of data it has with those of the page before it.
struct Row {
    id: Uuid,
    user_id: Option<i64>,
    event_type: String,
    event_data: Value,
    ip_address: Option<String>,
    user_agent: Option<String>,
    referrer: Option<String>,
    occurred_at: OffsetDateTime,
    bytes: i64,
}

impl From<Row> for Shown {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            event_type: row.event_type,
            event_data: row.event_data,
            metadata: Metadata {
                ip_address: row.ip_address.and_then(|address| address.parse().ok()),
                user_agent: row.user_agent,
                referrer: row.referrer,
            },
            timestamp: row.occurred_at,
        }
    }
}

/// The events of a page, by the index on the user, on the type, or on the time alone; up to the one that there is no room
/// for any more.
async fn select(
    connection: &mut PgConnection,
    wanted: &Wanted,
    range: Range,
    page: &Page,
) -> Result<Vec<Row>, sqlx::Error> {
    let Range {
        ids: [mut first, mut end],
        from,
        to,
    } = range;
    match page.start {
        Start::First => {}
        Start::After(place) => end = end.min(event_at(place)),
        // Behind it: the next id that there could be.
        Start::Before(place) => {
            first = first.max(Uuid::from_u128(event_at(place).as_u128().saturating_add(1)));
        }
    }
    macro_rules! ordered {
        ($order:literal, $which:literal $(, $argument:expr)*) => {
            sqlx::query_as!(
                Row,
                "SELECT id AS \"id!\", user_id, event_type AS \"event_type!\",
                     event_data AS \"event_data!\", ip_address, user_agent, referrer,
                     occurred_at AS \"occurred_at!\", before + length AS \"bytes!\"
                 FROM (SELECT *, row_number() OVER page AS place, sum(length) OVER page - length AS before
                       FROM (SELECT *, octet_length(event_data::text) AS length FROM events
                             WHERE id >= $1 AND id < $2 AND occurred_at >= $3 AND occurred_at < $4 " + $which +
                           " ORDER BY id " + $order + " LIMIT $5) AS found
                       WINDOW page AS (ORDER BY id " + $order + ")) AS counted
                 WHERE before <= $6 OR place <= 2 ORDER BY id " + $order,
                first, end, from, to, page.fetch(), BYTES $(, $argument)*
            )
            .fetch_all(connection)
            .await
        };
    }
    macro_rules! page {
        ($which:literal $(, $argument:expr)*) => {
            if page.is_backwards() {
                ordered!("", $which $(, $argument)*)
            } else {
                ordered!("DESC", $which $(, $argument)*)
            }
        };
    }
    match (wanted.user_id, wanted.event_type.as_deref()) {
        (Some(user), None) => page!("AND user_id = $7", user),
        (Some(user), Some(event_type)) => {
            page!("AND user_id = $7 AND event_type = $8", user, event_type)
        }
        (None, Some(event_type)) => page!("AND event_type = $7", event_type),
        (None, None) => page!(""),
    }
}

/// How often a course was looked at in a window of up to 31 days: events of the type `course_view` whose data has its
/// `course_id`.
#[utoipa::path(get, path = "/courses/{id}/views", tag = "activity", params(("id" = i64, Path), Window), responses(
    (status = 200, body = Views), (status = 304), (status = 422, body = Problem)))]
pub(crate) async fn views(
    Path(course_id): Path<i64>,
    Query(window): Query<Window>,
    State(clock): State<Clock>,
    reading: Reading,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::of(window.from, window.to, clock.now())?;
    let mut reader = reading.begin().await?;
    let counted = sqlx::query!(
        r#"SELECT count(*) AS "views!", count(DISTINCT user_id) AS "viewers!" FROM events
           WHERE event_type = 'course_view' AND left(event_data ->> 'course_id', 21) = $1
               AND id >= $2 AND id < $3 AND occurred_at >= $4 AND occurred_at < $5"#,
        course_id.to_string(),
        range.ids[0],
        range.ids[1],
        range.from,
        range.to
    )
    .fetch_one(&mut *reader)
    .await?;
    let views = Views {
        course_id,
        views: counted.views,
        viewers: counted.viewers,
    };
    Ok(Representation::of(&views)?.policy(COUNTS).answer(&request))
}

/// Lists the published courses that were looked at most in the last hour.
#[utoipa::path(get, path = "/trending", tag = "activity", params(Top), responses(
    (status = 200, body = Vec<Trending>), (status = 304), (status = 422, body = Problem)))]
pub(crate) async fn trending(
    Query(top): Query<Top>,
    State(clock): State<Clock>,
    reading: Reading,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !(1..=100).contains(&top.limit) {
        return Err(Problem::invalid("limit must be 1 to 100").field("limit"));
    }
    let now = clock.now();
    let range = Range::between(now - TREND, now);
    let mut reader = reading.begin().await?;
    let courses = sqlx::query_as!(
        Trending,
        r#"SELECT courses.id AS course_id, title, views AS "views!"
           FROM (SELECT left(event_data ->> 'course_id', 21) AS course, count(*) AS views FROM events
                 WHERE event_type = 'course_view' AND event_data ->> 'course_id' IS NOT NULL
                     AND id >= $1 AND id < $2 AND occurred_at >= $3 AND occurred_at < $4
                 GROUP BY 1) AS counted
               JOIN courses ON courses.id::text = course
           WHERE is_published ORDER BY views DESC, courses.id LIMIT $5"#,
        range.ids[0],
        range.ids[1],
        range.from,
        range.to,
        top.limit
    )
    .fetch_all(&mut *reader)
    .await?;
    Ok(Representation::of(&courses)?
        .policy(COUNTS)
        .answer(&request))
}
