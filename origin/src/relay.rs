//! The relay: takes tags from the outbox to the purge log.
//!
//! Relays, any number, take rows that no other holds, append them to the log and commit. Invalidations commute, so the
//! order among relays does not matter; one that is repeated, because a commit failed after the append, purges too much
//! and never too little.
//!
//! With the tags goes the position that the database had reached when their row had been seen. The row was committed by
//! then, so a replica that has replayed that far shows the change; the position of the change itself, which a trigger
//! could tell, stands before its commit and promises nothing.

use std::{
    collections::BTreeSet,
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{PgPool, postgres::PgListener};
use tokio::time::{sleep, timeout};

use crate::{
    lsn::Lsn,
    metrics::{Failure, Metrics},
    outbox::{PurgeSink, SinkError, is_tag},
};

/// The channel that an insert into the outbox notifies.
const CHANNEL: &str = "tidegate_outbox";
/// How often the relay looks even when nothing woke it.
const POLL: Duration = Duration::from_secs(1);
/// How many tags are appended at once.
const CHUNK: usize = 2_000;
/// How long one append may take.
const APPEND: Duration = Duration::from_secs(10);
/// The pauses after failures: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Tags that waited longer than this are worth a line in the log.
const LATE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("the purge log did not answer within {} s", APPEND.as_secs())]
    SinkDeadline,
}

impl RelayError {
    fn kind(&self) -> Failure {
        match self {
            Self::Database(_) => Failure::Database,
            Self::Sink(_) => Failure::Log,
            Self::SinkDeadline => Failure::Deadline,
        }
    }
}

/// Takes tags from the outbox to the sink until `shutdown` is ready. Failures are logged and tried again.
///
/// Ending in the midst of an append is harmless: the rows stay and are appended again by the next relay.
pub(crate) async fn relay(
    pool: PgPool,
    sink: Arc<dyn PurgeSink>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let relay = Relay {
        pool,
        sink,
        metrics,
    };
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        () = relay.deliver_forever() => {}
    }
}

struct Relay {
    pool: PgPool,
    sink: Arc<dyn PurgeSink>,
    metrics: Arc<Metrics>,
}

/// Rows that were taken from the outbox, and are gone from it once the transaction commits.
struct Taken {
    rows: usize,
    /// Each once.
    tags: Vec<String>,
    /// How far the database had come when the last row had been seen.
    seen: Option<Lsn>,
    /// How long each row had waited.
    waited: Vec<Duration>,
    at: Instant,
}

impl Relay {
    async fn deliver_forever(&self) {
        let mut listener = None;
        let mut pause = BACK_OFF.0;
        let mut is_late = false;
        loop {
            // Listening comes before looking: what is written in between wakes us.
            if listener.is_none() {
                listener = listen(&self.pool).await;
            }
            match self.deliver().await {
                Ok(None) => {
                    pause = BACK_OFF.0;
                    let woken = tokio::select! {
                        woken = notified(&mut listener) => woken,
                        () = sleep(POLL) => true,
                    };
                    if !woken {
                        listener = None;
                    }
                }
                Ok(Some(longest)) => {
                    pause = BACK_OFF.0;
                    let was_late = std::mem::replace(&mut is_late, longest > LATE);
                    let seconds = longest.as_secs_f64();
                    if is_late && !was_late {
                        tracing::warn!(seconds, "tags wait long in the outbox");
                    } else if was_late && !is_late {
                        tracing::info!(seconds, "tags leave the outbox in time again");
                    }
                }
                Err(error) => {
                    self.metrics.relay_failed(error.kind());
                    tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "tags stay in the outbox");
                    sleep(pause).await;
                    pause = (pause * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    /// Delivers some rows; the longest time that one of them took from its writing to the log, if there were any. A row
    /// is gone exactly when its tags are recorded.
    async fn deliver(&self) -> Result<Option<Duration>, RelayError> {
        let mut transaction = self.pool.begin().await?;
        let taken = take(&mut transaction).await?;
        if taken.rows == 0 {
            return Ok(None);
        }
        let (usable, unusable): (Vec<_>, Vec<_>) =
            taken.tags.into_iter().partition(|tag| is_tag(tag));
        if let Some(one) = unusable.first() {
            // Nothing can carry them, so that nothing is missed; and they must not keep others waiting.
            let one: String = one.chars().take(100).collect();
            tracing::error!(count = unusable.len(), tag = ?one, "the outbox holds what is no tag: left out");
            self.metrics.unusable_tags.inc_by(unusable.len() as u64);
        }
        for chunk in usable.chunks(CHUNK) {
            timeout(APPEND, self.sink.append(chunk.to_vec(), taken.seen))
                .await
                .map_err(|_| RelayError::SinkDeadline)??;
        }
        let appending = taken.at.elapsed();
        transaction.commit().await?;
        let lags = taken.waited.iter().map(|waited| *waited + appending);
        self.metrics.delivered(usable.len(), lags.clone());
        Ok(lags.max())
    }
}

/// Takes the oldest rows that no other relay holds: up to 200, and no more than come to 2,000 tags, which is what one row
/// may have. So a batch is one append, and what was appended is never kept waiting for what was not.
async fn take(connection: &mut sqlx::PgConnection) -> Result<Taken, sqlx::Error> {
    let at = Instant::now();
    // The columns are made when their row has been found: it was committed before the position was read. How long a row
    // waited is measured by the clock that dated it.
    let rows = sqlx::query!(
        r#"WITH oldest AS (SELECT id, cardinality(tags) AS size FROM outbox ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED),
                counted AS (SELECT id, sum(size) OVER (ORDER BY id) AS so_far, row_number() OVER (ORDER BY id) AS place
                    FROM oldest)
           DELETE FROM outbox WHERE id IN (SELECT id FROM counted WHERE so_far <= 2000 OR place = 1)
           RETURNING array_remove(tags, NULL) AS "tags!",
               extract(epoch FROM clock_timestamp() - created_at)::float8 AS "waited!", tidegate_lsn() AS "seen!""#
    )
    .fetch_all(connection)
    .await?;
    let seen = rows.last().and_then(|row| row.seen.parse().ok());
    // A clock that was set back makes no time negative.
    let seconds = |waited: f64| Duration::try_from_secs_f64(waited).unwrap_or_default();
    Ok(Taken {
        rows: rows.len(),
        waited: rows.iter().map(|row| seconds(row.waited)).collect(),
        tags: rows
            .into_iter()
            .flat_map(|row| row.tags)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        seen,
        at,
    })
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
