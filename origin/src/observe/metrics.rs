//! What the origin counts: how far the outbox is behind, and which server reads were answered by. Names are
//! `tidegate_*`; no label holds anything of a request.

use std::{sync::atomic::AtomicU64, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    observe::monitoring::Recent,
    postgres::{
        held::{Background, in_time},
        replicas::Servers,
    },
};

/// The upper ends, in seconds, of the classes that delivery times are counted in.
const SECONDS: [f64; 14] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
];
/// The same for statements; 0.1 s is where one is slow.
const QUERY_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// The same for answers; 0.2 s is where one is slow.
const RESPONSE_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
];

/// Why a delivery failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Failure {
    /// The database did not give or take.
    Database,
    /// The purge log refused, or could not be reached.
    Log,
    /// The purge log did not answer in time.
    Deadline,
}

/// Why a read was answered by the primary although there is a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Fallback {
    /// The request does not say how far a replica must be.
    NoPosition,
    /// What it says is no position; `primary` is such a word.
    Unreadable,
    /// The replica has not replayed that far.
    Behind,
    /// The position is one of another timeline.
    OtherTimeline,
    /// The server is no standby (it may have been promoted), or one of another database.
    NotAReplica,
    /// The replica did not answer in time, or has just failed to.
    Unavailable,
    /// The replica failed in the midst of the read.
    Failed,
}

/// Why a request got no connection to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Refused {
    /// It had not been reached since the start.
    NotReady,
    /// All were in use.
    Exhausted,
    /// It had failed again and again.
    CircuitOpen,
    /// It gave none in time.
    Unreachable,
}

/// What a connection was held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Use {
    /// A read on the primary.
    Read,
    /// A read on the replica.
    ReplicaRead,
    /// A transaction.
    Write,
}

/// What a connection of the pool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Connection {
    Idle,
    Used,
}

