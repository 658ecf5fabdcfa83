//! One purge of a tag that every stored object carries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tidegate_edge::cache::{Cache, Content, Entry, Fields, Found, Key, KeyParts, Memory, Stored};
use tidegate_edge::clock::Clock;
use tidegate_edge::purge::{Index, Log, Record, Scope, Verdict};
use tidegate_semantics::{Basis, Terms, Timestamp, Vary};
use tokio::runtime::Builder;

/// More than a million objects of 1 KiB weigh.
const MEMORY: usize = 16 << 30;
const ROUNDS: usize = 100;

pub(crate) fn run(count: usize) {
    for stored in [1, count] {
        one(stored);
    }
}

fn one(count: usize) {
    let memory = Memory::new(MEMORY);
    let cache = Cache::new((1, 2), memory.clone(), 0);
    let index = Arc::new(Index::new(20, (1, 2)));
    let log = Log::in_process(Arc::clone(&index), Clock::system());
    let keys = fill(&cache, &log, count);
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let append = |tag: &str| {
        let record = Record::hard(Scope::Tag(tag.to_owned()));
        let appended = runtime.block_on(log.append(&[record]));
        appended.expect("a log in this process takes everything");
    };
    let is_valid = |key: &Key| match cache.peek(*key, &HeaderMap::new()) {
        Found::Entry(entry, _) => entry.judge(&index) != Verdict::Purged,
        Found::OtherVariant | Found::Nothing => panic!("something was evicted"),
    };
    append("unrelated");
    assert!(keys.iter().all(is_valid), "nothing was purged yet");
    let (wall, cpu) = timed(|| append("everywhere"));
    assert!(!keys.iter().any(is_valid), "all of it was purged");
    let (_, again) = timed(|| (0..ROUNDS).for_each(|_| append("everywhere")));
    println!(
        "a tag over {count} objects: {wall:?}, {cpu:?} of CPU; in a row {:?} of CPU each",
        again / ROUNDS as u32
    );
    let before = memory.usage();
    let (wall, cpu) = timed(|| {
        assert_eq!(memory.sweep(&index, || true), count as u64);
    });
    println!("sweeping {before:?} (bytes, objects): {wall:?}, {cpu:?} of CPU");
    assert_eq!(memory.usage(), (0, 0));
}

fn fill(cache: &Cache, log: &Log, count: usize) -> Vec<Key> {
    let now = Timestamp(2_015_000_000_000);
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", HeaderValue::from_static("max-age=3600"));
    let terms = Terms {
        born: now,
        lifetime: Duration::from_secs(3_600),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        must_revalidate: false,
        always_validate: false,
        basis: Basis::MaxAge,
    };
    let keys = (0..count).map(|number| {
        let path = format!("/courses/{number}");
        let key = cache.key(&KeyParts {
            scheme: "http",
            authority: "learn.example",
            path_and_query: path.as_str().into(),
            extra: "",
            selection: Vec::new(),
        });
        let stored = Stored {
            status: StatusCode::OK,
            fields: Fields::new(
                &headers,
                &HeaderMap::new(),
                &["everywhere", &format!("course:{number}")],
            ),
            given: None,
            content: Content::Whole(Bytes::from(vec![b'a'; 1 << 10])),
            terms: terms.clone(),
            vary: Vary::default(),
            fence: log.fence(),
            fetched_at: now,
        };
        let url = format!("learn.example{path}");
        cache.insert(key, Arc::new(Entry::new(stored, &url, log.index())));
        key
    });
    keys.collect()
}

/// What some work takes: time, and this thread's share of a processor.
fn timed(work: impl FnOnce()) -> (Duration, Duration) {
    let (begun, on_processor) = (Instant::now(), on_processor());
    work();
    (begun.elapsed(), self::on_processor() - on_processor)
}

/// The first number of the kernel's account of this thread: nanoseconds on a processor.
fn on_processor() -> Duration {
    // Which is brought up to date when the thread offers to give way.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps it");
    let nanoseconds = account.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
