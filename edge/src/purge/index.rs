//! What the purge log says of an entry: small, of fixed size, and read without a lock.
//!
//! For every hashed tag, URL and host it keeps the highest sequence number that named it, in two
//! rows of a fixed table each for hard and soft records; the lower of the two rows counts, so a
//! collision can only purge too much. Prefixes are a short list, `all` is one number.
//!
//! Publishing: one applier at a time (the log holds the mutex) writes the cells first and then
//! moves `head`. A reader loads `head` first; an entry that was found valid at that very `head`
//! is valid still, which is the one load a hit costs. `head` only grows within this process, so
//! it also tells a replaced log from the old one.

mod marks;
mod newest;
mod prefixes;
#[cfg(test)]
mod simulation;
mod table;
mod unrecorded;
mod verdict;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence as barrier};

use tidegate_semantics::{Standing, Timestamp};

pub use marks::Marks;
pub use newest::{Needed, Newest};
pub use verdict::Verdict;

use super::canonical::{AsWritten, Canonical};
use super::lsn::Lsn;
use super::record::{COUNTER_BITS, Mode, Position, Record};
use marks::{Marking, Named};
use prefixes::{Full, Prefixes};
use table::Table;
use unrecorded::Unrecorded;

/// Fewer by this power of two are the cells for what was purged under former logs.
const FEWER: u32 = 2;

/// See the module.
pub struct Index {
    marking: Marking,
    hard: Table,
    soft: Table,
    /// What was purged hard under the logs before this one, in fewer cells.
    former: Table,
    prefixes: Prefixes,
    unrecorded: Unrecorded,
    epoch: AtomicU64,
    seq: AtomicU64,
    floor: AtomicU64,
    head: AtomicU64,
    newest: Newest,
    has_replicas: bool,
}

impl Index {
    /// An empty index with `2^slots` cells a row; 20 is the size for production (36 MiB in all).
    pub fn new(slots: u32, keys: (u64, u64)) -> Index {
        Index {
            marking: Marking::new(keys, Box::new(AsWritten)),
            hard: Table::new(slots),
            soft: Table::new(slots),
            former: Table::new(slots.saturating_sub(FEWER)),
            prefixes: Prefixes::default(),
            unrecorded: Unrecorded::default(),
            epoch: AtomicU64::new(0),
            seq: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            head: AtomicU64::new(1),
            newest: Newest::default(),
            has_replicas: false,
        }
    }

    /// The same index for URLs that are canonical by these rules.
    pub fn with_urls(self, urls: Box<dyn Canonical>) -> Index {
        let marking = self.marking.with_urls(urls);
        Index { marking, ..self }
    }

    /// The same index, where an origin may read from replicas.
    pub fn with_replicas(self, has_replicas: bool) -> Index {
        Index {
            has_replicas,
            ..self
        }
    }

    /// Records that somebody ordered who knows nothing of the database's positions: where an origin
    /// reads from replicas, nobody can tell which of them are far enough.
    pub fn ordered(&self, records: &[Record]) -> Vec<Record> {
        let is_unknown = |record: &Record| self.has_replicas && record.lsn.is_none();
        let stamped = records.iter().cloned().map(|record| match record {
            record if is_unknown(&record) => record.with_lsn(Lsn::PRIMARY),
            record => record,
        });
        stamped.collect()
    }

