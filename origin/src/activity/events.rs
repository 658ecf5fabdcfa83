//! Events: what users do, accepted into a stream and inserted in batches by a worker. Accepting needs Redis alone, so that
//! it goes on while the database is away.
//!
//! At least once in, exactly once in the table. An event is known by its id, a UUID of version 7: the time in it says which
//! partition the event belongs to, so whatever is sent again under the id, however late, meets the row that is there, and
//! the first one stays. That covers a client that repeats a request whose answer it did not get, and a worker that crashes
//! between inserting and saying so. It does not cover a client that leaves the id to us and repeats, since each time is
//! given an id of its own; and an id whose day has been dropped is refused, since nobody can tell any more.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router, extract::State, http::StatusCode, middleware, response::Response, routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use uuid::{NoContext, Timestamp, Uuid, Variant};

use crate::{
    activity::stream::Appended,
    clock::Clock,
    http::{
        access::Asker,
        answer::written,
        error::Problem,
        input::{OneOrMany, no_zero, no_zero_within, text},
    },
    postgres::replicas::{Servers, touches_no_database},
    redis::on_redis::OnRedis,
};

/// The most events of one request.
const MOST: usize = 1_000;
/// The longest event as it is queued, in bytes: a batch of such is read, and inserted, in time.
const LARGEST: usize = 64 << 10;
/// How far a client's clock may be ahead of ours.
pub(crate) const AHEAD: Duration = Duration::minutes(5);
/// How old an event may be when it comes, however long events are kept: each day is a table, and clients are not to have
/// thousands of them made.
const OLDEST: Duration = Duration::days(31);
/// How far an event's timestamp may be from the time in its id; reading by time allows for it.
pub(crate) const APART: Duration = Duration::hours(1);

/// An event that happened.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewEvent {
    /// A UUID of version 7, made when the event happened. The same id is the same event, whatever else is said of it. One
    /// that is left out is made here, and the event counts again when it is sent again.
    id: Option<Uuid>,
    /// Whoever asks, when it is left out: of somebody who shows no token, nobody who is known. An admin may name others.
    user_id: Option<i64>,
    /// Such as `course_view`, whose `event_data` has a `course_id`.
    #[schema(min_length = 1, max_length = 100)]
    event_type: String,
    /// Any JSON; `{}` when it is left out.
    #[serde(default = "nothing")]
    event_data: Value,
    #[serde(default)]
    metadata: Metadata,
    /// When it happened, within an hour of the time in the id, which stands for it when it is left out.
    #[serde(default, with = "time::serde::rfc3339::option")]
    timestamp: Option<OffsetDateTime>,
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

/// Where an event came from.
#[derive(Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct Metadata {
    #[schema(value_type = Option<String>, format = "ip")]
    pub(crate) ip_address: Option<IpAddr>,
    /// At most 1,000 characters.
    #[schema(max_length = 1_000)]
    pub(crate) user_agent: Option<String>,
    /// At most 2,000 characters.
    #[schema(max_length = 2_000)]
    pub(crate) referrer: Option<String>,
}

/// An event as the stream carries it, its data either looked through or left as it is written.
#[derive(Deserialize, Serialize)]
pub(crate) struct Event<Data> {
    pub(crate) id: Uuid,
    user_id: Option<i64>,
    event_type: String,
    event_data: Data,
    #[serde(default)]
    metadata: Metadata,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) timestamp: OffsetDateTime,
}

/// An event that came out of the stream.
pub(crate) type Queued = Event<Box<RawValue>>;

/// Events that were accepted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    accepted: usize,
    /// The ids, in the order of the request.
    ids: Vec<Uuid>,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/events", post(accept))
        .route_layer(middleware::map_response(touches_no_database))
}

