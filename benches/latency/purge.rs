//! The purge index: what judging an entry costs a hit, and whether it grows with what was purged.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::Criterion;
use tidegate_edge::purge::{Index, Marks, Position, Record, Scope, Verdict};
use tidegate_semantics::Standing;

use crate::messages::{TAGS, URL};

/// The size for production: 36 MiB.
const SLOTS: u32 = 20;
const START: Position = Position { epoch: 1, seq: 0 };
/// As many prefixes as an index holds.
const PREFIXES: u64 = 256;
/// Entries that are judged in turn, so that each finds its cells outside the processor's caches.
const ENTRIES: usize = 20_000;

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("purge/judge");
    let index = index(0, tag);
    let marks = page(&index, URL);
    let checked = AtomicU64::new(0);
    assert!(is_valid(&index, &marks, &checked));
    group.bench_function("nothing was purged since it was last judged", |bencher| {
        bencher.iter(|| is_valid(&index, black_box(&marks), black_box(&checked)));
    });
    for (name, purges, record) in [
        ("anew after no purge", 0, tag as fn(u64) -> Record),
        ("anew after 1 purge of another tag", 1, tag),
        ("anew after 10,000 purges of other tags", 10_000, tag),
        ("anew after 256 purges of other prefixes", PREFIXES, prefix),
    ] {
        let index = self::index(purges, record);
        let marks = page(&index, URL);
        let judge = || {
            checked.store(0, Ordering::Relaxed);
            is_valid(&index, black_box(&marks), black_box(&checked))
        };
        // A collision would purge too much, and time something else.
        assert!(judge(), "{name}");
        group.bench_function(name, |bencher| bencher.iter(judge));
    }
    in_turn(&mut group);
    group.finish();
    applying(criterion);
}

fn in_turn(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>) {
    let index = index(10_000, tag);
    let entries: Vec<Marks> = (0..ENTRIES)
        .map(|number| {
            let tags: Vec<String> = (0..5).map(|tag| format!("{number}:{tag}")).collect();
            index.marks(URL, tags.iter().map(String::as_str))
        })
        .collect();
    let mut turn = entries.iter().cycle();
    group.bench_function("anew, 20,000 entries in turn", |bencher| {
        bencher.iter(|| {
            let checked = AtomicU64::new(0);
            turn.next().map(|marks| index.judge(marks, START, &checked))
        });
    });
}

fn applying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("purge/apply");
    let index = index(0, tag);
    let records: Vec<Record> = (0..10_000).map(tag).collect();
    let mut seq = 0;
    let mut turn = records.iter().cycle();
    group.bench_function("a tag", |bencher| {
        bencher.iter(|| {
            seq += 1;
            if let Some(record) = turn.next() {
                index.apply(Position { seq, ..START }, black_box(record));
            }
        });
    });
    group.finish();
}

fn index(purges: u64, record: fn(u64) -> Record) -> Index {
    let index = Index::new(SLOTS, (1, 2));
    index.begin_epoch(START);
    for seq in 1..=purges {
        index.apply(Position { seq, ..START }, &record(seq));
    }
    index
}

fn tag(number: u64) -> Record {
    Record::hard(Scope::Tag(format!("unrelated:{number}")))
}

fn prefix(number: u64) -> Record {
    Record::hard(Scope::Prefix(format!("learn.example/archive/{number}/")))
}

fn page(index: &Index, url: &str) -> Marks {
    index.marks(url, TAGS)
}

fn is_valid(index: &Index, marks: &Marks, checked: &AtomicU64) -> bool {
    index.judge(marks, START, checked) == Verdict::Usable(Standing::Valid)
}
