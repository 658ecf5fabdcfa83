//! Follows the log that is kept in Redis, for as long as the edge runs.
//!
//! The follower reads from its own position. What it cannot have seen raises the floor before
//! anything newer is applied: an entry whose `previous` is not our position (trimmed, or a tail
//! lost in a fail-over). A stream that restarts with lower ids would leave a blocked read silent,
//! so a read that brought nothing looks at the last entry too.
//!
//! Who finds that a tail was lost founds another log: those who never saw that tail cannot tell, and
//! what it purged is still fresh to them.
//!
//! A word of the log is as old as the question: the answer may have waited for a machine that was
//! suspended.
//!
//! The last entry of the stream alone says which log is followed. The stream is read from its first
//! entry whenever that changes, and entries of the logs before it are passed over.
//!
//! Whether that is still the log that was read is what [`Continuity`] remembers; where it is not, the
//! log is gone on with under another name.

use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tidegate_semantics::Timestamp;
use tokio::sync::watch;

use super::Log;
use super::continuity::Continuity;
use super::entry::Entry;
use super::stream::{AppendError, BATCH, ReadError, Stream};
use crate::purge::record::Position;

/// How long one read waits; also how often a silent log is looked after.
const BLOCK: Duration = Duration::from_millis(250);
/// Added to [`BLOCK`] until a read is given up: a stopped server keeps its connections open.
const PATIENCE: Duration = Duration::from_millis(500);

/// The pause before the log is looked for again.
const RETRY: Duration = Duration::from_millis(200);

/// Whether the edge has caught up with the log at least once.
pub type Followed = watch::Receiver<bool>;

/// Starts following on the current runtime, once `joined` says that the edge was put on the roll
/// or that this cannot be done now: a purge is then either waited for here, or read here before
/// anything is served.
pub fn follow(log: Log, mut joined: watch::Receiver<bool>) -> Followed {
    let (caught_up, followed) = watch::channel(false);
    let unrecorded = log.clone();
    tokio::spawn(async move { unrecorded.append_unrecorded().await });
    tokio::spawn(async move {
        let Some(stream) = log.stream() else {
            caught_up.send_replace(true);
            return;
        };
        // Whoever would have joined has told if it ends.
        let _ = joined.wait_for(|joined| *joined).await;
        let mut follower = Follower {
            log: &log,
            stream,
            continuity: Continuity::default(),
            caught_up: &caught_up,
            is_told: false,
        };
        loop {
            let error = follower.run().await;
            if !std::mem::replace(&mut follower.is_told, true) {
                tracing::warn!(%error, "no word from the purge log, trying again");
            }
            tokio::time::sleep(RETRY).await;
        }
    });
    followed
}

struct Follower<'a> {
    log: &'a Log,
    stream: &'a Stream,
    continuity: Continuity,
    caught_up: &'a watch::Sender<bool>,
    /// Said that the log is lost; until it is heard again, everybody knows.
    is_told: bool,
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("no answer within {0:?}")]
    Silent(Duration),
}

