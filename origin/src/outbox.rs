//! The outbox: tags to purge, committed with the data they speak of, and the relay that takes them to the purge log.
//!
//! A write announces its tags in its own transaction, so that there is never a change without its purge, nor a purge
//! without its change. Courses and documents are announced by a trigger (`tidegate_purge` in the migrations), also when
//! somebody changes them by hand; the rest by their handlers with [`announce`].
//!
//! Relays, any number, take rows that no other holds, append them to the log and commit. Invalidations commute, so the
//! order among relays does not matter; one that is repeated, because a commit failed after the append, purges too much
//! and never too little.

use std::{
    collections::BTreeSet,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use sqlx::{PgConnection, PgPool, postgres::PgListener};
use tokio::time::{sleep, timeout};

/// The channel that an insert into the outbox notifies.
const CHANNEL: &str = "tidegate_outbox";
/// How often the relay looks even when nothing woke it.
const POLL: Duration = Duration::from_secs(1);
/// How many tags are appended at once.
const CHUNK: usize = 1_000;
/// How long one append may take.
const APPEND: Duration = Duration::from_secs(10);
/// The pauses after failures: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Where tags go: the purge log.
pub trait PurgeSink: Send + Sync {
    /// Records that whatever carries one of the tags is invalid. Returns when it is recorded, and not before.
    fn append(
        &self,
        tags: Vec<String>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>>;
}

/// Why tags could not be recorded. They stay in the outbox and are offered again.
#[derive(Debug, thiserror::Error)]
#[error("the purge log does not take tags: {0}")]
pub struct SinkError(pub String);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("the purge log did not answer within {} s", APPEND.as_secs())]
    SinkDeadline,
}

/// Announces tags in the transaction of the data they speak of.
///
/// # Errors
/// Those of the statement.
pub async fn announce(connection: &mut PgConnection, tags: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query!("INSERT INTO outbox (tags) VALUES ($1)", tags)
        .execute(connection)
        .await
        .map(drop)
}

/// Takes tags from the outbox to the sink until `shutdown` is ready. Failures are logged and tried again.
///
/// Ending in the midst of an append is harmless: the rows stay and are appended again by the next relay.
pub async fn relay(
    pool: PgPool,
    sink: Arc<dyn PurgeSink>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        () = deliver_forever(&pool, &*sink) => {}
    }
}

async fn deliver_forever(pool: &PgPool, sink: &dyn PurgeSink) {
    let mut listener = None;
    let mut pause = BACK_OFF.0;
    loop {
        // Listening comes before looking: what is written in between wakes us.
        if listener.is_none() {
            listener = listen(pool).await;
        }
        match deliver(pool, sink).await {
            Ok(0) => {
                pause = BACK_OFF.0;
                let woken = tokio::select! {
                    woken = notified(&mut listener) => woken,
                    () = sleep(POLL) => true,
                };
                if !woken {
                    listener = None;
                }
            }
            Ok(_) => pause = BACK_OFF.0,
            Err(error) => {
                tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "tags stay in the outbox");
                sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

async fn listen(pool: &PgPool) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(pool).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// Waits for a notification; `false` when the listener is of no more use.
async fn notified(listener: &mut Option<PgListener>) -> bool {
    match listener {
        // `None` means that the connection was lost and notifications with it: look, and listen anew.
        Some(listener) => matches!(listener.try_recv().await, Ok(Some(_))),
        None => pending().await,
    }
}

/// Delivers up to 500 rows, and returns how many. A row is gone exactly when its tags are recorded.
async fn deliver(pool: &PgPool, sink: &dyn PurgeSink) -> Result<usize, RelayError> {
    let mut transaction = pool.begin().await?;
    let rows = sqlx::query_scalar!(
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED) RETURNING tags"
    )
    .fetch_all(&mut *transaction)
    .await?;
    let delivered = rows.len();
    let tags: Vec<String> = rows
        .into_iter()
        .flatten()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    for chunk in tags.chunks(CHUNK) {
        timeout(APPEND, sink.append(chunk.to_vec()))
            .await
            .map_err(|_| RelayError::SinkDeadline)??;
    }
    transaction.commit().await?;
    Ok(delivered)
}
