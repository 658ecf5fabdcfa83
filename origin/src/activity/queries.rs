//! Activity: what the events say. By user, by type, by window of time; how often a course was looked at; what is looked at
//! most. All of it is read from the table, so it lags behind what was accepted by as much as events wait in the stream.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    activity::events::{APART, Metadata, floor_of},
    http::{
        access::Asker,
        answer::{Policy, Representation, encoded},
        error::Problem,
        input::{Path, Query, text},
    },
    postgres::replicas::{Reader, Reading, Servers},
};

/// Counts move all the time, and nobody minds a minute.
const COUNTS: Policy = Policy::Brief { seconds: 60 };
/// The sliding window of what is trending.
const TREND: Duration = Duration::hours(1);

/// Which events to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those of a user.
    user_id: Option<i64>,
    /// Only those of a type.
    #[param(min_length = 1, max_length = 100)]
    event_type: Option<String>,
    /// Only those of this moment or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Only those before this moment.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// Only those before the event with this id: where the page before ended.
    before: Option<Uuid>,
    /// How many, 1 to 1,000.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 1_000)]
    limit: i64,
}

fn hundred() -> i64 {
    100
}

/// A window of time, open where nothing is said.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Window {
    /// Only views of this moment or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Only views before this moment.
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
pub(crate) struct Page {
    events: Vec<Shown>,
    /// The `before` of the next page, when there may be one.
    next: Option<Uuid>,
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
    fn new(from: Option<OffsetDateTime>, to: Option<OffsetDateTime>) -> Self {
        // What a year of four digits can say, with room for an hour more.
        let from = from.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let to = to.unwrap_or(OffsetDateTime::UNIX_EPOCH + Duration::days(2_900_000));
        let apart = |moment: OffsetDateTime, by| moment.checked_add(by).unwrap_or(moment);
        Self {
            ids: [
                floor_of(apart(from, -APART)),
                floor_of(apart(to, APART + Duration::MILLISECOND)),
            ],
            from,
            to,
        }
    }
}

/// Lists events, newest first: an admin those of everybody, others their own.
#[utoipa::path(get, path = "/events", tag = "activity", params(Wanted), responses(
    (status = 200, body = Page), (status = 304), (status = 422, body = Problem)))]
pub(crate) async fn list(
    asker: Asker,
    Query(mut wanted): Query<Wanted>,
    reading: Reading,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !asker.is_admin() {
        let user = *wanted.user_id.get_or_insert(asker.id);
        asker.must_be(user)?;
    }
    if !(1..=1_000).contains(&wanted.limit) {
        return Err(Problem::invalid("limit must be 1 to 1000").field("limit"));
    }
    if let Some(event_type) = &wanted.event_type {
        text("event_type", event_type, 100)?;
    }
    let mut reader = reading.begin().await?;
    let events = select(&mut reader, &wanted).await?;
    let next = (events.len() as i64 == wanted.limit)
        .then(|| events.last().map(|event| event.id))
        .flatten();
    let link = next.map(|next| next_page(&wanted, next));
    // Personal data, that anyone may add to at any moment.
    let mut answer = Representation::of(&Page { events, next })?.answer(&request);
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

/// The events of a page: by the index on the user, on the type, or on the time alone.
async fn select(connection: &mut PgConnection, wanted: &Wanted) -> Result<Vec<Shown>, sqlx::Error> {
    let Range { ids, from, to } = Range::new(wanted.from, wanted.to);
    let end = wanted.before.map_or(ids[1], |before| before.min(ids[1]));
    macro_rules! page {
        ($which:literal $(, $argument:expr)*) => {
            sqlx::query!(
                "SELECT id, user_id, event_type, event_data, ip_address, user_agent, referrer, occurred_at FROM events
                 WHERE id >= $1 AND id < $2 AND occurred_at >= $3 AND occurred_at < $4 " + $which +
                " ORDER BY id DESC LIMIT $5",
                ids[0], end, from, to, wanted.limit $(, $argument)*
            )
            .fetch_all(connection)
            .await?
            .into_iter()
            .map(|row| Shown {
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
            })
            .collect()
        };
    }
    Ok(match (wanted.user_id, &wanted.event_type) {
        (Some(user), None) => page!("AND user_id = $6", user),
        (Some(user), Some(event_type)) => {
            page!(
                "AND user_id = $6 AND event_type = $7",
                user,
                event_type.as_str()
            )
        }
        (None, Some(event_type)) => page!("AND event_type = $6", event_type.as_str()),
        (None, None) => page!(""),
    })
}

/// Where the next page is (RFC 8288).
fn next_page(wanted: &Wanted, before: Uuid) -> String {
    let Wanted {
        user_id,
        event_type,
        from,
        to,
        limit,
        before: _,
    } = wanted;
    let moment = |moment: &Option<OffsetDateTime>| {
        moment.and_then(|moment| {
            moment
                .format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
    };
    let parameters = [
        ("user_id", user_id.map(|user| user.to_string())),
        ("event_type", event_type.clone()),
        ("from", moment(from)),
        ("to", moment(to)),
        ("limit", Some(limit.to_string())),
        ("before", Some(before.to_string())),
    ];
    let given: Vec<_> = parameters
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={}", encoded(&value))))
        .collect();
    format!("</events?{}>; rel=\"next\"", given.join("&"))
}

/// How often a course was looked at: events of the type `course_view` whose data has its `course_id`.
#[utoipa::path(get, path = "/courses/{id}/views", tag = "activity", params(("id" = i64, Path), Window), responses(
    (status = 200, body = Views), (status = 304)))]
pub(crate) async fn views(
    Path(course_id): Path<i64>,
    Query(window): Query<Window>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::new(window.from, window.to);
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
    reading: Reading,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !(1..=100).contains(&top.limit) {
        return Err(Problem::invalid("limit must be 1 to 100").field("limit"));
    }
    let now = OffsetDateTime::now_utc();
    let range = Range::new(Some(now - TREND), Some(now));
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