impl Follower<'_> {
    /// Follows until the connection is lost.
    async fn run(&mut self) -> Lost {
        match self.follow().await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Lost> {
        let mut connection = within(self.stream.connect()).await?;
        let server = within(self.stream.server(&mut connection)).await?;
        self.check_last(&mut connection, &server).await?;
        loop {
            // The answer is as old as the question may be: the machine may sleep in between.
            let asked_at = self.log.now();
            let read = self
                .stream
                .read(&mut connection, self.continuity.read_to(), BLOCK);
            let entries = within(read).await?;
            let epoch = self.log.fence().epoch;
            let are_ours = entries.iter().all(|entry| entry.may_be_of(epoch));
            if (entries.is_empty() || !are_ours)
                && self.check_last(&mut connection, &server).await? == Last::Another
            {
                continue;
            }
            for entry in &entries {
                self.apply(entry);
            }
            let is_all = entries.len() < BATCH;
            if is_all {
                self.continuity.read_all();
            }
            if self.continuity.has_lost_tail()
                && self.check_last(&mut connection, &server).await? == Last::Another
            {
                continue;
            }
            if is_all {
                self.caught_up(asked_at);
            }
        }
    }

    /// Nothing more was there at `asked_at`.
    fn caught_up(&mut self, asked_at: Timestamp) {
        self.log.heard(asked_at);
        self.is_told = false;
        if self
            .caught_up
            .send_if_modified(|done| !std::mem::replace(done, true))
        {
            tracing::info!(position = %self.log.fence(), "caught up with the purge log");
        }
    }

    /// Makes sure that we follow the log that stands last in the stream, and founds one where there
    /// is none. `server` is the one that is asked.
    async fn check_last(
        &mut self,
        connection: &mut MultiplexedConnection,
        server: &Option<String>,
    ) -> Result<Last, Lost> {
        let ours = self.log.fence();
        let epoch = ours.epoch;
        let after = self.continuity.lost_from(ours);
        loop {
            let mut last = match within(self.stream.last(connection)).await? {
                // A tail was lost, or may have been, and its ids will be given out again: that must
                // be another log.
                Some(last)
                    if last.may_be_of(epoch) && self.continuity.is_broken(last.seq, server) =>
                {
                    within(self.stream.refound(last.seq, after)).await?
                }
                Some(Entry {
                    seq,
                    place: Some(place),
                    ..
                }) => Position {
                    epoch: place.epoch,
                    seq,
                },
                // Nobody has written yet, everything was lost, or the last one to write was none of
                // us: appending nothing finds the log, or founds it.
                _ => within(self.stream.found(after)).await?,
            };
            if self.continuity.is_former(last.epoch) {
                last = within(self.stream.refound(last.seq, after)).await?;
            }
            if last.epoch != epoch && !self.continuity.is_former(last.epoch) {
                // Those who follow this log may have begun before our last record, which is not in
                // their stream.
                if ours.seq != 0 && !within(self.stream.holds(connection, ours)).await? {
                    self.continuity.left(ours);
                }
                self.begin(last);
                self.continuity.follow_on(server);
                return Ok(Last::Another);
            }
            if last.epoch == epoch && !self.continuity.is_broken(last.seq, server) {
                self.continuity.follow_on(server);
                return Ok(Last::Ours);
            }
        }
    }

    /// Takes up the log that ends with `last`, from its first retained entry on.
    fn begin(&mut self, last: Position) {
        tracing::info!(
            epoch = format_args!("{:016x}", last.epoch),
            "following a purge log"
        );
        // An edge that serves already knows nothing of what the new log says until it has read it,
        // and the regional tier may hold entries fetched under it: they are asked for again.
        let is_serving = *self.caught_up.borrow();
        let floor = if is_serving { last.seq } else { 0 };
        self.continuity.begin(self.log.fence().epoch);
        self.log.begin_epoch(last.epoch, floor);
    }

    fn apply(&mut self, entry: &Entry) {
        self.continuity.read(entry.seq);
        let ours = self.log.fence();
        if let Some(place) = entry.place {
            if place.epoch != ours.epoch {
                // A log that stood in the stream before the one we follow.
                return;
            }
            if let Some(after) = entry.after {
                self.continuity.comes_after(after);
            }
            if place.previous != ours.seq {
                // One that stands behind us tells of a lost tail, whose ids were given out again
                // until this one.
                let missed = if place.previous > ours.seq {
                    place.previous
                } else {
                    // No entry but the first of a log is said to stand behind nothing.
                    if place.previous != 0 {
                        self.continuity.lost_tail(ours);
                    }
                    entry.seq
                };
                tracing::info!(missed_up_to = missed, "missed part of the purge log");
                self.log.raise_floor(missed);
            }
        }
        let position = Position {
            epoch: ours.epoch,
            seq: entry.seq,
        };
        self.log.apply(position, entry.record.as_ref());
    }
}

/// Which log the last entry of the stream belongs to.
#[derive(PartialEq, Eq)]
enum Last {
    Ours,
    /// One that was taken up just now, and has to be read.
    Another,
}