/// A class of statuses (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Class {
    Done,
    Redirected,
    Refused,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    outcome: Class,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    reason: Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UseLabel {
    purpose: Use,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    state: Connection,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    reason: Failure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FallbackLabel {
    reason: Fallback,
}

/// All metrics of an origin.
pub(crate) struct Metrics {
    registry: Registry,
    waiting: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    delivery: Histogram,
    tags: Counter,
    failures: Family<FailureLabel, Counter>,
    /// What stood in the outbox and is no tag.
    pub(crate) unusable_tags: Counter,
    /// Rows of the outbox that the database could not give.
    pub(crate) unusable_rows: Counter,
    /// Reads that the replica answered.
    pub(crate) replica_reads: Counter,
    fallbacks: Family<FallbackLabel, Counter>,
    replica_lag: Gauge<f64, AtomicU64>,
    connections: Family<ConnectionLabel, Gauge>,
    waiting_requests: Gauge,
    circuit: Gauge,
    refused: Family<RefusedLabel, Counter>,
    held: Family<UseLabel, Histogram>,
    answered: Family<ClassLabel, Counter>,
    response: Histogram,
    /// How long the last answers took.
    pub(crate) responses: Recent,
    /// How long the last statements took.
    pub(crate) queries: Recent,
    /// Searches that were answered and not noted.
    pub(crate) search_notes_lost: Counter,
    /// Courses whose vectors were written.
    pub(crate) courses_indexed: Counter,
    /// Times that a provider made no vectors of courses.
    pub(crate) courses_failed: Counter,
    /// Courses that wait for their vectors, those that were given up among them.
    pub(crate) courses_waiting: Gauge,
    /// Events that were answered with 202.
    pub(crate) events_accepted: Counter,
    /// Events that were refused because too many waited.
    pub(crate) events_refused: Counter,
    /// Events that are in the table.
    pub(crate) events_inserted: Counter,
    /// Events that were in the table already.
    pub(crate) events_repeated: Counter,
    /// Events that became dead letters.
    pub(crate) events_dead: Counter,
    events_waiting: Gauge,
    events_pending: Gauge,
    events_oldest: Gauge<f64, AtomicU64>,
    dead_letters: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tidegate"),
            waiting: Gauge::default(),
            oldest: Gauge::default(),
            delivery: Histogram::new(SECONDS),
            tags: Counter::default(),
            failures: Family::default(),
            unusable_tags: Counter::default(),
            unusable_rows: Counter::default(),
            replica_reads: Counter::default(),
            fallbacks: Family::default(),
            replica_lag: Gauge::default(),
            connections: Family::default(),
            waiting_requests: Gauge::default(),
            circuit: Gauge::default(),
            refused: Family::default(),
            held: Family::new_with_constructor(|| Histogram::new(QUERY_SECONDS)),
            answered: Family::default(),
            response: Histogram::new(RESPONSE_SECONDS),
            responses: Recent::default(),
            queries: Recent::default(),
            search_notes_lost: Counter::default(),
            courses_indexed: Counter::default(),
            courses_failed: Counter::default(),
            courses_waiting: Gauge::default(),
            events_accepted: Counter::default(),
            events_refused: Counter::default(),
            events_inserted: Counter::default(),
            events_repeated: Counter::default(),
            events_dead: Counter::default(),
            events_waiting: Gauge::default(),
            events_pending: Gauge::default(),
            events_oldest: Gauge::default(),
            dead_letters: Gauge::default(),
        };
        metrics.register_events();
        let registry = &mut metrics.registry;
        registry.register(
            "outbox_rows",
            "Rows that wait in the outbox, counted up to 100000; -1 when the database does not say",
            metrics.waiting.clone(),
        );
        registry.register(
            "outbox_oldest_seconds",
            "For how long the oldest row has waited in the outbox",
            metrics.oldest.clone(),
        );
        registry.register(
            "outbox_delivery_seconds",
            "Time of a row from its writing to the purge log, the rest of its transaction included",
            metrics.delivery.clone(),
        );
        registry.register(
            "outbox_tags",
            "Tags delivered to the purge log",
            metrics.tags.clone(),
        );
        registry.register(
            "outbox_failures",
            "Deliveries that failed and were tried again, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "outbox_unusable_tags",
            "What stood in the outbox and is no tag",
            metrics.unusable_tags.clone(),
        );
        registry.register(
            "outbox_unusable_rows",
            "Rows of the outbox that the database could not give, and that were set aside",
            metrics.unusable_rows.clone(),
        );
        registry.register(
            "replica_reads",
            "Reads that the replica answered",
            metrics.replica_reads.clone(),
        );
        registry.register(
            "replica_fallbacks",
            "Reads that the primary answered although there is a replica, by reason",
            metrics.fallbacks.clone(),
        );
        registry.register(
            "replica_lag_bytes",
            "How much of the primary's log the replica has not replayed",
            metrics.replica_lag.clone(),
        );
        registry.register(
            "database_connections",
            "Connections of the requests' pool, by what they do",
            metrics.connections.clone(),
        );
        registry.register(
            "database_waiting_requests",
            "Requests that wait for a connection",
            metrics.waiting_requests.clone(),
        );
        registry.register(
            "database_circuit_open",
            "1 while requests are refused because the database has failed again and again",
            metrics.circuit.clone(),
        );
        registry.register(
            "database_refused",
            "Requests that got no connection to the primary, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "database_query_seconds",
            "Time of a read's statements, or of a write's transaction, on their connection",
            metrics.held.clone(),
        );
        registry.register(
            "origin_requests",
            "Requests answered, by the class of their status: Done 2xx, Redirected 3xx, Refused 4xx, Failed 5xx",
            metrics.answered.clone(),
        );
        registry.register(
            "origin_request_seconds",
            "Time from a request's arrival to its answer",
            metrics.response.clone(),
        );
        registry.register(
            "search_notes_lost",
            "Searches that were answered and could not be noted",
            metrics.search_notes_lost.clone(),
        );
        registry.register(
            "courses_indexed",
            "Courses whose vectors were written",
            metrics.courses_indexed.clone(),
        );
        registry.register(
            "courses_index_failures",
            "Times that no vectors of courses were to be had",
            metrics.courses_failed.clone(),
        );
        registry.register(
            "courses_index_waiting",
            "Courses that wait for their vectors, those given up among them, counted up to 100000",
            metrics.courses_waiting.clone(),
        );
        metrics
    }

    fn register_events(&mut self) {
        for (name, help, counter) in [
            (
                "events_accepted",
                "Events that were put into the stream",
                &self.events_accepted,
            ),
            (
                "events_refused",
                "Events that were refused because too many waited",
                &self.events_refused,
            ),
            (
                "events_inserted",
                "Events that were taken from the stream into the table",
                &self.events_inserted,
            ),
            (
                "events_repeated",
                "Events from the stream that were in the table already",
                &self.events_repeated,
            ),
            (
                "events_dead",
                "Events that could not be inserted and became dead letters",
                &self.events_dead,
            ),
        ] {
            self.registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            (
                "events_stream_length",
                "Events that wait in the stream; -1 when Redis does not say",
                &self.events_waiting,
            ),
            (
                "events_pending",
                "Events of those that a worker has taken; -1 when Redis does not say",
                &self.events_pending,
            ),
            (
                "events_dead_letters",
                "Dead letters that there are; -1 when Redis does not say",
                &self.dead_letters,
            ),
        ] {
            self.registry.register(name, help, gauge.clone());
        }
        self.registry.register(
            "events_oldest_seconds",
            "For how long the oldest event has waited in the stream",
            self.events_oldest.clone(),
        );
    }

    /// Counts a request that was answered, and for how long that took.
    pub(crate) fn answered(&self, status: StatusCode, time: Duration) {
        let outcome = match status.as_u16() {
            500.. => Class::Failed,
            400.. => Class::Refused,
            300.. => Class::Redirected,
            _ => Class::Done,
        };
        self.answered.get_or_create(&ClassLabel { outcome }).inc();
        self.response.observe(time.as_secs_f64());
        self.responses.note(time);
    }

    /// How many requests were answered, and how many of them with 5xx.
    pub(crate) fn requests(&self) -> (u64, u64) {
        let count = |outcome| self.answered.get_or_create(&ClassLabel { outcome }).get();
        let failed = count(Class::Failed);
        let others = [Class::Done, Class::Redirected, Class::Refused].map(count);
        (others.iter().sum::<u64>() + failed, failed)
    }

    pub(crate) fn waiting_requests(&self) -> i64 {
        self.waiting_requests.get()
    }

    /// Counts a request that waits for a connection, until the answer is dropped.
    pub(crate) fn waits(&self) -> Waiting {
        self.waiting_requests.inc();
        Waiting(self.waiting_requests.clone())
    }

    pub(crate) fn refused(&self, reason: Refused) {
        self.refused.get_or_create(&RefusedLabel { reason }).inc();
    }

    pub(crate) fn held(&self, purpose: Use, time: Duration) {
        let label = UseLabel { purpose };
        self.held.get_or_create(&label).observe(time.as_secs_f64());
        self.queries.note(time);
    }

    /// Counts rows that were delivered: how many tags, and how long each row took.
    pub(crate) fn delivered(&self, tags: usize, lags: impl Iterator<Item = Duration>) {
        self.tags.inc_by(tags as u64);
        lags.for_each(|lag| self.delivery.observe(lag.as_secs_f64()));
    }

    pub(crate) fn relay_failed(&self, reason: Failure) {
        self.failures.get_or_create(&FailureLabel { reason }).inc();
    }

    pub(crate) fn fell_back(&self, reason: Fallback) {
        self.fallbacks
            .get_or_create(&FallbackLabel { reason })
            .inc();
    }
}

