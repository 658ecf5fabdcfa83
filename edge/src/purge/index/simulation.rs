//! The index against a plain list: every record that was applied is kept, and every judgement is
//! held against all of them.
//!
//! The index may purge too much where hashes meet; it never purges too little. With many cells and
//! few names it is exact.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use tidegate_semantics::Standing;

use super::{Index, Marks, Verdict};
use crate::purge::record::{Mode, Position, Record, Scope, host_of};

const PATHS: [&str; 6] = [
    "a.org/",
    "a.org/x",
    "a.org/x/y?z",
    "b.org/x",
    "b.org/x/y",
    "c.org/",
];
const TAGS: [&str; 4] = ["red", "green", "blue", "a.org"];

#[derive(Clone, Debug)]
enum Event {
    /// A record, so many numbers after the last.
    Record(Record, u64),
    /// So many numbers were missed.
    Missed(u64),
    /// Another log, from a position on that is lower or higher, and its floor.
    Begin(u64, u64),
    /// A purge that cannot be recorded.
    Order(Record),
    /// All that could not be recorded is, so many numbers after the last.
    Recorded(u64),
    /// An entry is fetched, or found in the region with a fence from another edge.
    Fetch {
        url: usize,
        tags: Vec<usize>,
        ahead: u64,
    },
    /// Entries are judged, by what they remember.
    Judge,
}

fn record() -> impl Strategy<Value = Record> {
    let scope = prop_oneof![
        (0..PATHS.len()).prop_map(|url| Scope::Url(PATHS[url].to_owned())),
        (0..TAGS.len()).prop_map(|tag| Scope::Tag(TAGS[tag].to_owned())),
        (0..PATHS.len(), 1..12_usize).prop_map(|(url, length)| {
            let url = PATHS[url];
            Scope::Prefix(url[..length.min(url.len())].to_owned())
        }),
        (0..3_usize).prop_map(|host| Scope::Host(["a.org", "b.org", "c.org"][host].to_owned())),
        Just(Scope::All),
    ];
    let mode = prop_oneof![Just(Mode::Hard), Just(Mode::Soft)];
    (scope, mode).prop_map(|(scope, mode)| Record::new(scope, mode))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (record(), 1..4_u64).prop_map(|(record, step)| Event::Record(record, step)),
        1 => (1..4_u64).prop_map(Event::Missed),
        1 => (0..20_u64, 0..20_u64).prop_map(|(start, floor)| Event::Begin(start, floor)),
        1 => record().prop_map(Event::Order),
        1 => (1..4_u64).prop_map(Event::Recorded),
        5 => (0..PATHS.len(), prop::collection::vec(0..TAGS.len(), 0..3), 0..3_u64)
            .prop_map(|(url, tags, ahead)| Event::Fetch { url, tags, ahead }),
        5 => Just(Event::Judge),
    ]
}

/// Everything that happened, as it happened.
struct Oracle {
    at: Position,
    floor: u64,
    /// Of the log that is followed.
    records: Vec<(u64, Record)>,
    /// Of those before it.
    former: Vec<(u64, Record)>,
    unrecorded: Vec<Record>,
}

struct Entry {
    url: String,
    tags: Vec<String>,
    marks: Marks,
    fence: Position,
    checked: AtomicU64,
}

/// How far a response may be used, from not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Nothing,
    Asking,
    Stale,
    Fresh,
}

impl Oracle {
    fn matches(record: &Record, entry: &Entry) -> bool {
        match &record.scope {
            Scope::Url(url) => entry.url == *url,
            Scope::Tag(tag) => entry.tags.contains(tag),
            Scope::Prefix(prefix) => entry.url.starts_with(prefix.as_str()),
            Scope::Host(host) => host_of(&entry.url) == host,
            Scope::All => true,
        }
    }

    /// Whether an entry of another log was purged hard: by any record of this one, or by one of a
    /// former log with a higher number.
    fn was_purged(&self, entry: &Entry) -> bool {
        let is_hard = |record: &Record| record.mode == Mode::Hard;
        let mut now = self.records.iter();
        let mut before = self.former.iter();
        now.any(|(_, record)| is_hard(record) && Self::matches(record, entry))
            || before.any(|(seq, record)| {
                *seq > entry.fence.seq && is_hard(record) && Self::matched(record, entry)
            })
    }

