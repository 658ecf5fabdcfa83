//! The way of events from the stream into the table: read some, insert them in one statement, then say so.
//!
//! Whatever ends a worker in between, the events it had taken stay in the stream until another claims them, and inserting
//! them again changes nothing. While the database is away a worker holds what it has taken and tries again: that is no
//! fault of the events. When the database refuses a batch for what is in it, the batch is halved until the event at fault
//! is alone; that one is left for later, and after some failures becomes a dead letter. A batch that takes too long is
//! halved as well. An event that takes too long by itself is left for later and goes on being tried: others go past it.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    activity::{
        days,
        events::{Queued, insert, time_of},
        stream::{Consumer, Entry, Fate, Stream},
    },
    clock::Clock,
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
/// How many bytes of events one statement inserts, unless it is one event that has more.
const LARGEST: usize = 4 << 20;

/// Takes events from the stream to the table until `shutdown` is ready; an insert that runs then is waited for.
pub(crate) async fn work(
    pool: Background,
    stream: Arc<Stream>,
    settings: Activity,
    metrics: Arc<Metrics>,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut worker = Worker {
        consumer: Consumer::new(stream, Uuid::now_v7().to_string()),
        pool,
        count: settings.events_batch,
        settings,
        metrics,
        clock,
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
    clock: Clock,
    /// How many entries are asked for: fewer after an answer that did not come, which may have been too large to come
    /// in time.
    count: usize,
    /// When it is time to look for what other workers have left.
    look: Option<Duration>,
}

/// An event that was read.
struct Read {
    /// The entry that it came in.
    entry: String,
    bytes: usize,
    event: Queued,
}

/// What is to be done about a part that was not inserted.
enum Remedy {
    /// Halves may be inserted, or show which event is at fault.
    Halve,
    /// Nothing is wrong with the events.
    TryAgain,
    /// The one event takes too long; others may not.
    GoPast,
    /// The one event is refused.
    Fail,
}

impl Remedy {
    fn of(error: &sqlx::Error, events: usize) -> Self {
        match (is_too_much(error), is_of_the_rows(error)) {
            (false, false) => Self::TryAgain,
            _ if events > 1 => Self::Halve,
            (true, _) => Self::GoPast,
            (false, true) => Self::Fail,
        }
    }
}

impl Worker {
    /// The next entries: those that others have left, when it is time to look for them; else new ones.
    async fn take(&mut self) -> Result<Vec<Entry>, Away> {
        let taken = self.look_for().await;
        self.count = match taken {
            Ok(_) => (self.count * 2).min(self.settings.events_batch),
            Err(_) => (self.count / 2).max(1),
        };
        taken
    }

    async fn look_for(&mut self) -> Result<Vec<Entry>, Away> {
        let claim = self.settings.events_claim;
        if self.look.is_none_or(|look| look <= self.clock.elapsed()) {
            let entries = self.consumer.claim(self.count, claim).await?;
            if self.consumer.has_looked_through() {
                self.look = Some(self.clock.elapsed() + claim);
            }
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        self.consumer.next(self.count).await
    }

    /// Inserts entries and takes them from the stream, all but those that cannot be inserted.
    async fn store(
        &self,
        entries: Vec<Entry>,
        shutdown: &mut Pin<&mut (dyn Future<Output = ()> + Send)>,
    ) -> Result<Flow, Away> {
        let mut events = self.read(entries).await?;
        // In the order of ids: two workers that have the same events do not wait for each other, and the index grows at
        // its end. Of those with the same id the first one stays first.
        events.sort_by_key(|read| read.event.id);
        let mut parts = statements(&events);
        let mut pause = BACK_OFF.0;
        while let Some(part) = parts.pop() {
            let error = match self.insert(part).await {
                Ok(new) => {
                    self.metrics.events_inserted.inc_by(new);
                    let repeats = (part.len() as u64).saturating_sub(new);
                    self.metrics.events_repeated.inc_by(repeats);
                    let entries: Vec<_> = part.iter().map(|read| read.entry.as_str()).collect();
                    self.consumer.settle(&entries).await?;
                    pause = BACK_OFF.0;
                    continue;
                }
                Err(error) => error,
            };
            match Remedy::of(&error, part.len()) {
                Remedy::Halve => {
                    tracing::debug!(%error, events = part.len(), "events are inserted by halves");
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                    continue;
                }
                Remedy::Fail => {
                    for read in part {
                        self.fail(&read.entry, &error.to_string()).await?;
                    }
                    continue;
                }
                Remedy::GoPast => {
                    // Nobody is told: it is claimed when it has been with this reader for long enough.
                    tracing::warn!(%error, "an event takes too long, and is left for later");
                }
                Remedy::TryAgain => {
                    tracing::warn!(%error, events = part.len(), "events cannot be inserted now");
                    parts.push(part);
                }
            }
            tokio::select! {
                () = &mut *shutdown => return Ok(Flow::Stop),
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
        Ok(Flow::GoOn)
    }

    /// The events of entries, all but those that cannot be read.
    async fn read(&self, entries: Vec<Entry>) -> Result<Vec<Read>, Away> {
        let mut events = Vec::with_capacity(entries.len());
        for Entry { id, event } in entries {
            let text = event.unwrap_or_default();
            match serde_json::from_slice::<Queued>(&text) {
                Ok(event) => events.push(Read {
                    entry: id,
                    bytes: text.len(),
                    event,
                }),
                Err(error) => {
                    self.fail(&id, &format!("it cannot be read: {error}"))
                        .await?
                }
            }
        }
        Ok(events)
    }

    async fn insert(&self, part: &[Read]) -> Result<u64, sqlx::Error> {
        let mut held = self.pool.acquire().await?;
        let until = held.until();
        let inserting = async {
            let events = || part.iter().map(|read| &read.event);
            match insert(&mut held, events()).await {
                Err(error) if has_no_partition(&error) => {
                    // They waited for longer than partitions are made ahead or kept.
                    let days: BTreeSet<_> = events()
                        .filter_map(|event| Some(time_of(event.id)?.date()))
                        .collect();
                    days::make(&mut held, days).await?;
                    insert(&mut held, events()).await
                }
                inserted => inserted,
            }
        };
        in_time(until, inserting).await
    }

    async fn fail(&self, entry: &str, reason: &str) -> Result<(), Away> {
        let tries = self.settings.events_tries;
        let fate = self.consumer.fail(entry, tries, reason).await?;
        match fate {
            Fate::Waits => tracing::warn!(entry, reason, "an event is left for later"),
            Fate::Dead => tracing::error!(entry, reason, "an event became a dead letter"),
            Fate::NoRoom => tracing::error!(
                entry,
                reason,
                "an event waits: there are too many dead letters already"
            ),
        }
        if fate == Fate::Dead {
            self.metrics.events_dead.inc();
        }
        Ok(())
    }
}

/// Events in parts that a statement takes, the last one first.
fn statements(events: &[Read]) -> Vec<&[Read]> {
    let mut bytes = 0;
    let mut parts: Vec<_> = events
        .chunk_by(|read, next| {
            bytes += read.bytes;
            let has_room = bytes + next.bytes <= LARGEST;
            if !has_room {
                bytes = 0;
            }
            has_room
        })
        .collect();
    parts.reverse();
    parts
}

/// Whether a row has no partition to go to: the one way in which the table checks rows.
fn has_no_partition(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error().and_then(|refused| refused.code());
    refused.is_some_and(|code| code == "23514")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_as_many_events_as_it_has_bytes_for() {
        let event = r#"{"id":"0190a000-0000-7000-8000-000000000000","user_id":1,"event_type":"a","event_data":1,
            "timestamp":"2026-01-01T00:00:00Z"}"#;
        for (sizes, parts) in [
            (&[][..], &[][..]),
            (&[LARGEST + 1], &[1]),
            (&[1, 1, 1], &[3]),
            (&[LARGEST - 1, 1, 1], &[2, 1]),
            (&[LARGEST, LARGEST, 1, 1], &[1, 1, 2]),
        ] {
            let events: Vec<_> = sizes
                .iter()
                .map(|bytes| Read {
                    entry: String::new(),
                    bytes: *bytes,
                    event: serde_json::from_str(event).unwrap(),
                })
                .collect();
            let found: Vec<_> = statements(&events)
                .iter()
                .rev()
                .map(|part| part.len())
                .collect();
            assert_eq!(found, parts, "{sizes:?}");
        }
    }

    #[test]
    fn a_batch_is_halved_and_one_event_is_gone_past_or_fails() {
        let too_long = || sqlx::Error::Protocol("too long".to_owned());
        let of_the_rows = || sqlx::Error::Decode("odd".into());
        assert!(matches!(Remedy::of(&too_long(), 2), Remedy::Halve));
        assert!(matches!(Remedy::of(&too_long(), 1), Remedy::GoPast));
        assert!(matches!(Remedy::of(&of_the_rows(), 2), Remedy::Halve));
        assert!(matches!(Remedy::of(&of_the_rows(), 1), Remedy::Fail));
        for events in [1, 2] {
            let away = sqlx::Error::PoolTimedOut;
            assert!(matches!(Remedy::of(&away, events), Remedy::TryAgain));
        }
    }
}
