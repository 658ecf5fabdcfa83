//! The way of events from the stream into the table: read some, insert them in one statement, then say so.
//!
//! Whatever ends a worker in between, the events it had taken stay in the stream until another claims them, and inserting
//! them again changes nothing. While the database is away a worker holds what it has taken and tries again: that is no
//! fault of the events. When the database refuses a batch for what is in it, the batch is halved until the event at fault
//! is alone; that one is left for later, and after some deliveries becomes a dead letter.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    activity::{
        events::{Queued, insert, time_of},
        stream::{Consumer, Entry, Stream},
    },
    config::Activity,
    observe::metrics::Metrics,
    postgres::{
        held::{Background, in_time},
        refusal::{is_of_the_rows, is_too_much},
    },
    redis::client::Away,
};

/// The first pause after a failure, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often partitions are made and dropped.
const MAINTENANCE: Duration = Duration::from_secs(3_600);
/// When it is tried again after a failure, such as a lock that others hold for long.
const SOON: Duration = Duration::from_secs(30);
/// How many days of partitions are made ahead.
const AHEAD: time::Duration = time::Duration::days(7);
/// How much longer than events are accepted their partitions are kept: those on their way still find them.
const GRACE: time::Duration = time::Duration::days(1);

/// Takes events from the stream to the table until `shutdown` is ready; an insert that runs then is waited for.
pub(crate) async fn work(
    pool: Background,
    stream: Arc<Stream>,
    settings: Activity,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut worker = Worker {
        consumer: Consumer::new(stream, Uuid::now_v7().to_string()),
        pool,
        settings,
        metrics,
        look: None,
    };
    let mut shutdown: Pin<&mut (dyn Future<Output = ()> + Send)> = pin!(shutdown);
    let mut pause = BACK_OFF.0;
    loop {
        let taken = tokio::select! {
            () = &mut shutdown => return,
            taken = worker.take() => taken,
        };
        let done = match taken {
            Ok(entries) => worker.store(entries, &mut shutdown).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(Flow::GoOn) => pause = BACK_OFF.0,
            Ok(Flow::Stop) => return,
            Err(error) => {
                tracing::warn!(%error, "events wait in the stream");
                tokio::select! {
                    () = &mut shutdown => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

enum Flow {
    GoOn,
    Stop,
}

struct Worker {
    consumer: Consumer,
    pool: Background,
    settings: Activity,
    metrics: Arc<Metrics>,
    /// When it is time to look for what other workers have left.
    look: Option<Instant>,
}

impl Worker {
    /// The next entries: those that others have left, when it is time to look for them; else new ones.
    async fn take(&mut self) -> Result<Vec<Entry>, Away> {
        let (count, claim) = (self.settings.events_batch, self.settings.events_claim);
        if self.look.is_none_or(|look| look <= Instant::now()) {
            let entries = self.consumer.claim(count, claim).await?;
            if self.consumer.has_looked_through() {
                self.look = Some(Instant::now() + claim);
            }
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        self.consumer.next(count).await
    }

    /// Inserts entries and takes them from the stream, all but those that cannot be inserted.
    async fn store(
        &self,
        entries: Vec<Entry>,
        shutdown: &mut Pin<&mut (dyn Future<Output = ()> + Send)>,
    ) -> Result<Flow, Away> {
        let mut events = Vec::with_capacity(entries.len());
        for Entry { id, event } in entries {
            let read = serde_json::from_slice::<Queued>(event.as_deref().unwrap_or_default());
            match read {
                Ok(event) => events.push((id, event)),
                Err(error) => {
                    self.fail(&id, &format!("it cannot be read: {error}"))
                        .await?
                }
            }
        }
        let mut parts = vec![events.as_slice()];
        let mut pause = BACK_OFF.0;
        while let Some(part) = parts.pop() {
            let Some((first, _)) = part.first() else {
                continue;
            };
            let error = match self.insert(part).await {
                Ok(new) => {
                    self.metrics.events_inserted.inc_by(new);
                    let repeats = (part.len() as u64).saturating_sub(new);
                    self.metrics.events_repeated.inc_by(repeats);
                    let entries: Vec<_> = part.iter().map(|(entry, _)| entry.clone()).collect();
                    self.consumer.settle(&entries).await?;
                    pause = BACK_OFF.0;
                    continue;
                }
                Err(error) => error,
            };
            if is_too_much(&error) && part.len() > 1 {
                tracing::warn!(%error, events = part.len(), "events took too long: half of them at a time");
                let (left, right) = part.split_at(part.len() / 2);
                parts.extend([right, left]);
            } else if !is_of_the_rows(&error) {
                tracing::warn!(%error, events = part.len(), "events cannot be inserted now");
                parts.push(part);
                tokio::select! {
                    () = &mut *shutdown => return Ok(Flow::Stop),
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(BACK_OFF.1);
            } else if part.len() == 1 {
                self.fail(first, &error.to_string()).await?;
            } else {
                let (left, right) = part.split_at(part.len() / 2);
                parts.extend([right, left]);
            }
        }
        Ok(Flow::GoOn)
    }

    async fn insert(&self, part: &[(String, Queued)]) -> Result<u64, sqlx::Error> {
        let events: Vec<_> = part.iter().map(|(_, event)| event).collect();
        match insert(&self.pool, &events).await {
            Err(error) if has_no_partition(&error) => {
                // They waited for longer than partitions are made ahead or kept.
                for event in &events {
                    if let Some(day) = time_of(event.id) {
                        make_days(&self.pool, day, day).await?;
                    }
                }
                insert(&self.pool, &events).await
            }
            inserted => inserted,
        }
    }

    async fn fail(&self, entry: &str, reason: &str) -> Result<(), Away> {
        let tries = self.settings.events_tries;
        if self.consumer.fail(entry, tries, reason).await? {
            tracing::error!(entry, reason, "an event became a dead letter");
            self.metrics.events_dead.inc();
        } else {
            tracing::warn!(entry, reason, "an event is left for later");
        }
        Ok(())
    }
}

/// Whether a row has no partition to go to: the one way in which the table checks rows.
fn has_no_partition(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error().and_then(|refused| refused.code());
    refused.is_some_and(|code| code == "23514")
}

/// Makes partitions ahead of time and drops those that are past their retention, now and every hour.
pub(crate) async fn maintain(
    pool: Background,
    stream: Arc<Stream>,
    retention: time::Duration,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    let mut is_told = false;
    loop {
        if !is_told && let Ok(weaknesses) = stream.weaknesses().await {
            is_told = true;
            for weakness in weaknesses {
                tracing::warn!(weakness, "redis may lose events that were accepted");
            }
        }
        let now = OffsetDateTime::now_utc();
        let round = async {
            let made = make_days(&pool, now - GRACE, now + AHEAD).await?;
            let dropped = drop_days(&pool, now - retention - GRACE).await?;
            Ok::<_, sqlx::Error>((made, dropped))
        };
        let pause = match round.await {
            Ok((made, dropped)) => {
                tracing::debug!(made, dropped, "the days of events are in order");
                MAINTENANCE
            }
            Err(error) => {
                tracing::warn!(%error, "the days of events are not in order");
                SOON
            }
        };
        if let Err(error) = stream.forget_the_gone().await {
            tracing::debug!(%error, "readers that are gone are not forgotten");
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = sleep(pause) => {}
        }
    }
}

async fn make_days(
    pool: &Background,
    first: OffsetDateTime,
    last: OffsetDateTime,
) -> Result<i32, sqlx::Error> {
    let make = sqlx::query_scalar!(
        r#"SELECT tidegate_make_event_days($1, $2) AS "made!""#,
        first,
        last
    );
    let mut held = pool.acquire().await?;
    in_time(held.renew(), make.fetch_one(&mut *held)).await
}

/// Waits for readers of the table a second at most: who comes after it waits as long.
async fn drop_days(pool: &Background, before: OffsetDateTime) -> Result<i32, sqlx::Error> {
    let mut held = pool.begin().await?;
    in_time(held.renew(), async {
        sqlx::query!("SET LOCAL lock_timeout = '1s'")
            .execute(&mut *held)
            .await?;
        let dropped = sqlx::query_scalar!(
            r#"SELECT tidegate_drop_event_days($1) AS "dropped!""#,
            before
        )
        .fetch_one(&mut *held)
        .await?;
        held.commit().await?;
        Ok(dropped)
    })
    .await
}
