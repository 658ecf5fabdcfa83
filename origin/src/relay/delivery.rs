//! The relay: takes tags from the outbox to the purge log.
//!
//! Relays, any number, take rows that no other holds, append them to the log and commit. Invalidations commute, so the
//! order among relays does not matter; one that is repeated, because a commit failed after the append, purges too much
//! and never too little.
//!
//! With the tags goes the position that the database had reached when their row had been seen. The row was committed by
//! then, so a replica that has replayed that far shows the change; the position of the change itself, which a trigger
//! could tell, stands before its commit and promises nothing.
//!
//! Rows go in rounds, from the lowest number to the highest. What cannot be delivered stays, and the round goes on behind
//! it: where several edges are told and one is away, the others hear of everything. A row that the database itself cannot
//! give is found by taking row after row, and set aside.

use std::{
    collections::BTreeSet,
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{PgConnection, postgres::PgListener};
use tokio::time::{sleep, timeout};

use crate::{
    observe::metrics::{Failure, Metrics},
    postgres::{
        held::{Background, in_time},
        lsn::Lsn,
        refusal::is_of_the_rows,
    },
    relay::outbox::{PurgeSink, SinkError, is_tag},
};

/// The channel that an insert into the outbox notifies.
const CHANNEL: &str = "tidegate_outbox";
/// How often the relay looks even when nothing woke it.
const POLL: Duration = Duration::from_secs(1);
/// How many rows are taken at once.
const BATCH: usize = 200;
/// How many tags are appended at once.
const CHUNK: usize = 2_000;
/// How long one append may take.
const APPEND: Duration = Duration::from_secs(10);
/// The pauses after rounds in which nothing was delivered: the first, which is also that between failures of a round, and
/// the longest.
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
    /// Whether it is what rows hold that made the database fail, and not the state it is in.
    fn is_of_the_rows(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        is_of_the_rows(error)
    }

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
    pool: Background,
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
    pool: Background,
    sink: Arc<dyn PurgeSink>,
    metrics: Arc<Metrics>,
}

/// A way through the outbox, from the lowest number of a row to the highest.
struct Round {
    /// Up to this number, all has been tried.
    after: i64,
    delivered: bool,
    failed: bool,
    /// The highest number that there was when something first failed. Whatever is written meanwhile, the round is whole
    /// once it is here.
    end: Option<i64>,
    /// When what failed is tried again, in a round that is whole. Until then it goes on to what is new.
    again: Option<Instant>,
    /// How many rows are still to be taken one by one, to find the one that the database cannot give.
    singly: usize,
}

impl Round {
    const START: Self = Self {
        after: i64::MIN,
        delivered: false,
        failed: false,
        end: None,
        again: None,
        singly: 0,
    };

    fn is_whole(&self) -> bool {
        self.failed && self.end.is_some_and(|end| self.after >= end)
    }
}

/// Rows that were taken from the outbox, and are gone from it once the transaction commits.
struct Taken {
    /// Each once.
    tags: Vec<String>,
    /// How far the database had come when the last row had been seen.
    seen: Option<Lsn>,
    /// How long each row had waited.
    waited: Vec<Duration>,
    at: Instant,
}

/// What became of an attempt to deliver some rows.
enum Delivery {
    /// There are none that no other relay holds.
    Nothing,
    /// They are in the log and gone from the outbox; the longest time that one took from its writing.
    Done {
        longest: Duration,
        last: Option<i64>,
    },
    /// They stay. Without their highest number, when they were not even seen.
    Failed {
        error: RelayError,
        last: Option<i64>,
    },
}

