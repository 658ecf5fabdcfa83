//! The log as the rest of the edge uses it: read the fence, append, and know whether to trust it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_semantics::Timestamp;
use tokio::sync::{Notify, watch};

use super::index::Index;
use super::record::{COUNTER_BITS, Position, Record};
use super::stream::{AppendError, Stream};
use crate::clock::Clock;

/// The pause before an append is tried again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
    /// When the log was last heard, in milliseconds; only followers move it.
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
    /// A counter in this process: alone, there is nobody to agree with.
    Here,
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
            epoch: 1,
            seq: clock.now().0 << COUNTER_BITS,
        };
        index.begin_epoch(start);
        Log::new(
            index,
            clock,
            Kept::Here,
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
            Kept::Here => true,
            Kept::InRedis(_) => {
                let heard = Timestamp(self.shared.heard.load(Ordering::Acquire));
                heard.0 != 0 && now.since(heard) <= self.shared.trust
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
            Kept::Here => return Ok(self.append_here(records)),
            Kept::InRedis(stream) => stream,
        };
        let deadline = self.shared.deadline;
        let appended = tokio::time::timeout(deadline, self.append_until_applied(stream, records))
            .await
            .unwrap_or(Err(AppendError::Deadline(deadline)));
        appended.map_err(|error| {
            tracing::warn!(%error, records = records.len(), "purge applied here, not recorded");
            self.shared.index.apply_unrecorded(records);
            self.shared.has_unrecorded.notify_one();
            NotRecorded(error)
        })
    }

    /// Appends what could not be recorded, again and again, for as long as the edge runs: one for
    /// all of them, so that an hour without the log leaves no more work than there are records.
    pub(super) async fn append_unrecorded(&self) {
        let Kept::InRedis(stream) = &self.shared.kept else {
            return;
        };
        let mut pause = FIRST_PAUSE;
        loop {
            if self.shared.index.unrecorded().is_empty() {
                self.shared.has_unrecorded.notified().await;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = match self.append_all_unrecorded(stream).await {
                Ok(()) => FIRST_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, "purges still not recorded");
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
        }
    }

    async fn append_all_unrecorded(&self, stream: &Stream) -> Result<(), AppendError> {
        let unrecorded = self.shared.index.unrecorded();
        let records: Vec<_> = unrecorded.keys().cloned().collect();
        // However long they take to come back: they are in the log, and in force here.
        self.append_until_applied(stream, &records).await?;
        self.shared.index.recorded(&unrecorded);
        tracing::info!(records = records.len(), "purges recorded");
        Ok(())
    }

    /// Appends, and waits until that is applied here. Where another log is taken up meanwhile, which
    /// may not have the records, they are appended again: invalidations repeat and commute.
    async fn append_until_applied(
        &self,
        stream: &Stream,
        records: &[Record],
    ) -> Result<Position, AppendError> {
        let deadline = self.shared.deadline;
        loop {
            let before = self.fence();
            let position = tokio::time::timeout(deadline, stream.append(records))
                .await
                .map_err(|_| AppendError::Deadline(deadline))??;
            let mut applied = self.shared.applied.subscribe();
            let followed = applied.borrow().epoch;
            let way = |now: Position| Way::to(position, before, followed, now);
            // The sender lives as long as `self`.
            let now = applied.wait_for(|now| way(*now) != Way::Going).await;
            if now.map_or(Way::Arrived, |now| way(*now)) == Way::Arrived {
                return Ok(position);
            }
        }
    }

    fn append_here(&self, records: &[Record]) -> Position {
        let shared = &self.shared;
        shared.applied.send_modify(|position| {
            for record in records {
                position.seq = (shared.clock.now().0 << COUNTER_BITS).max(position.seq + 1);
                shared.index.apply(*position, record);
            }
        });
        *shared.applied.borrow()
    }

    /// The log was heard: also when it had nothing to say.
    pub(super) fn heard(&self) {
        let now = self.shared.clock.now().0;
        self.shared.heard.store(now.max(1), Ordering::Release);
    }

    /// Applies what the follower read, in log order. `None` is the record that founds a log.
    pub(super) fn apply(&self, position: Position, record: Option<&Record>) {
        self.shared.applied.send_modify(|applied| {
            match record {
                Some(record) => self.shared.index.apply(position, record),
                None => self.shared.index.advance(position),
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
            Kept::Here => None,
            Kept::InRedis(stream) => Some(stream),
        }
    }
}

/// How far the follower is on its way to what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Going,
    Arrived,
    /// It has taken up a log that may not have it.
    Lost,
}

impl Way {
    /// `before` was applied before the append, the log `followed` is the one when it was done.
    fn to(position: Position, before: Position, followed: u64, now: Position) -> Way {
        if now.epoch != position.epoch {
            return if now.epoch == followed {
                Way::Going
            } else {
                Way::Lost
            };
        }
        // A tail was lost, and its ids are given out again: what was applied here under that number
        // was another record. The follower will find a new log, or the deadline passes.
        let is_behind = position.epoch == before.epoch && position.seq <= before.seq;
        if now.seq >= position.seq && !is_behind {
            Way::Arrived
        } else {
            Way::Going
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, Way};

    #[test]
    fn an_append_is_applied_when_its_own_log_has_got_there() {
        use Way::{Arrived, Going, Lost};
        for (now, before, followed, appended, expected, reason) in [
            ((1, 9), (1, 5), 1, (1, 9), Arrived, "its own position"),
            ((1, 8), (1, 5), 1, (1, 9), Going, "not yet"),
            (
                (1, 99),
                (1, 5),
                1,
                (2, 9),
                Going,
                "the new log is not followed yet",
            ),
            (
                (2, 8),
                (1, 5),
                1,
                (2, 9),
                Going,
                "the new log is still read",
            ),
            ((2, 9), (1, 5), 1, (2, 9), Arrived, "the new log was read"),
            ((0, 0), (0, 0), 0, (1, 9), Going, "no log is followed yet"),
            (
                (1, 7),
                (1, 7),
                1,
                (1, 7),
                Going,
                "the number of another record",
            ),
            (
                (1, 9),
                (1, 9),
                1,
                (1, 7),
                Going,
                "the number of one that was lost",
            ),
            (
                (2, 9),
                (1, 9),
                1,
                (1, 7),
                Lost,
                "the log that followed such a loss",
            ),
            (
                (3, 0),
                (1, 5),
                1,
                (1, 9),
                Lost,
                "the log was replaced after the append",
            ),
            (
                (2, 0),
                (1, 5),
                2,
                (3, 9),
                Going,
                "replaced before it, and once more",
            ),
            ((3, 9), (1, 5), 2, (3, 9), Arrived, "and that log was read"),
        ] {
            let at = |(epoch, seq)| Position { epoch, seq };
            let way = Way::to(at(appended), at(before), followed, at(now));
            assert_eq!(way, expected, "{reason}");
        }
    }
}