    /// As [`Oracle::matches`], for a record of a former log: prefixes have become hosts.
    fn matched(record: &Record, entry: &Entry) -> bool {
        match &record.scope {
            Scope::Prefix(prefix) if prefix.contains('/') => host_of(&entry.url) == host_of(prefix),
            Scope::Prefix(_) => true,
            _ => Self::matches(record, entry),
        }
    }

    fn allows(&self, entry: &Entry) -> Use {
        let unrecorded = self.unrecorded.iter();
        if unrecorded
            .into_iter()
            .any(|record| Self::matches(record, entry))
        {
            return Use::Nothing;
        }
        if entry.fence.epoch != self.at.epoch {
            return if self.was_purged(entry) {
                Use::Nothing
            } else {
                Use::Asking
            };
        }
        let later = self
            .records
            .iter()
            .filter(|(seq, _)| *seq > entry.fence.seq);
        let matching: Vec<_> = later
            .filter(|(_, record)| Self::matches(record, entry))
            .collect();
        if matching.iter().any(|(_, record)| record.mode == Mode::Hard) {
            return Use::Nothing;
        }
        if entry.fence.seq < self.floor {
            return Use::Asking;
        }
        if matching.is_empty() {
            Use::Fresh
        } else {
            Use::Stale
        }
    }
}

fn used(verdict: Verdict) -> Use {
    match verdict {
        Verdict::Purged => Use::Nothing,
        Verdict::Usable(Standing::BelowFloor) => Use::Asking,
        Verdict::Usable(Standing::SoftPurged(_)) => Use::Stale,
        Verdict::Usable(Standing::Valid) => Use::Fresh,
    }
}

