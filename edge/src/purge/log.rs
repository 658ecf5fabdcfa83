//! The log as the rest of the edge uses it: read the fence, append, and know whether to trust it.

mod again;
mod continuity;
mod entry;
mod follow;
mod journey;
mod stream;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_semantics::Timestamp;
use tokio::sync::{Notify, watch};

pub(super) use entry::to_position;
pub(crate) use follow::{Followed, follow};
pub use stream::Stream;

use super::index::Index;
use super::record::{COUNTER_BITS, Position, Record};
use super::roll::Call;
use crate::clock::Clock;
use journey::{Journey, Way};
use stream::AppendError;

/// Records that a log in this process remembers for those who ask what was purged.
pub(super) const REMEMBERED: usize = 200;

/// The purge log of this process. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    index: Arc<Index>,
    clock: Clock,
    kept: Kept,
    /// How long a follower may be silent before the cache is not trusted.
    trust: Duration,
    /// How long an append may take, and its way back to us.
    deadline: Duration,
    /// When this process took it up.
    begun: Timestamp,
    /// Up to when the log was heard, in milliseconds; only followers move it.
    heard: AtomicU64,
    /// The last position applied. Its sender is the applier's mutex.
    applied: watch::Sender<Position>,
    /// Wakes the one that appends what could not be recorded.
    has_unrecorded: Notify,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let records = self.index.unrecorded().len();
        if records > 0 {
            tracing::error!(
                records,
                "ending with purges that other edges never heard of"
            );
        }
    }
}

enum Kept {
    /// A counter in this process: alone, there is nobody to agree with. And the last records.
    Here(Mutex<VecDeque<(Position, Record)>>),
    /// A stream in Redis that every edge follows.
    InRedis(Box<Stream>),
}

