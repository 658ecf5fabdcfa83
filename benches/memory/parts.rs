//! One stored object, part by part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_edge::cache::{Cache, Content, Entry, Fields, Found, Key, KeyParts, Memory, Stored};
use tidegate_edge::purge::{Index, Position};
use tidegate_semantics::{Basis, Terms, Timestamp, Vary};

use crate::counting::Live;

/// What an origin says of a file, mostly.
const FIELDS: [(&str, &str); 6] = [
    ("server", "origin"),
    ("date", "Sun, 06 Nov 2033 08:49:37 GMT"),
    ("content-type", "application/octet-stream"),
    ("cache-control", "public, max-age=600"),
    ("last-modified", "Sun, 06 Nov 2033 07:49:37 GMT"),
    ("etag", "\"v1-1024\""),
];

/// Of fewer, what else the process does counts for more than a few in a hundred.
const ENOUGH: usize = 10_000;

pub(crate) fn run(count: usize) {
    let headers: HeaderMap = FIELDS
        .into_iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let index = Index::new(10, (1, 2));
    let cache = Cache::new((1, 2), Memory::new(1 << 30), 0);
    let urls: Vec<_> = (0..count)
        .map(|number| format!("learn.example/c/1024/{number}"))
        .collect();

    let live = Live::now();
    let bodies = part("the body", count, |_| Bytes::from(vec![b'a'; 1 << 10]));
    let fields = part("its fields", count, |_| {
        Fields::new::<&str>(&headers, &HeaderMap::new(), &[])
    });
    let no_tags = || std::iter::empty::<&str>();
    let marks = part("its names in the purge log", count, |at| {
        index.marks(&urls[at], no_tags())
    });
    drop(marks);
    let mut parts = bodies.into_iter().zip(fields);
    let entries = part("all of these in an entry: more", count, |at| {
        let (body, fields) = parts.next().expect("there are as many");
        Arc::new(Entry::new(stored(body, fields), &urls[at], &index))
    });
    drop(parts);
    let weight: usize = entries.iter().map(|entry| entry.weight()).sum();
    let taken = live.since().bytes as f64;
    let ratio = weight as f64 / taken;
    let is_near = (0.95..1.1).contains(&ratio);
    assert!(count < ENOUGH || is_near, "it weighs {ratio} of that");
    println!(
        "what such an entry says that it weighs: {} B",
        weight / count
    );
    let key = |at: usize| cache.key(&key_parts(&urls[at]));
    let mut entries = entries.into_iter();
    let keys: Vec<Key> = part("its place in the memory tier", count, |at| {
        let entry = entries.next().expect("there are as many");
        cache.insert(key(at), entry);
        key(at)
    });
    let request = HeaderMap::new();
    let found = |key: &Key| matches!(cache.find_here(*key, &request), Found::Entry(..));
    assert!(keys.iter().all(found), "nothing was evicted");
}

fn part<T>(what: &str, count: usize, mut make: impl FnMut(usize) -> T) -> Vec<T> {
    let mut made = Vec::with_capacity(count);
    let live = Live::now();
    (0..count).for_each(|at| made.push(make(at)));
    let grown = live.since();
    let each = |sum: i64| sum as f64 / count as f64;
    println!(
        "{what}: {:.0} B in {:.1} allocations",
        each(grown.bytes),
        each(grown.allocations)
    );
    made
}

fn key_parts(url: &str) -> KeyParts<'_> {
    let (authority, path) = url.split_at(url.find('/').expect("a path"));
    KeyParts {
        scheme: "http",
        authority,
        path_and_query: path.into(),
        extra: "",
        selection: Vec::new(),
    }
}

fn stored(body: Bytes, fields: Fields) -> Stored {
    let now = Timestamp(2_014_879_777_000);
    Stored {
        status: StatusCode::OK,
        fields,
        given: None,
        content: Content::Whole(body),
        terms: Terms {
            born: now,
            lifetime: Duration::from_secs(600),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            must_revalidate: false,
            always_validate: false,
            basis: Basis::MaxAge,
        },
        vary: Vary::default(),
        fence: Position::default(),
        fetched_at: now,
    }
}
