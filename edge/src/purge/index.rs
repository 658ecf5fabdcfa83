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

mod newest;
#[cfg(test)]
mod simulation;
mod table;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence as barrier};

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher13;
use tidegate_semantics::{Standing, Timestamp};

pub use newest::{Needed, Newest};

use super::canonical::{AsWritten, Canonical};
use super::lsn::Lsn;
use super::record::{COUNTER_BITS, Mode, Position, Record, Scope, host_of};
use table::Table;

/// Prefixes kept; the next one becomes a purge of its host.
const MAX_PREFIXES: usize = 256;
/// Records kept that could not be written to the log; one more becomes `all`.
const MAX_UNRECORDED: usize = 256;

/// What an entry is called in the log: its URL, its host and its tags, hashed.
#[derive(Clone, Debug)]
pub struct Marks {
    url: Box<str>,
    hashes: Box<[u64]>,
}

impl Marks {
    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.url.len() + self.hashes.len() * size_of::<u64>()
    }

    /// `authority/path?query`, canonical.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// What the log says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be used as `Standing` allows.
    Usable(Standing),
    /// A hard record after its fence matches: it is gone.
    Purged,
}

impl Verdict {
    /// What two verdicts on one entry come to.
    pub fn and(self, other: Verdict) -> Verdict {
        use Standing::{BelowFloor, SoftPurged, Valid};
        match (self, other) {
            (Verdict::Purged, _) | (_, Verdict::Purged) => Verdict::Purged,
            (Verdict::Usable(one), Verdict::Usable(other)) => Verdict::Usable(match (one, other) {
                (BelowFloor, _) | (_, BelowFloor) => BelowFloor,
                (SoftPurged(one), SoftPurged(other)) => SoftPurged(one.max(other)),
                (Valid, standing) | (standing, Valid) => standing,
            }),
        }
    }
}

/// See the module.
pub struct Index {
    keys: (u64, u64),
    urls: Box<dyn Canonical>,
    hard: Table,
    soft: Table,
    prefixes: ArcSwap<Vec<Prefix>>,
    unrecorded: ArcSwap<HashMap<Record, u64>>,
    epoch: AtomicU64,
    seq: AtomicU64,
    floor: AtomicU64,
    head: AtomicU64,
    newest: Newest,
    has_replicas: bool,
}

struct Prefix {
    url: String,
    hard: u64,
    soft: u64,
}