/// Accepts an event, or an array of up to 1,000.
///
/// 202 says that all of them are in the stream and will be in the table, each once. 503 says that none is known to be:
/// too many wait, or Redis is away. The same request may be sent again, and does no harm when its events have ids.
#[utoipa::path(post, path = "/events", tag = "activity", request_body = OneOrManyEvents, responses(
    (status = 202, body = Accepted), (status = 422, body = Problem),
    (status = 503, description = "too many events wait, or Redis is away or not configured", body = Problem)))]
pub(crate) async fn accept(
    asker: Option<Asker>,
    State(on_redis): State<Arc<OnRedis>>,
    State(clock): State<Clock>,
    OneOrMany(events): OneOrMany<NewEvent>,
) -> Result<Response, Problem> {
    let stream = on_redis.stream()?;
    if events.is_empty() || events.len() > MOST {
        return Err(Problem::invalid(format!(
            "there must be 1 to {MOST} events"
        )));
    }
    let now = clock.now();
    let age = on_redis.retention().min(OLDEST);
    let mut ids = Vec::with_capacity(events.len());
    let mut entries = Vec::with_capacity(events.len());
    for (place, event) in events.into_iter().enumerate() {
        let event = check(event, asker, now, age)
            .map_err(|problem| problem.within(&format!("[{place}]")))?;
        let entry =
            serde_json::to_vec(&event).map_err(|error| Problem::invalid(error.to_string()))?;
        if entry.len() > LARGEST {
            let detail = format!("an event must be at most {LARGEST} bytes long");
            return Err(Problem::invalid(detail).field(format!("[{place}].event_data")));
        }
        ids.push(event.id);
        entries.push(entry);
    }
    match stream.append(&entries).await? {
        Appended::Taken => {
            on_redis.metrics().events_accepted.inc_by(ids.len() as u64);
            let accepted = ids.len();
            written(StatusCode::ACCEPTED, &Accepted { accepted, ids })
        }
        Appended::Full => {
            on_redis.metrics().events_refused.inc_by(ids.len() as u64);
            Err(Problem::later(
                "urn:tidegate:stream-full",
                "Too many events wait",
                "try again when some have been inserted",
            ))
        }
    }
}

/// One event, or several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described")]
pub(crate) enum OneOrManyEvents {
    One(NewEvent),
    Many(Vec<NewEvent>),
}

/// Decides what is kept of an event, or why nothing is.
fn check(
    new: NewEvent,
    asker: Option<Asker>,
    now: OffsetDateTime,
    age: Duration,
) -> Result<Event<Value>, Problem> {
    let user_id = whose(new.user_id, asker).map_err(|problem| problem.field("user_id"))?;
    text("event_type", &new.event_type, 100)?;
    no_zero_within("event_data", &new.event_data)?;
    for (field, value, longest) in [
        ("metadata.user_agent", &new.metadata.user_agent, 1_000),
        ("metadata.referrer", &new.metadata.referrer, 2_000),
    ] {
        let Some(value) = value else { continue };
        no_zero(field, value)?;
        if value.chars().count() > longest {
            let detail = format!("{field} may have {longest} characters");
            return Err(Problem::invalid(detail).field(field));
        }
    }
    let (id, timestamp) = identify(new.id, new.timestamp, now, age)?;
    Ok(Event {
        id,
        user_id,
        event_type: new.event_type,
        event_data: new.event_data,
        metadata: new.metadata,
        timestamp,
    })
}

/// Whose event it is, which nobody but an admin says of others.
pub(crate) fn whose(given: Option<i64>, asker: Option<Asker>) -> Result<Option<i64>, Problem> {
    match (given, asker) {
        (Some(_), None) => Err(Problem::anonymous()),
        (Some(user), Some(asker)) => asker.must_be(user).map(|()| given),
        (None, asker) => Ok(asker.map(|asker| asker.id)),
    }
}

