//! The key and the tiers: how long it takes to find an entry, where nothing is awaited.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::Criterion;
use http::{HeaderMap, StatusCode};
use tidegate_edge::cache::{
    Cache, Content, Entry, Fields, Found, Key, KeyParts, Memory, Stored, Tier,
};
use tidegate_edge::purge::{Index, Position};
use tidegate_semantics::{Policy, Vary, stored_fields};

use crate::messages::{NOW, PATH, TAGS, URL, request, response, terms};

/// Entries that a lookup in turn goes through: more than the processor's nearer caches hold.
const ENTRIES: usize = 20_000;
/// Bytes of each tier; nothing is evicted from the memory tier.
const MEMORY: usize = 256 << 20;
const HOT: usize = 8 << 20;

pub(crate) fn benches(criterion: &mut Criterion) {
    keys(criterion);
    lookups(criterion);
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/key");
    let cache = cache(HOT);
    group.bench_function("in this process", |bencher| {
        bencher.iter(|| cache.key(black_box(&parts(PATH))));
    });
    group.bench_function("between processes", |bencher| {
        bencher.iter(|| black_box(&parts(PATH)).shared(b""));
    });
    group.finish();
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/find");
    let request = request();
    let page = Arc::new(page());
    let hot = cache(HOT);
    // Without a budget nothing becomes hot, and each lookup reaches the memory tier.
    let cold = cache(0);
    let key = hot.key(&parts(PATH));
    for (name, cache, tier) in [
        ("a hot entry", &hot, Tier::Hot),
        ("an entry in memory", &cold, Tier::Memory),
    ] {
        // The two caches share what is the thread's own, so the cold one has a key to itself.
        let key = if tier == Tier::Hot {
            key
        } else {
            key.derive(b"cold")
        };
        cache.insert(key, Arc::clone(&page));
        let find = || cache.find_here(black_box(key), black_box(&request));
        find();
        assert_eq!(tier_of(&find()), Some(tier), "{name}");
        group.bench_function(name, |bencher| bencher.iter(find));
    }
    let keys: Vec<Key> = (0..ENTRIES)
        .map(|number| cold.key(&parts(&format!("/courses/{number}"))))
        .collect();
    for key in &keys {
        cold.insert(*key, Arc::new(self::page()));
    }
    let mut turn = keys.iter().cycle();
    group.bench_function("20,000 entries in memory in turn", |bencher| {
        bencher.iter(|| {
            turn.next()
                .map(|key| cold.find_here(*key, black_box(&request)))
        });
    });
    let absent = cold.key(&parts("/nowhere"));
    group.bench_function("nothing", |bencher| {
        bencher.iter(|| cold.find_here(black_box(absent), black_box(&request)));
    });
    group.bench_function("the prepared head of a hot entry", |bencher| {
        bencher.iter(|| {
            hot.head(black_box(key), &page, Tier::Hot, NOW.0 / 1000, || {
                page.headers()
            })
        });
    });
    group.finish();
}

fn cache(hot: usize) -> Cache {
    Cache::new((1, 2), Memory::new(MEMORY), hot)
}

fn parts(path_and_query: &str) -> KeyParts<'_> {
    KeyParts {
        scheme: "http",
        authority: "learn.example",
        path_and_query: path_and_query.into(),
        extra: "",
        selection: Vec::new(),
    }
}

fn page() -> Entry {
    let response = response();
    let parts = Stored {
        status: StatusCode::OK,
        fields: Fields::new(
            &stored_fields(&response, &Policy::default()),
            &HeaderMap::new(),
            &TAGS,
        ),
        given: None,
        content: Content::Whole(Bytes::from(vec![b'a'; 1 << 10])),
        terms: terms(),
        vary: Vary::of(&response, &request()).expect("the page varies on two fields"),
        fence: Position::default(),
        fetched_at: NOW,
    };
    Entry::new(parts, URL, &Index::new(4, (1, 2)))
}

fn tier_of(found: &Found) -> Option<Tier> {
    match found {
        Found::Entry(_, tier) => Some(*tier),
        Found::OtherVariant | Found::Nothing => None,
    }
}