/// Plays events; what is judged otherwise than the list says goes through `compare`.
fn play(slots: u32, events: Vec<Event>, compare: impl Fn(Use, Use)) {
    let index = Index::new(slots, (3, 4));
    let mut oracle = Oracle {
        at: Position { epoch: 1, seq: 5 },
        floor: 5,
        records: Vec::new(),
        former: Vec::new(),
        unrecorded: Vec::new(),
    };
    index.begin_epoch(oracle.at);
    let mut entries: Vec<Entry> = Vec::new();
    for event in events {
        match event {
            Event::Record(record, step) => {
                oracle.at.seq += step;
                index.apply(oracle.at, &record);
                oracle.records.push((oracle.at.seq, record));
            }
            Event::Missed(step) => {
                let missed = oracle.at.seq + step;
                oracle.floor = oracle.floor.max(missed);
                index.raise_floor(missed);
            }
            Event::Begin(start, floor) => {
                oracle.at = Position {
                    epoch: oracle.at.epoch + 1,
                    seq: start,
                };
                oracle.floor = floor;
                let records = std::mem::take(&mut oracle.records);
                oracle.former.extend(records);
                index.begin_epoch_above(oracle.at, floor);
            }
            Event::Order(record) => {
                index.apply_unrecorded(std::slice::from_ref(&record));
                oracle.unrecorded.push(record);
            }
            Event::Recorded(step) => {
                let unrecorded = index.unrecorded();
                for record in std::mem::take(&mut oracle.unrecorded) {
                    oracle.at.seq += step;
                    index.apply(oracle.at, &record);
                    oracle.records.push((oracle.at.seq, record));
                }
                index.recorded(&unrecorded);
            }
            Event::Fetch { url, tags, ahead } => {
                let url = PATHS[url].to_owned();
                let tags: Vec<_> = tags.into_iter().map(|tag| TAGS[tag].to_owned()).collect();
                entries.push(Entry {
                    marks: index.marks(&url, tags.iter().map(String::as_str)),
                    url,
                    tags,
                    fence: Position {
                        seq: oracle.at.seq + ahead,
                        ..oracle.at
                    },
                    checked: AtomicU64::new(0),
                });
            }
            Event::Judge => {
                for entry in &entries {
                    let verdict = index.judge(&entry.marks, entry.fence, &entry.checked);
                    let allowed = oracle.allows(entry);
                    compare(used(verdict), allowed);
                    // A flight may not be joined by more than that.
                    let has_matched = index.has_matched_since(&entry.marks, entry.fence)
                        || index.unrecorded_orders(&entry.marks) > 0;
                    assert!(has_matched || allowed == Use::Fresh, "{allowed:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn with_many_cells_the_index_says_what_the_list_says(
        events in prop::collection::vec(event(), 1..80)
    ) {
        play(10, events, |verdict, allowed| assert_eq!(verdict, allowed));
    }

    #[test]
    fn with_few_cells_it_never_says_more(events in prop::collection::vec(event(), 1..80)) {
        play(2, events, |verdict, allowed| assert!(verdict <= allowed, "{verdict:?} {allowed:?}"));
    }

    #[test]
    fn with_too_many_prefixes_it_never_says_more(
        events in prop::collection::vec(event(), 1..80),
        at in 0..80_usize,
    ) {
        let prefix = |number| Record::hard(Scope::Prefix(format!("elsewhere.org/{number}")));
        let mut all = events;
        let at = at.min(all.len());
        all.splice(at..at, (0..260).map(|number| Event::Record(prefix(number), 1)));
        play(10, all, |verdict, allowed| assert!(verdict <= allowed, "{verdict:?} {allowed:?}"));
    }
}

/// Waits until whoever judges has begun anew, so that what they remember wrongly shows.
fn until_judged(judged: &AtomicU64, is_done: &AtomicBool) {
    let before = judged.load(Ordering::Acquire);
    while judged.load(Ordering::Acquire) < before + 4 && !is_done.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// What is judged while somebody applies: a judgement that begins after a record was applied knows
/// it, also when another log is taken up meanwhile.
#[test]
fn who_judges_while_records_are_applied_misses_none_that_was_there() {
    const LOGS: u64 = 2_000;
    let index = Index::new(3, (5, 6));
    let marks = index.marks("a.org/", ["red"]);
    let checked: Vec<_> = (0..=LOGS).map(|_| AtomicU64::new(0)).collect();
    // Twice the log that is followed, and one more once its record is applied.
    let applied = AtomicU64::new(2);
    let (judged, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    index.begin_epoch(Position { epoch: 1, seq: 0 });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    let now = applied.load(Ordering::Acquire);
                    let (epoch, is_applied) = (now / 2, now % 2 == 1);
                    let checked = &checked[usize::try_from(epoch).expect("a small number")];
                    let fence = Position { epoch, seq: 1 };
                    let verdict = used(index.judge(&marks, fence, checked));
                    if is_applied && verdict >= Use::Stale {
                        is_done.store(true, Ordering::Release);
                        panic!("{verdict:?} in log {epoch}");
                    }
                    judged.fetch_add(1, Ordering::Release);
                }
            });
        }
        for epoch in 1..=LOGS {
            index.begin_epoch(Position { epoch, seq: 0 });
            applied.store(2 * epoch, Ordering::Release);
            until_judged(&judged, &is_done);
            let red = Record::hard(Scope::Tag("red".to_owned()));
            index.apply(Position { epoch, seq: 2 }, &red);
            applied.store(2 * epoch + 1, Ordering::Release);
            until_judged(&judged, &is_done);
        }
        is_done.store(true, Ordering::Release);
    });
}

/// A purge that is recorded while somebody judges is in force at every moment.
#[test]
fn what_is_recorded_is_purged_before_during_and_after() {
    const ROUNDS: u64 = 1_000;
    let index = Index::new(10, (7, 8));
    index.begin_epoch(Position { epoch: 1, seq: 0 });
    let marks = index.marks("a.org/", ["red"]);
    let (ordered, judged) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_done = AtomicBool::new(false);
    let red = [Record::hard(Scope::Tag("red".to_owned()))];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    let seq = ordered.load(Ordering::Acquire);
                    if seq > 0 {
                        // Fetched when that purge had no position yet.
                        let fence = Position {
                            epoch: 1,
                            seq: seq - 1,
                        };
                        let verdict = index.judge_anew(&marks, fence);
                        if verdict != Verdict::Purged {
                            is_done.store(true, Ordering::Release);
                        }
                        assert_eq!(verdict, Verdict::Purged);
                    }
                    judged.fetch_add(1, Ordering::Release);
                }
            });
        }
        for seq in 1..=ROUNDS {
            index.apply_unrecorded(&red);
            ordered.store(seq, Ordering::Release);
            let unrecorded = index.unrecorded();
            index.apply(Position { epoch: 1, seq }, &red[0]);
            index.recorded(&unrecorded);
            // Whoever was in the middle of it comes to an end before the next.
            until_judged(&judged, &is_done);
        }
        is_done.store(true, Ordering::Release);
    });
}