/// An event's id and its time, of which each stands for the other where it is left out.
fn identify(
    id: Option<Uuid>,
    timestamp: Option<OffsetDateTime>,
    now: OffsetDateTime,
    age: Duration,
) -> Result<(Uuid, OffsetDateTime), Problem> {
    let refused = |field, detail: String| Err(Problem::invalid(detail).field(field));
    let (field, time) = match id {
        Some(id) => match time_of(id) {
            Some(time) => ("id", time),
            None => {
                return refused(
                    "id",
                    "id must be a UUID of version 7, which begins with the time".to_owned(),
                );
            }
        },
        None => ("timestamp", timestamp.unwrap_or(now)),
    };
    let oldest = (now - age).max(OffsetDateTime::UNIX_EPOCH);
    if time < oldest || time > now + AHEAD {
        let detail = format!(
            "{field} is of {time}, which is not within the last {} days",
            age.whole_days()
        );
        return refused(field, detail);
    }
    match (id, timestamp) {
        (Some(_), Some(given)) if (given - time).abs() > APART => refused(
            "timestamp",
            "timestamp must be within an hour of the time in the id".to_owned(),
        ),
        (Some(id), given) => Ok((id, given.unwrap_or(time))),
        (None, _) => {
            // It was compared with 1970 above.
            let seconds = u64::try_from(time.unix_timestamp()).unwrap_or_default();
            let made = Timestamp::from_unix(NoContext, seconds, time.nanosecond());
            Ok((Uuid::new_v7(made), time))
        }
    }
}

/// The time in an id of version 7, in milliseconds.
pub(crate) fn time_of(id: Uuid) -> Option<OffsetDateTime> {
    if id.get_version_num() != 7 || id.get_variant() != Variant::RFC4122 {
        return None;
    }
    let milliseconds = (id.as_u128() >> 80) as i128;
    OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000).ok()
}

/// The lowest of all ids of a moment and later.
pub(crate) fn floor_of(moment: OffsetDateTime) -> Uuid {
    let milliseconds = moment.unix_timestamp_nanos().max(0) as u128 / 1_000_000;
    Uuid::from_u128(milliseconds << 80)
}

/// Inserts events that are not there yet, in one statement, and returns how many were not. They come in the order of
/// their ids; of those with the same one the first is inserted.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    events: impl Iterator<Item = &Queued>,
) -> Result<u64, sqlx::Error> {
    let mut columns = Columns::default();
    for event in events {
        if columns.id.last() != Some(&event.id) {
            columns.push(event);
        }
    }
    let inserted = sqlx::query!(
        "INSERT INTO events (id, user_id, event_type, event_data, ip_address, user_agent, referrer, occurred_at)
         SELECT id, user_id, event_type, event_data::jsonb, ip_address, user_agent, referrer, occurred_at
         FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
             $8::timestamptz[])
             AS new (id, user_id, event_type, event_data, ip_address, user_agent, referrer, occurred_at)
         ORDER BY id
         ON CONFLICT (id) DO NOTHING",
        &columns.id,
        &columns.user_id as _,
        &columns.event_type as _,
        &columns.event_data as _,
        &columns.ip_address as _,
        &columns.user_agent as _,
        &columns.referrer as _,
        &columns.occurred_at,
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected())
}

/// Events, a list for each column.
#[derive(Default)]
struct Columns<'a> {
    id: Vec<Uuid>,
    user_id: Vec<Option<i64>>,
    event_type: Vec<&'a str>,
    event_data: Vec<&'a str>,
    ip_address: Vec<Option<String>>,
    user_agent: Vec<Option<&'a str>>,
    referrer: Vec<Option<&'a str>>,
    occurred_at: Vec<OffsetDateTime>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, event: &'a Queued) {
        self.id.push(event.id);
        self.user_id.push(event.user_id);
        self.event_type.push(&event.event_type);
        self.event_data.push(event.event_data.get());
        let metadata = &event.metadata;
        self.ip_address
            .push(metadata.ip_address.map(|address| address.to_string()));
        self.user_agent.push(metadata.user_agent.as_deref());
        self.referrer.push(metadata.referrer.as_deref());
        self.occurred_at.push(event.timestamp);
    }
}
