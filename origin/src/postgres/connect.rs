//! Reaching a database, and bringing its tables up to date.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use crate::postgres::refusal;

/// How long a database that refuses connections may be waited for: both may be starting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a migration waits for a lock. Who comes after it waits as long.
const LOCK: Duration = Duration::from_secs(1);
/// How long locks that others hold keep an attempt to migrate waiting.
const LOCKED: Duration = Duration::from_secs(60);

/// Why a database cannot be used. No text has a password in it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The database's address, or that of its replica, cannot be read.
    #[error("the database url is not one of postgresql")]
    Url,
    /// There is no connecting to the database.
    #[error("cannot connect to database {database:?} at {host}: {reason}")]
    Database {
        /// Host and port.
        host: String,
        /// The database's name.
        database: String,
        /// What the attempt ended with.
        reason: String,
        /// Whether it may be reached later, as it is.
        is_passing: bool,
    },
    /// The database's tables cannot be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migration(#[from] MigrateError),
}

impl ConnectError {
    /// Whether the same may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Url => false,
            Self::Database { is_passing, .. } => *is_passing,
            Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => refusal::is_passing(error),
            Self::Migration(_) => false,
        }
    }
}

/// Options for a connection to `url`, whose statements run for at most `statement`.
///
/// # Errors
/// When `url` is not one of PostgreSQL.
pub(crate) fn connection(url: &str, statement: Duration) -> Result<PgConnectOptions, ConnectError> {
    // The parser takes any scheme.
    let is_postgres = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if !is_postgres {
        return Err(ConnectError::Url);
    }
    let options = PgConnectOptions::from_str(url).map_err(|_| ConnectError::Url)?;
    Ok(options
        .application_name("tidegate-origin")
        .options([("statement_timeout", statement.as_millis().to_string())])
        .disable_statement_logging())
}

/// Brings the tables up to date, on a connection of its own: what takes long may, and a lock that others hold is waited
/// for in short turns, between which they get on.
pub(crate) async fn migrate(url: &str) -> Result<(), ConnectError> {
    let options =
        connection(url, Duration::ZERO)?.options([("lock_timeout", LOCK.as_millis().to_string())]);
    let end = Instant::now() + LOCKED;
    loop {
        let single = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options.clone());
        let migrated = sqlx::migrate!("./migrations").run(&single).await;
        // It may still hold the lock by which one of us at a time migrates; closing it gives that back.
        single.close().await;
        match migrated {
            Err(error) if is_locked(&error) && Instant::now() < end => {
                tracing::warn!(%error, "the tables are in use: migrating again");
                sleep(LOCK / 2).await;
            }
            migrated => return Ok(migrated?),
        }
    }
}

/// Whether a lock was not to be had in time (`lock_not_available`).
fn is_locked(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            refusal::is_contended(error)
        }
        _ => false,
    }
}

/// Tries to connect until it works, the answer is final, or patience ends; once at least.
pub(crate) async fn reach(
    options: &PgConnectOptions,
    patience: Duration,
) -> Result<(), ConnectError> {
    let end = Instant::now() + patience;
    loop {
        let (reason, is_passing) = match timeout(ATTEMPT, PgConnection::connect_with(options)).await
        {
            Ok(Ok(connection)) => {
                // The pool makes its own; that this one closes badly matters to nobody.
                let _ = connection.close().await;
                return Ok(());
            }
            // A server that is starting up answers too.
            Ok(Err(error)) => (error.to_string(), !refusal::is_turned_away(&error)),
            Err(_) => (format!("no answer within {} s", ATTEMPT.as_secs()), true),
        };
        if !is_passing || Instant::now() >= end {
            return Err(ConnectError::Database {
                host: format!("{}:{}", options.get_host(), options.get_port()),
                database: options
                    .get_database()
                    .unwrap_or("(the user's own)")
                    .to_owned(),
                reason,
                is_passing,
            });
        }
        sleep(Duration::from_millis(100)).await;
    }
}