/// A purge that is in force on this edge but not in the log.
#[derive(Debug, thiserror::Error)]
#[error("applied here, not recorded: {0}")]
pub struct NotRecorded(#[from] AppendError);

impl Log {
    /// A log in this process alone.
    pub fn in_process(index: Arc<Index>, clock: Clock) -> Log {
        let start = Position {
            // What is known of the log of another process is not known of this one.
            epoch: crate::random::word().max(1),
            seq: clock.now().0 << COUNTER_BITS,
        };
        index.begin_epoch(start);
        Log::new(
            index,
            clock,
            Kept::Here(Mutex::default()),
            start,
            Duration::MAX,
            Duration::MAX,
        )
    }

    /// A log kept in Redis; the follower brings what is in it.
    pub fn in_redis(
        index: Arc<Index>,
        clock: Clock,
        stream: Stream,
        trust: Duration,
        deadline: Duration,
    ) -> Log {
        let kept = Kept::InRedis(Box::new(stream));
        Log::new(index, clock, kept, Position::default(), trust, deadline)
    }

    fn new(
        index: Arc<Index>,
        clock: Clock,
        kept: Kept,
        start: Position,
        trust: Duration,
        deadline: Duration,
    ) -> Log {
        Log {
            shared: Arc::new(Shared {
                index,
                begun: clock.now(),
                clock,
                kept,
                trust,
                deadline,
                heard: AtomicU64::new(0),
                applied: watch::Sender::new(start),
                has_unrecorded: Notify::new(),
            }),
        }
    }

    /// The index that judges entries.
    pub fn index(&self) -> &Index {
        &self.shared.index
    }

    /// The position applied here. Read before a request is sent, it is the fence of the answer.
    pub fn fence(&self) -> Position {
        *self.shared.applied.borrow()
    }

    /// Whether the log was heard recently enough to use the cache without asking.
    pub fn is_trusted(&self, now: Timestamp) -> bool {
        match self.shared.kept {
            Kept::Here(_) => true,
            Kept::InRedis(_) => {
                let heard = Timestamp(self.shared.heard.load(Ordering::Acquire));
                let trust = self.shared.trust;
                // A clock that was set back must not make the last word last.
                heard.0 != 0 && now.since(heard) <= trust && heard.since(now) <= trust
            }
        }
    }

    /// How long the log may be silent.
    pub fn trust(&self) -> Duration {
        self.shared.trust
    }

    /// Appends records and waits until they are applied here; the last one's position.
    ///
    /// # Errors
    /// [`NotRecorded`] when the log could not be reached within its deadline: the records are in
    /// force on this edge all the same, and are appended again until that succeeds.
    pub async fn append(&self, records: &[Record]) -> Result<Position, NotRecorded> {
        let stream = match &self.shared.kept {
            Kept::Here(recent) => return Ok(self.append_here(records, recent)),
            Kept::InRedis(stream) => stream,
        };
        let append = || stream.append(records);
        self.append_in_redis(records, append, |position| *position)
            .await
    }

    /// The same, and the roll as it was called at that moment: empty where the log is in this
    /// process alone.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub(super) async fn append_calling(
        &self,
        records: &[Record],
    ) -> Result<(Position, Call), NotRecorded> {
        let stream = match &self.shared.kept {
            Kept::Here(recent) => return Ok((self.append_here(records, recent), Call::default())),
            Kept::InRedis(stream) => stream,
        };
        let append = || stream.append_calling(records);
        self.append_in_redis(records, append, |(position, _)| *position)
            .await
    }

    /// Appends, and waits until that is applied here. Where another log is taken up meanwhile, which
    /// may not have the records, they are appended again: invalidations repeat and commute.
    async fn append_in_redis<T, F: Future<Output = Result<T, AppendError>>>(
        &self,
        records: &[Record],
        append: impl Fn() -> F,
        position: impl Fn(&T) -> Position,
    ) -> Result<T, NotRecorded> {
        let deadline = self.shared.deadline;
        let appended = tokio::time::timeout(deadline, async {
            loop {
                let before = self.fence();
                let appended = append().await?;
                if self.arrives(before, position(&appended)).await {
                    return Ok(appended);
                }
            }
        })
        .await
        .unwrap_or(Err(AppendError::Deadline(deadline)));
        appended.map_err(|error| {
            tracing::warn!(%error, records = records.len(), "purge applied here, not recorded");
            self.shared.index.apply_unrecorded(records);
            self.shared.has_unrecorded.notify_one();
            NotRecorded(error)
        })
    }

    /// Waits until what was appended at `position` is applied here; false when a log is followed
    /// instead that may not have it. `before` was applied before.
    async fn arrives(&self, before: Position, position: Position) -> bool {
        let mut applied = self.shared.applied.subscribe();
        let journey = Journey { before, position };
        let now = applied.wait_for(|now| journey.at(*now) != Way::Going).await;
        // The sender lives as long as `self`.
        now.is_ok_and(|now| journey.at(*now) == Way::Arrived)
    }

    fn append_here(
        &self,
        records: &[Record],
        recent: &Mutex<VecDeque<(Position, Record)>>,
    ) -> Position {
        let shared = &self.shared;
        shared.applied.send_modify(|position| {
            for record in records {
                position.seq = (shared.clock.now().0 << COUNTER_BITS).max(position.seq + 1);
                shared.index.apply(*position, record);
                let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
                recent.truncate(REMEMBERED - 1);
                recent.push_front((*position, record.clone()));
            }
        });
        *shared.applied.borrow()
    }

    /// The time by which the log is trusted or not.
    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The last records, newest first, where the log is in this process.
    pub(super) fn recent_here(&self) -> Option<Vec<(Position, Record)>> {
        match &self.shared.kept {
            Kept::Here(recent) => {
                let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
                Some(recent.iter().cloned().collect())
            }
            Kept::InRedis(_) => None,
        }
    }

    /// The positions that are applied here, as they change.
    pub(super) fn applying(&self) -> watch::Receiver<Position> {
        self.shared.applied.subscribe()
    }

    /// Tells of records that could not be recorded.
    pub(super) fn has_unrecorded(&self) -> &Notify {
        &self.shared.has_unrecorded
    }

    /// How long an append may take.
    pub(super) fn deadline(&self) -> Duration {
        self.shared.deadline
    }

    /// For how long nothing was heard from the log; a log in this process is always heard.
    pub fn silence(&self) -> Duration {
        match self.shared.kept {
            Kept::Here(_) => Duration::ZERO,
            Kept::InRedis(_) => {
                let heard = Timestamp(self.shared.heard.load(Ordering::Acquire));
                self.shared.clock.now().since(heard.max(self.shared.begun))
            }
        }
    }

    /// Everything that the log had to say at a time was heard, if that was nothing too.
    pub(super) fn heard(&self, at: Timestamp) {
        self.shared.heard.store(at.0.max(1), Ordering::Release);
    }

    /// Applies what the follower read, in log order. `None` is the record that founds a log.
    pub(super) fn apply(&self, position: Position, record: Option<&Record>) {
        self.shared.applied.send_modify(|applied| {
            match record {
                Some(record) => self.shared.index.apply(position, record),
                None => self.shared.index.found(position),
            }
            *applied = position;
        });
    }

    /// Takes up another log, all of which will be applied. What was fetched before `floor` of it is
    /// asked for again.
    pub(super) fn begin_epoch(&self, epoch: u64, floor: u64) {
        let start = Position { epoch, seq: 0 };
        self.shared.applied.send_modify(|applied| {
            self.shared.index.begin_epoch_above(start, floor);
            *applied = start;
        });
    }

    /// Records up to `seq` were missed.
    pub(super) fn raise_floor(&self, seq: u64) {
        self.shared
            .applied
            .send_modify(|_| self.shared.index.raise_floor(seq));
    }

    /// The stream, where the log is kept in one.
    pub(super) fn stream(&self) -> Option<&Stream> {
        match &self.shared.kept {
            Kept::Here(_) => None,
            Kept::InRedis(stream) => Some(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tidegate_semantics::Timestamp;

    use super::{Clock, Index, Log, Stream};

    #[test]
    fn the_log_is_trusted_around_the_last_word_and_no_further() {
        let clock = Clock::manual(Timestamp(0));
        let stream = Stream::new("redis://127.0.0.1:1", "unused").expect("a URL");
        let index = Arc::new(Index::new(4, (1, 2)));
        let trust = Duration::from_secs(2);
        let log = Log::in_redis(index, clock, stream, trust, trust);
        assert!(!log.is_trusted(Timestamp(100_000)), "never heard");
        log.heard(Timestamp(100_000));
        for (now, expected) in [
            (100_000, true),
            (102_000, true),
            (102_001, false),
            (98_000, true),
            (97_999, false),
        ] {
            assert_eq!(log.is_trusted(Timestamp(now)), expected, "{now}");
        }
    }
}