async fn within<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Lost>
where
    Lost: From<E>,
{
    let limit = BLOCK + PATIENCE;
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| Lost::Silent(limit))?
        .map_err(Lost::from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use tidegate_semantics::Standing;

    use super::super::entry::Place;
    use super::*;
    use crate::clock::Clock;
    use crate::purge::index::{Index, Verdict};
    use crate::purge::record::{Record, Scope};

    const BELOW: Verdict = Verdict::Usable(Standing::BelowFloor);
    const VALID: Verdict = Verdict::Usable(Standing::Valid);

    fn log() -> Log {
        let stream = Stream::new("redis://127.0.0.1:1", "unused").expect("a URL");
        let index = Arc::new(Index::new(8, (1, 2)));
        let clock = Clock::manual(Timestamp(1));
        Log::in_redis(index, clock, stream, Duration::MAX, Duration::MAX)
    }

    fn follower<'a>(log: &'a Log, caught_up: &'a watch::Sender<bool>) -> Follower<'a> {
        Follower {
            log,
            stream: log.stream().expect("a stream"),
            continuity: Continuity::default(),
            caught_up,
            is_told: false,
        }
    }

    fn entry(epoch: u64, previous: u64, seq: u64, tag: Option<&str>) -> Entry {
        let record = tag.map(|tag| Record::hard(Scope::Tag(tag.to_owned())));
        let place = Some(Place { epoch, previous });
        Entry {
            seq,
            place,
            record,
            after: None,
        }
    }

    fn judged(log: &Log, epoch: u64, seq: u64) -> Verdict {
        let marks = log.index().marks("example.org/", ["red"]);
        let fence = Position { epoch, seq };
        log.index().judge(&marks, fence, &AtomicU64::new(0))
    }

    #[test]
    fn a_log_before_the_one_that_is_followed_is_passed_over() {
        let log = log();
        for is_serving in [false, true] {
            let caught_up = watch::Sender::new(is_serving);
            let mut follower = follower(&log, &caught_up);
            follower.continuity.read(77);
            follower.begin(Position { epoch: 2, seq: 60 });
            assert_eq!(follower.continuity.read_to(), 0, "from the first entry on");
            for older in [
                entry(1, 0, 10, None),
                entry(1, 10, 20, Some("blue")),
                entry(1, 20, 30, Some("red")),
            ] {
                follower.apply(&older);
                assert_eq!(follower.continuity.read_to(), older.seq);
                assert_eq!(log.fence(), Position { epoch: 2, seq: 0 });
                assert_ne!(judged(&log, 1, 15), VALID, "never alive again");
                assert_ne!(judged(&log, 1, 35), VALID);
            }
            // What another edge fetched under the new log may be purged by what we have not read.
            let unread = if is_serving { BELOW } else { VALID };
            assert_eq!(judged(&log, 2, 45), unread, "serving: {is_serving}");
            follower.apply(&entry(2, 0, 40, None));
            follower.apply(&entry(2, 40, 50, Some("red")));
            follower.apply(&entry(2, 50, 60, Some("blue")));
            assert_eq!(log.fence(), Position { epoch: 2, seq: 60 });
            assert_eq!(judged(&log, 2, 45), Verdict::Purged);
            assert_eq!(judged(&log, 2, 60), VALID, "no entry was missed");
        }
    }

    #[test]
    fn what_was_missed_puts_what_is_older_below_the_floor() {
        for (previous, fence, expected, reason) in [
            (20, 20, VALID, "nothing was missed"),
            (30, 29, BELOW, "missed up to there"),
            (30, 30, VALID, "fetched after what was missed"),
            (10, 20, BELOW, "ids of a lost tail were given out again"),
            (10, 40, VALID, "fetched after that"),
        ] {
            let log = log();
            let caught_up = watch::Sender::new(false);
            let mut follower = follower(&log, &caught_up);
            follower.begin(Position { epoch: 1, seq: 20 });
            follower.apply(&entry(1, 0, 20, None));
            follower.apply(&entry(1, previous, 40, Some("blue")));
            assert_eq!(judged(&log, 1, fence), expected, "{reason}");
        }
    }

    #[test]
    fn what_is_no_entry_of_any_log_is_applied_where_it_stands() {
        let log = log();
        let caught_up = watch::Sender::new(true);
        let mut follower = follower(&log, &caught_up);
        follower.begin(Position { epoch: 1, seq: 10 });
        follower.apply(&entry(1, 0, 10, None));
        follower.apply(&Entry {
            seq: 20,
            place: None,
            record: Some(Record::hard(Scope::All)),
            after: None,
        });
        follower.apply(&entry(1, 20, 30, None));
        assert_eq!(judged(&log, 1, 19), Verdict::Purged);
        assert_eq!(judged(&log, 1, 20), VALID);
    }
}