impl Relay {
    async fn deliver_forever(&self) {
        let mut listener = None;
        let mut pause = BACK_OFF.0;
        let mut is_late = false;
        let mut round = Round::START;
        // Never taken again by this process: the database cannot give them.
        let mut aside = BTreeSet::new();
        loop {
            // Listening comes before looking: what is written in between wakes us.
            if listener.is_none() {
                listener = self.pool.listen(CHANNEL).await.ok();
            }
            if round.is_whole() && round.again.is_none() {
                if round.delivered {
                    pause = BACK_OFF.0;
                }
                round.again = Some(Instant::now() + pause);
                pause = (pause * 2).min(BACK_OFF.1);
            }
            if round.again.is_some_and(|again| again <= Instant::now()) {
                round = Round::START;
            }
            match self.deliver(&round, &aside).await {
                Delivery::Nothing if !round.failed => {
                    pause = BACK_OFF.0;
                    round = Round::START;
                    wait(&mut listener, POLL).await;
                }
                Delivery::Nothing => {
                    // What is written meanwhile has not been tried: it does not wait for what has.
                    round.end = Some(round.after);
                    let until = round.again.unwrap_or_else(Instant::now);
                    wait(&mut listener, POLL.min(until - Instant::now())).await;
                }
                Delivery::Done { longest, last } => {
                    round.delivered = true;
                    if round.failed {
                        round.after = last.unwrap_or(round.after);
                    }
                    round.singly = round.singly.saturating_sub(1);
                    let was_late = std::mem::replace(&mut is_late, longest > LATE);
                    let seconds = longest.as_secs_f64();
                    if is_late && !was_late {
                        tracing::warn!(seconds, "tags wait long in the outbox");
                    } else if was_late && !is_late {
                        tracing::info!(seconds, "tags leave the outbox in time again");
                    }
                }
                Delivery::Failed { error, last } => {
                    self.metrics.relay_failed(error.kind());
                    round.failed = true;
                    match last {
                        Some(row) if error.is_of_the_rows() && round.singly > 0 => {
                            tracing::error!(%error, row, "the database cannot give a row of the outbox: set aside");
                            self.metrics.unusable_rows.inc();
                            aside.insert(row);
                            round.after = row;
                            round.singly -= 1;
                        }
                        _ if error.is_of_the_rows() && round.singly == 0 => {
                            tracing::warn!(%error, "rows of the outbox are taken one by one");
                            round.singly = BATCH;
                        }
                        Some(last) => {
                            tracing::warn!(%error, "tags stay in the outbox");
                            round.after = last;
                            round.singly = round.singly.saturating_sub(1);
                            if round.end.is_none() {
                                round.end = highest(&self.pool).await;
                            }
                            sleep(BACK_OFF.0).await;
                        }
                        None => {
                            tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "tags stay in the outbox");
                            sleep(pause).await;
                            pause = (pause * 2).min(BACK_OFF.1);
                            round = Round::START;
                        }
                    }
                }
            }
        }
    }

    /// Tries to deliver the next rows of a round. A row is gone exactly when its tags are recorded.
    async fn deliver(&self, round: &Round, aside: &BTreeSet<i64>) -> Delivery {
        let mut last = None;
        match self.deliver_next(round, aside, &mut last).await {
            Ok(None) => Delivery::Nothing,
            Ok(Some(longest)) => Delivery::Done { longest, last },
            Err(error) => Delivery::Failed { error, last },
        }
    }

    async fn deliver_next(
        &self,
        round: &Round,
        aside: &BTreeSet<i64>,
        last: &mut Option<i64>,
    ) -> Result<Option<Duration>, RelayError> {
        let mut held = self.pool.begin().await?;
        let aside: Vec<i64> = aside.iter().copied().collect();
        let mut after = round.after;
        let mut limit = BATCH as i64;
        if round.singly > 0 {
            let next = in_time(held.renew(), next_row(&mut held, after, &aside));
            let Some(row) = next.await? else {
                return Ok(None);
            };
            *last = Some(row);
            after = row - 1;
            limit = 1;
        }
        let taking = in_time(held.renew(), take(&mut held, after, limit, &aside, last));
        let Some(taken) = taking.await? else {
            return Ok(None);
        };
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
        in_time(held.renew(), held.commit()).await?;
        let lags = taken.waited.iter().map(|waited| *waited + appending);
        self.metrics.delivered(usable.len(), lags.clone());
        Ok(Some(lags.max().unwrap_or_default()))
    }
}

/// The highest number of a row, where the database says it.
async fn highest(pool: &Background) -> Option<i64> {
    let ask = sqlx::query_scalar!("SELECT pg_catalog.max(id) FROM outbox");
    let mut held = pool.acquire().await.ok()?;
    let asked = in_time(held.renew(), ask.fetch_one(&mut *held)).await;
    asked.ok().flatten()
}

/// Takes the next rows that no other relay holds: up to `limit`, and no more than come to 2,000 tags, which is what one
/// row may have. So a batch is one append, and what was appended is never kept waiting for what was not. Sets `last` to
/// the highest number among them; gives nothing when there are none.
async fn take(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
    aside: &[i64],
    last: &mut Option<i64>,
) -> Result<Option<Taken>, sqlx::Error> {
    let at = Instant::now();
    // The columns are made when their row has been found: it was committed before the position was read. How long a row
    // waited is measured by the clock that dated it; one that was dated never, or for ever, has not. Arrays of any shape
    // become plain lists. Functions are named with their schema: others may have one of the name for more exact types.
    let rows = sqlx::query!(
        r#"WITH oldest AS (SELECT id, pg_catalog.cardinality(tags) AS size FROM outbox
                    WHERE id > $1 AND id <> ALL ($3) ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
                counted AS (SELECT id, pg_catalog.sum(size) OVER (ORDER BY id) AS so_far,
                        pg_catalog.row_number() OVER (ORDER BY id) AS place FROM oldest)
           DELETE FROM outbox WHERE id IN (SELECT id FROM counted WHERE so_far <= 2000 OR place = 1)
           RETURNING id, ARRAY(SELECT tag FROM pg_catalog.unnest(tags) AS tag WHERE tag IS NOT NULL) AS "tags!",
               CASE WHEN pg_catalog.isfinite(created_at)
                   THEN extract(epoch FROM pg_catalog.clock_timestamp() - created_at)::float8 END AS waited,
               tidegate_lsn() AS "seen!""#,
        after,
        limit,
        aside
    )
    .fetch_all(connection)
    .await?;
    let Some(highest) = rows.iter().map(|row| row.id).max() else {
        return Ok(None);
    };
    *last = Some(highest);
    let seen = rows.last().and_then(|row| row.seen.parse().ok());
    // A clock that was set back makes no time negative.
    let seconds = |waited: Option<f64>| {
        Duration::try_from_secs_f64(waited.unwrap_or_default()).unwrap_or_default()
    };
    Ok(Some(Taken {
        waited: rows.iter().map(|row| seconds(row.waited)).collect(),
        tags: rows
            .into_iter()
            .flat_map(|row| row.tags)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        seen,
        at,
    }))
}

/// The number of the next row that no other relay holds; it is held from then on.
async fn next_row(
    connection: &mut PgConnection,
    after: i64,
    aside: &[i64],
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT id FROM outbox WHERE id > $1 AND id <> ALL ($2) ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
        after,
        aside
    )
    .fetch_optional(connection)
    .await
}

/// Waits for a notification, but no longer than `time`. Forgets a listener that is of no more use.
async fn wait(listener: &mut Option<PgListener>, time: Duration) {
    let notified = async {
        match listener {
            // `None` means that the connection was lost and notifications with it: look, and listen anew.
            Some(listener) => matches!(listener.try_recv().await, Ok(Some(_))),
            None => pending().await,
        }
    };
    if timeout(time, notified).await == Ok(false) {
        *listener = None;
    }
}