/// A request that waits for a connection.
pub(crate) struct Waiting(Gauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/metrics", get(show))
}

/// Shows the metrics in the OpenMetrics format. What the servers do not say in time is NaN.
async fn show(State(servers): State<Servers>) -> Response {
    let metrics = servers.metrics();
    let (asked, stream) = tokio::join!(ask(&servers), stream(&servers));
    let (waiting, oldest) = asked.outbox.unwrap_or((-1, f64::NAN));
    metrics.waiting.set(waiting);
    metrics.oldest.set(oldest);
    metrics.replica_lag.set(asked.lag.unwrap_or(f64::NAN));
    let primary = servers.primary();
    let (all, idle) = (primary.pool().size(), primary.pool().num_idle());
    let idle = i64::try_from(idle).unwrap_or(i64::MAX);
    for (state, count) in [
        (Connection::Idle, idle),
        (Connection::Used, (i64::from(all) - idle).max(0)),
    ] {
        let label = ConnectionLabel { state };
        metrics.connections.get_or_create(&label).set(count);
    }
    let is_open = primary.circuit() != "closed";
    metrics.circuit.set(i64::from(is_open));
    let unknown = (-1, -1, f64::NAN, -1);
    let (length, pending, oldest, dead) = stream.unwrap_or(unknown);
    metrics.events_waiting.set(length);
    metrics.events_pending.set(pending);
    metrics.events_oldest.set(oldest);
    metrics.dead_letters.set(dead);
    let mut text = String::new();
    encode(&mut text, &metrics.registry).expect("a String takes everything");
    let content_type =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let no_store = HeaderValue::from_static("no-store");
    let fields = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, no_store),
    ];
    (fields, text).into_response()
}

/// What only the servers know.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked {
    /// How many rows wait in the outbox, and for how many seconds the oldest has.
    pub(crate) outbox: Option<(i64, f64)>,
    /// How many bytes the replica is behind.
    pub(crate) lag: Option<f64>,
}

/// Asks them, once for all who ask at a time, and on connections that no request waits for. What one does not say in time
/// is left out; one that has failed again and again is not asked.
pub(crate) async fn ask(servers: &Servers) -> Asked {
    let question = async {
        let primary = servers.primary();
        if !primary.is_ready() || primary.circuit() != "closed" {
            return Asked::default();
        }
        let (outbox, lag) = tokio::join!(outbox(servers.background()), servers.replica_lag());
        Asked {
            outbox: outbox.ok(),
            lag,
        }
    };
    servers.watched().asked.ask(question).await
}

/// How many rows wait, and for how many seconds the oldest has.
async fn outbox(pool: &Background) -> Result<(i64, f64), sqlx::Error> {
    let ask = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS counted) AS "waiting!",
                  coalesce((SELECT CASE WHEN pg_catalog.isfinite(created_at)
                                   THEN extract(epoch FROM pg_catalog.clock_timestamp() - created_at)::float8 END
                            FROM outbox ORDER BY id LIMIT 1), 0) AS "oldest!""#
    );
    let mut held = pool.acquire().await?;
    let row = in_time(held.until(), ask.fetch_one(&mut *held)).await?;
    Ok((row.waiting, row.oldest))
}

/// How many events wait, how many of them a worker has, for how many seconds the oldest has waited, and dead letters.
async fn stream(servers: &Servers) -> Option<(i64, i64, f64, i64)> {
    let state = servers.on_redis().stream().ok()?.state().await.ok()?;
    Some((
        state.length as i64,
        state.pending as i64,
        state.lag.as_secs_f64(),
        state.dead as i64,
    ))
}