    /// The URL by which `url` is known here.
    pub fn canonical<'a>(&self, url: &'a str) -> Cow<'a, str> {
        self.marking.canonical(url)
    }

    /// The marks of an entry with this URL and these tags.
    pub fn marks<'a>(&self, url: &str, tags: impl IntoIterator<Item = &'a str>) -> Marks {
        self.marking.marks(url, tags)
    }

    /// Judges an entry fetched at `fence`. `checked` is where the entry remembers the `head` at
    /// which it was last found untouched.
    pub fn judge(&self, marks: &Marks, fence: Position, checked: &AtomicU64) -> Verdict {
        let head = self.head.load(Ordering::Acquire);
        if checked.load(Ordering::Relaxed) == head {
            return Verdict::Usable(Standing::Valid);
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let below_floor = fence.epoch != epoch || fence.seq < self.floor.load(Ordering::Acquire);
        // Looked at first: a record is applied before it stops being unrecorded.
        let is_unrecorded = self.is_unrecorded(marks);
        let (hard, soft) = self.latest(marks);
        let is_purged = if fence.epoch == epoch {
            hard > fence.seq
        } else {
            // Numbers of two logs are not compared, but what was fetched under another one is older
            // than every record of this, or of no use here.
            hard > 0 || self.purged_before(marks) > fence.seq
        };
        if is_purged || is_unrecorded {
            return Verdict::Purged;
        }
        // A log that was replaced while we read has cleared what we read: look at its name last.
        barrier(Ordering::Acquire);
        if below_floor || self.epoch.load(Ordering::Relaxed) != epoch {
            return Verdict::Usable(Standing::BelowFloor);
        }
        if soft > fence.seq {
            return Verdict::Usable(Standing::SoftPurged(Timestamp(soft >> COUNTER_BITS)));
        }
        checked.store(head, Ordering::Relaxed);
        Verdict::Usable(Standing::Valid)
    }

    /// The same for marks that nothing is remembered of.
    pub fn judge_anew(&self, marks: &Marks, fence: Position) -> Verdict {
        // No head is zero.
        self.judge(marks, fence, &AtomicU64::new(0))
    }

    /// Whether any record after `fence` matches, hard or soft, or the log is another one.
    pub fn has_matched_since(&self, marks: &Marks, fence: Position) -> bool {
        // In the order of `judge`, for its reasons.
        let (hard, soft) = self.latest(marks);
        let is_below_floor = fence.seq < self.floor.load(Ordering::Acquire);
        barrier(Ordering::Acquire);
        fence.epoch != self.epoch.load(Ordering::Relaxed)
            || is_below_floor
            || hard.max(soft) > fence.seq
    }

    /// The position of the last record that matches, hard or soft: nothing that was fetched before it
    /// is fresh. Zero where there is none.
    pub fn last_match(&self, marks: &Marks) -> Position {
        let epoch = self.epoch.load(Ordering::Acquire);
        let (hard, soft) = self.latest(marks);
        barrier(Ordering::Acquire);
        // Numbers of one log mean nothing in another.
        let is_same = self.epoch.load(Ordering::Relaxed) == epoch;
        let seq = if is_same { hard.max(soft) } else { 0 };
        Position { epoch, seq }
    }

    /// How many orders match that the log does not have yet. They have no position: what was
    /// fetched before one of them and what after cannot be told apart by a fence.
    pub fn unrecorded_orders(&self, marks: &Marks) -> u64 {
        self.unrecorded.count(|record| self.matches(record, marks))
    }

    /// How far the database had got by the newest record applied.
    pub fn newest(&self) -> &Newest {
        &self.newest
    }

    /// Enters a record. The caller is the one applier, and applies in log order.
    pub fn apply(&self, position: Position, record: &Record) {
        // First: who finds the record applied asks the origin for what it is about.
        if let Some(lsn) = record.lsn {
            self.newest.raise(lsn);
        }
        let table = self.table(record.mode);
        match self.marking.named(&record.scope) {
            Named::All(hash) | Named::Hash(hash) => table.raise(hash, position.seq),
            Named::Prefix(prefix) => {
                let entered = self.prefixes.raise(&prefix, record.mode, position.seq);
                if let Err(Full) = entered {
                    table.raise(self.marking.beyond(&prefix), position.seq);
                }
            }
        }
        self.advance(position);
    }

    /// The log was founded here: what it takes the place of may have said more of the database
    /// than anybody remembers.
    pub fn found(&self, position: Position) {
        self.newest.doubt();
        self.advance(position);
    }

    fn advance(&self, position: Position) {
        self.seq.store(position.seq, Ordering::Release);
        self.publish();
    }

    /// Begins another log: what was fetched under the old one is below the floor from now on.
    pub fn begin_epoch(&self, start: Position) {
        self.begin_epoch_above(start, start.seq);
    }

    /// As [`Index::begin_epoch`], with a floor that is not where the log starts.
    pub fn begin_epoch_above(&self, start: Position, floor: u64) {
        self.newest.doubt();
        // What was purged stays so, whatever the log is called.
        self.former.absorb(&self.hard);
        for (prefix, seq) in self.prefixes.hard() {
            self.former.raise(self.marking.beyond(&prefix), seq);
        }
        // Everything is below the floor while the tables belong to neither log.
        self.floor.store(u64::MAX, Ordering::Relaxed);
        self.epoch.store(start.epoch, Ordering::Release);
        // Who reads a cell that is cleared below finds the new name afterwards.
        barrier(Ordering::Release);
        self.hard.clear();
        self.soft.clear();
        self.prefixes.clear();
        self.floor.store(floor, Ordering::Release);
        self.advance(start);
    }

    /// Records up to `seq` may have been missed: entries fetched before it are below the floor.
    pub fn raise_floor(&self, seq: u64) {
        self.newest.doubt();
        self.floor.fetch_max(seq, Ordering::AcqRel);
        self.publish();
    }

    /// What matches `records` is purged here until [`Index::recorded`] is told of each. Too many
    /// become one for everything.
    pub fn apply_unrecorded(&self, records: &[Record]) {
        for lsn in records.iter().filter_map(|record| record.lsn) {
            self.newest.raise(lsn);
        }
        self.unrecorded.add(records);
        self.publish();
    }

    /// The records that are in force here alone, and how often each was ordered.
    pub fn unrecorded(&self) -> Arc<HashMap<Record, u64>> {
        self.unrecorded.all()
    }

    /// The log has these now, and they were applied at their positions. What was ordered since
    /// [`Index::unrecorded`] returned them stays in force: it may be newer than those positions.
    pub fn recorded(&self, recorded: &HashMap<Record, u64>) {
        self.unrecorded.remove(recorded);
        self.publish();
    }

    /// The last position applied. Only the applier may rely on its two halves belonging together.
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch.load(Ordering::Acquire),
            seq: self.seq.load(Ordering::Acquire),
        }
    }

    /// How often anything changed. Two readings that differ by what was appended in between say
    /// that nothing else was applied.
    pub fn changes(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    fn publish(&self) {
        self.head.fetch_add(1, Ordering::Release);
    }

    fn is_unrecorded(&self, marks: &Marks) -> bool {
        self.unrecorded.any(|record| self.matches(record, marks))
    }

    fn matches(&self, record: &Record, marks: &Marks) -> bool {
        self.marking.named(&record.scope).matches(marks)
    }

    fn table(&self, mode: Mode) -> &Table {
        match mode {
            Mode::Hard => &self.hard,
            Mode::Soft => &self.soft,
        }
    }

    /// The highest number under which one of these names was purged hard in a former log.
    fn purged_before(&self, marks: &Marks) -> u64 {
        let hashes = self.marking.hashes(marks);
        let former = hashes.map(|hash| self.former.highest(hash));
        former.max().unwrap_or(0)
    }

    /// The numbers of the last records that match, hard and soft; 0 where there is none.
    fn latest(&self, marks: &Marks) -> (u64, u64) {
        let (mut hard, mut soft) = (0, 0);
        for hash in self.marking.hashes(marks) {
            hard = hard.max(self.hard.highest(hash));
            soft = soft.max(self.soft.highest(hash));
        }
        let (of_prefixes_hard, of_prefixes_soft) = self.prefixes.highest(marks.url_bytes());
        (hard.max(of_prefixes_hard), soft.max(of_prefixes_soft))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::record::Scope;

    const EPOCH: u64 = 7;

    pub(super) fn index() -> Index {
        let index = Index::new(10, (1, 2));
        index.begin_epoch(at(10));
        index
    }

    pub(super) fn at(seq: u64) -> Position {
        Position { epoch: EPOCH, seq }
    }

    pub(super) fn judged(index: &Index, fence: Position) -> Verdict {
        let marks = index.marks("example.org/a/b?c", ["red", "blue"]);
        index.judge(&marks, fence, &AtomicU64::new(0))
    }

    #[test]
    fn a_later_record_of_any_scope_purges_what_it_names() {
        for (scope, names_it) in [
            (Scope::Url("example.org/a/b?c".to_owned()), true),
            (Scope::Url("example.org/a/b".to_owned()), false),
            (Scope::Tag("blue".to_owned()), true),
            (Scope::Tag("example.org".to_owned()), false),
            (Scope::Host("example.org".to_owned()), true),
            (Scope::Host("red".to_owned()), false),
            (Scope::Prefix("example.org/a/".to_owned()), true),
            (Scope::Prefix("example.org/b".to_owned()), false),
            (Scope::All, true),
        ] {
            let index = index();
            index.apply(at(20), &Record::hard(scope.clone()));
            let expected = if names_it {
                Verdict::Purged
            } else {
                Verdict::Usable(Standing::Valid)
            };
            assert_eq!(
                judged(&index, at(19)),
                expected,
                "{scope:?} after the fence"
            );
            let valid = Verdict::Usable(Standing::Valid);
            assert_eq!(
                judged(&index, at(20)),
                valid,
                "{scope:?} not after the fence"
            );
        }
    }

    /// Queries make no difference.
    struct WithoutQueries;

    impl Canonical for WithoutQueries {
        fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
            Cow::Borrowed(url.split('?').next().unwrap_or(url))
        }

        fn prefix<'a>(&self, prefix: &'a str) -> Cow<'a, str> {
            self.url(prefix)
        }
    }

    #[test]
    fn a_record_is_canonical_where_it_is_applied_recorded_or_not() {
        for (scope, names_it) in [
            (Scope::Url("example.org/a/b?other".to_owned()), true),
            (Scope::Url("example.org/a/b".to_owned()), true),
            (Scope::Url("example.org/a?c".to_owned()), false),
            (Scope::Prefix("example.org/a/b?d".to_owned()), true),
            (Scope::Prefix("example.org/b?c".to_owned()), false),
        ] {
            let record = Record::hard(scope);
            let index = index().with_urls(Box::new(WithoutQueries));
            index.apply_unrecorded(std::slice::from_ref(&record));
            let is_purged = |fence| judged(&index, at(fence)) == Verdict::Purged;
            assert_eq!(is_purged(1 << 60), names_it, "{record:?}, unrecorded");
            assert!(
                index.unrecorded().contains_key(&record),
                "as it was ordered"
            );
            index.apply(at(20), &record);
            index.recorded(&index.unrecorded());
            assert_eq!(is_purged(19), names_it, "{record:?}, recorded");
            assert!(!is_purged(20), "{record:?}");
        }
    }

    #[test]
    fn a_soft_record_makes_stale_from_its_own_time_and_is_asked_for_again() {
        let index = index();
        let seq = 5_000 << COUNTER_BITS;
        let soft = Record::new(Scope::Tag("red".to_owned()), Mode::Soft);
        index.apply(at(seq), &soft);
        let stale = Verdict::Usable(Standing::SoftPurged(Timestamp(5_000)));
        let marks = index.marks("example.org/", ["red"]);
        let checked = AtomicU64::new(0);
        assert_eq!(index.judge(&marks, at(20), &checked), stale);
        assert_eq!(index.judge(&marks, at(20), &checked), stale);
        index.apply(at(seq + 1), &Record::hard(Scope::Tag("red".to_owned())));
        assert_eq!(index.judge(&marks, at(20), &checked), Verdict::Purged);
    }

    #[test]
    fn another_log_and_a_raised_floor_put_what_is_older_below_the_floor() {
        let below = Verdict::Usable(Standing::BelowFloor);
        let index = index();
        assert_eq!(judged(&index, at(9)), below);
        index.raise_floor(30);
        assert_eq!(judged(&index, at(29)), below);
        assert_eq!(judged(&index, at(30)), Verdict::Usable(Standing::Valid));
        // The same position in another log is another position.
        index.begin_epoch(Position { epoch: 8, seq: 0 });
        assert_eq!(judged(&index, at(30)), below);
    }

    #[test]
    fn what_was_found_valid_is_judged_again_after_every_change() {
        let index = index();
        let marks = index.marks("example.org/", ["red"]);
        let checked = AtomicU64::new(0);
        let valid = Verdict::Usable(Standing::Valid);
        assert_eq!(index.judge(&marks, at(10), &checked), valid);
        index.apply(at(11), &Record::hard(Scope::Tag("green".to_owned())));
        assert_eq!(index.judge(&marks, at(10), &checked), valid);
        index.apply(at(12), &Record::hard(Scope::Tag("red".to_owned())));
        assert_eq!(index.judge(&marks, at(10), &checked), Verdict::Purged);
    }
}