impl Index {
    /// An empty index with `2^slots` cells a row; 20 is the size for production (32 MiB in all).
    pub fn new(slots: u32, keys: (u64, u64)) -> Index {
        Index {
            keys,
            urls: Box::new(AsWritten),
            hard: Table::new(slots),
            soft: Table::new(slots),
            prefixes: ArcSwap::default(),
            unrecorded: ArcSwap::default(),
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
        Index { urls, ..self }
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
        self.urls.url(url)
    }

    /// The marks of an entry with this URL and these tags.
    pub fn marks<'a>(&self, url: &str, tags: impl IntoIterator<Item = &'a str>) -> Marks {
        let url = self.canonical(url);
        let own = [
            self.hash(Kind::Url, &url),
            self.hash(Kind::Host, host_of(&url)),
            self.hash(Kind::All, ""),
        ];
        let tags = tags.into_iter().map(|tag| self.hash(Kind::Tag, tag));
        Marks {
            url: url.into(),
            hashes: own.into_iter().chain(tags).collect(),
        }
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
        if fence.epoch == epoch && hard > fence.seq || is_unrecorded {
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
        let unrecorded = self.unrecorded.load();
        let matching = unrecorded
            .iter()
            .filter(|(record, _)| self.matches(record, marks));
        matching.map(|(_, orders)| orders).sum()
    }

    /// How far the database had got by the newest record applied.
    pub fn newest(&self) -> &Newest {
        &self.newest
    }

    /// Enters a record. The caller is the one applier, and applies in log order.
    pub fn apply(&self, position: Position, record: &Record) {
        // First: who finds the record applied asks the origin for what it is about.
        if let Some(lsn) = record.lsn {
            self.newest.raise(lsn, position.seq);
        }
        let table = match record.mode {
            Mode::Hard => &self.hard,
            Mode::Soft => &self.soft,
        };
        match &record.scope {
            Scope::Url(url) => table.raise(self.url_hash(url), position.seq),
            Scope::Tag(tag) => table.raise(self.hash(Kind::Tag, tag), position.seq),
            Scope::Host(host) => table.raise(self.hash(Kind::Host, host), position.seq),
            Scope::All => table.raise(self.hash(Kind::All, ""), position.seq),
            Scope::Prefix(prefix) => {
                self.apply_prefix(&self.urls.prefix(prefix), record.mode, position.seq);
            }
        }
        self.advance(position);
    }

    /// The log was founded here: what it takes the place of may have said more of the database
    /// than anybody remembers.
    pub fn found(&self, position: Position) {
        self.newest.doubt(position.seq);
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
        self.newest.begin(start.seq);
        // Everything is below the floor while the tables belong to neither log.
        self.floor.store(u64::MAX, Ordering::Relaxed);
        self.epoch.store(start.epoch, Ordering::Release);
        // Who reads a cell that is cleared below finds the new name afterwards.
        barrier(Ordering::Release);
        self.hard.clear();
        self.soft.clear();
        self.prefixes.store(Default::default());
        self.floor.store(floor, Ordering::Release);
        self.advance(start);
    }

    /// Records up to `seq` may have been missed: entries fetched before it are below the floor.
    pub fn raise_floor(&self, seq: u64) {
        self.newest.doubt(seq);
        self.floor.fetch_max(seq, Ordering::AcqRel);
        self.publish();
    }

    /// What matches `records` is purged here until [`Index::recorded`] is told of each. Too many
    /// become one for everything.
    pub fn apply_unrecorded(&self, records: &[Record]) {
        let seq = self.seq.load(Ordering::Acquire);
        for lsn in records.iter().filter_map(|record| record.lsn) {
            self.newest.raise(lsn, seq);
        }
        let records: Vec<Record> = records.iter().map(Record::postponed).collect();
        self.change_unrecorded(|all| {
            let new = records.iter().filter(|record| !all.contains_key(record));
            let everything = [Record::hard(Scope::All).with_lsn(Lsn::PRIMARY)];
            let in_force = if all.len() + new.count() <= MAX_UNRECORDED {
                &records[..]
            } else {
                &everything
            };
            for record in in_force {
                *all.entry(record.clone()).or_default() += 1;
            }
        });
    }

    /// The records that are in force here alone, and how often each was ordered.
    pub fn unrecorded(&self) -> Arc<HashMap<Record, u64>> {
        self.unrecorded.load_full()
    }

    /// The log has these now, and they were applied at their positions. What was ordered since
    /// [`Index::unrecorded`] returned them stays in force: it may be newer than those positions.
    pub fn recorded(&self, recorded: &HashMap<Record, u64>) {
        self.change_unrecorded(|all| {
            all.retain(|record, ordered| {
                *ordered -= recorded.get(record).copied().unwrap_or(0).min(*ordered);
                *ordered > 0
            });
        });
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

    fn change_unrecorded(&self, change: impl Fn(&mut HashMap<Record, u64>)) {
        self.unrecorded.rcu(|records| {
            let mut records = HashMap::clone(records);
            change(&mut records);
            records
        });
        self.publish();
    }

    fn is_unrecorded(&self, marks: &Marks) -> bool {
        let unrecorded = self.unrecorded.load();
        unrecorded.keys().any(|record| self.matches(record, marks))
    }

    fn matches(&self, record: &Record, marks: &Marks) -> bool {
        match &record.scope {
            Scope::Url(url) => marks.hashes.contains(&self.url_hash(url)),
            Scope::Tag(tag) => marks.hashes.contains(&self.hash(Kind::Tag, tag)),
            Scope::Host(host) => marks.hashes.contains(&self.hash(Kind::Host, host)),
            Scope::Prefix(prefix) => marks.url.starts_with(&*self.urls.prefix(prefix)),
            Scope::All => true,
        }
    }

    fn latest(&self, marks: &Marks) -> (u64, u64) {
        let (mut hard, mut soft) = (0, 0);
        for hash in &marks.hashes {
            hard = hard.max(self.hard.highest(*hash));
            soft = soft.max(self.soft.highest(*hash));
        }
        for prefix in self.prefixes.load().iter() {
            if marks.url.starts_with(&prefix.url) {
                hard = hard.max(prefix.hard);
                soft = soft.max(prefix.soft);
            }
        }
        (hard, soft)
    }

    fn apply_prefix(&self, url: &str, mode: Mode, seq: u64) {
        let prefixes = self.prefixes.load();
        let mut changed: Vec<Prefix> = prefixes
            .iter()
            .map(|prefix| Prefix {
                url: prefix.url.clone(),
                ..*prefix
            })
            .collect();
        let at = changed.iter().position(|prefix| prefix.url == url);
        if at.is_none() && changed.len() == MAX_PREFIXES {
            let table = if mode == Mode::Hard {
                &self.hard
            } else {
                &self.soft
            };
            // One that ends within the host may begin the names of many.
            let hash = if url.contains('/') {
                self.hash(Kind::Host, host_of(url))
            } else {
                self.hash(Kind::All, "")
            };
            table.raise(hash, seq);
            return;
        }
        let at = at.unwrap_or_else(|| {
            changed.push(Prefix {
                url: url.to_owned(),
                hard: 0,
                soft: 0,
            });
            changed.len() - 1
        });
        match mode {
            Mode::Hard => changed[at].hard = seq,
            Mode::Soft => changed[at].soft = seq,
        }
        self.prefixes.store(changed.into());
    }

    fn url_hash(&self, url: &str) -> u64 {
        self.hash(Kind::Url, &self.canonical(url))
    }

    fn hash(&self, kind: Kind, value: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write_u8(kind as u8);
        hasher.write(value.as_bytes());
        hasher.finish()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Url,
    Tag,
    Host,
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 7;

    fn index() -> Index {
        let index = Index::new(10, (1, 2));
        index.begin_epoch(at(10));
        index
    }

    fn at(seq: u64) -> Position {
        Position { epoch: EPOCH, seq }
    }

    fn judged(index: &Index, fence: Position) -> Verdict {
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

    #[test]
    fn too_many_prefixes_become_purges_of_their_hosts() {
        let index = index();
        for number in 0..MAX_PREFIXES as u64 {
            let prefix = Scope::Prefix(format!("elsewhere.org/{number}"));
            index.apply(at(20 + number), &Record::hard(prefix));
        }
        assert_eq!(judged(&index, at(10)), Verdict::Usable(Standing::Valid));
        let one_more = Scope::Prefix("example.org/nothing/like/it".to_owned());
        index.apply(at(9_000), &Record::hard(one_more));
        assert_eq!(judged(&index, at(10)), Verdict::Purged);
    }

    #[test]
    fn a_prefix_that_ends_within_the_host_purges_all_it_begins_also_when_there_are_too_many() {
        let index = index();
        for number in 0..MAX_PREFIXES as u64 {
            let prefix = Scope::Prefix(format!("elsewhere.org/{number}"));
            index.apply(at(20 + number), &Record::hard(prefix));
        }
        index.apply(at(9_000), &Record::hard(Scope::Prefix("exam".to_owned())));
        assert_eq!(judged(&index, at(10)), Verdict::Purged);
    }

    #[test]
    fn unrecorded_purges_hold_until_each_of_them_is_recorded() {
        let index = index();
        let valid = Verdict::Usable(Standing::Valid);
        // Whatever its fence: no position can tell what came first.
        let judged = || judged(&index, at(1 << 60));
        let record = [Record::hard(Scope::Tag("red".to_owned()))];
        index.apply_unrecorded(&record);
        let first = index.unrecorded();
        index.apply_unrecorded(&record);
        assert_eq!(judged(), Verdict::Purged);
        index.recorded(&first);
        assert_eq!(judged(), Verdict::Purged, "the second is newer");
        index.recorded(&index.unrecorded());
        assert_eq!(judged(), valid);
    }

    #[test]
    fn unrecorded_purges_stay_few_whatever_is_ordered() {
        let index = index();
        let tag = |number: usize| [Record::hard(Scope::Tag(number.to_string()))];
        for _ in 0..2 {
            (0..MAX_UNRECORDED).for_each(|number| index.apply_unrecorded(&tag(number)));
        }
        let valid = Verdict::Usable(Standing::Valid);
        assert_eq!(
            judged(&index, at(1 << 60)),
            valid,
            "repeats are not counted"
        );
        (0..2 * MAX_UNRECORDED).for_each(|number| index.apply_unrecorded(&tag(number)));
        assert_eq!(judged(&index, at(1 << 60)), Verdict::Purged);
        assert_eq!(index.unrecorded().len(), MAX_UNRECORDED + 1);
        index.recorded(&index.unrecorded());
        assert_eq!(judged(&index, at(1 << 60)), valid);
    }
}
