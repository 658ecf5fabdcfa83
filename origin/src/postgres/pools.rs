//! The pools of connections, and what PostgreSQL is told about each: for how long a statement, a lock and silence last.

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    config::{Activity, Config},
    postgres::{connect::ConnectError, held::Background},
};

/// How long a request waits for a connection, a slot included; and what works behind requests for one.
pub(crate) const ACQUIRE: Duration = Duration::from_secs(2);
/// How long a statement may run.
const STATEMENT: Duration = Duration::from_secs(5);
/// How long a request's statement may wait for a lock that somebody else holds, so that a row that is locked for long
/// does not take the connections of all who need it.
const LOCK: Duration = Duration::from_secs(3);
/// How long a transaction may wait for its next statement. Where the origin's machine is gone without a word, PostgreSQL
/// gives the locks back after this time. A relay's transaction waits for the purge log, which is given up before.
const SILENCE: Duration = Duration::from_secs(15);
/// From which similarity on a title is found by a misspelt word. Of no meaning to a server without trigrams.
const ALIKE: (&str, &str) = ("pg_trgm.word_similarity_threshold", "0.4");
/// Of no meaning to a server without vectors. A search looks at as many neighbours as it may answer with, and goes on
/// where filters have taken some of them away.
const NEIGHBOURS: [(&str, &str); 2] = [
    ("hnsw.ef_search", "100"),
    ("hnsw.iterative_scan", "strict_order"),
];
/// How long a statement may run on the replica, before the primary is asked instead.
const REPLICA_STATEMENT: Duration = Duration::from_secs(2);
/// Connections of a relay: one delivers, one listens, one tells how many rows wait, one says whether the database is well.
const RELAY_CONNECTIONS: u32 = 4;
/// Connections of what works on Redis, beside one for each worker: one keeps the days of events in order, one folds
/// reactions, one writes drafts.
const BEHIND_CONNECTIONS: u32 = 3;
/// Connections of what indexes courses.
const INDEX_CONNECTIONS: u32 = 1;

/// How to connect to a primary.
///
/// # Errors
/// When `url` is not one of PostgreSQL.
pub(crate) fn primary(url: &str) -> Result<PgConnectOptions, ConnectError> {
    let silence = SILENCE.as_millis().to_string();
    let options = super::connect::connection(url, STATEMENT)?;
    Ok(options.options([("idle_in_transaction_session_timeout", silence)]))
}

/// Connections for requests.
pub(crate) fn of_requests(options: PgConnectOptions, config: &Config) -> PgPool {
    let lock = LOCK.as_millis().to_string();
    PgPoolOptions::new()
        .min_connections(config.pool_min)
        .max_connections(config.pool_max)
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(
            options
                .options([("lock_timeout", lock.as_str()), ALIKE])
                .options(NEIGHBOURS),
        )
}

/// Connections for what works behind requests.
pub(crate) fn behind_requests(options: PgConnectOptions, activity: &Activity) -> Background {
    let mut connections = RELAY_CONNECTIONS + INDEX_CONNECTIONS;
    if activity.redis_url.is_some() && activity.events_workers > 0 {
        let workers = u32::try_from(activity.events_workers).unwrap_or(u32::MAX);
        connections = workers.saturating_add(connections + BEHIND_CONNECTIONS);
    }
    background(options, connections)
}

/// Connections of a relay by itself.
pub(crate) fn of_a_relay(options: PgConnectOptions) -> Background {
    background(options, RELAY_CONNECTIONS)
}

fn background(options: PgConnectOptions, connections: u32) -> Background {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(options);
    Background::new(pool)
}

/// Connections to a standby for reads.
///
/// # Errors
/// When `url` is not one of PostgreSQL.
pub(crate) fn of_a_replica(url: &str, config: &Config) -> Result<PgPool, ConnectError> {
    let options = super::connect::connection(url, REPLICA_STATEMENT)?;
    // No question whether a connection lives: where it is, is asked before each use.
    Ok(PgPoolOptions::new()
        .max_connections(config.pool_max)
        .acquire_timeout(config.replica_deadline)
        .test_before_acquire(false)
        .connect_lazy_with(options.options([ALIKE]).options(NEIGHBOURS)))
}
