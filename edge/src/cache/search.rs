//! Which queries of a path stand for the same, as its latest response said (`No-Vary-Search`,
//! draft-ietf-httpbis-no-vary-search §6).
//!
//! A response that says so is stored under the canonical form of its query. Who looks for another
//! query has to know what to leave out of it before there is a response to ask: that is remembered
//! here, path by path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::sync::Cache;
use tidegate_semantics::Variance;

use super::key::{Key, KeyParts, KeyState};

/// Paths remembered; of one that is forgotten each query is fetched once more.
const PATHS: u64 = 50_000;

/// What is remembered of paths. Cheap to clone.
#[derive(Clone)]
pub struct Searches {
    by_path: Cache<Key, Arc<Variance>, KeyState>,
    /// Whether there was ever anything to remember: for most edges, never.
    any: Arc<AtomicBool>,
}

impl Searches {
    /// Nothing is known of any path.
    pub fn new() -> Searches {
        Searches {
            by_path: Cache::builder()
                .max_capacity(PATHS)
                .build_with_hasher(KeyState::default()),
            any: Arc::default(),
        }
    }

    /// Whether nothing was ever remembered.
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// The key for all queries that are equivalent to this one, as far as is known.
    pub fn key(&self, parts: &KeyParts<'_>, keys: (u64, u64)) -> Option<Key> {
        let variance = self.by_path.get(&path_key(parts, keys))?;
        Some(canonical_key(parts, &variance, keys))
    }

    /// Remembers what the latest response for a path says, and tells the key to store it under.
    pub fn remember(
        &self,
        parts: &KeyParts<'_>,
        variance: &Arc<Variance>,
        keys: (u64, u64),
    ) -> Key {
        let path = path_key(parts, keys);
        self.by_path.insert(path, Arc::clone(variance));
        self.any.store(true, Ordering::Relaxed);
        canonical_key(parts, variance, keys)
    }
}

/// The key of a path, whatever the query.
fn path_key(parts: &KeyParts<'_>, keys: (u64, u64)) -> Key {
    let (path, _) = split(&parts.path_and_query);
    parts.with_path_and_query(path).key(keys)
}

/// Beside the key that a URL so written has: what is stored under that one is for no other URL.
fn canonical_key(parts: &KeyParts<'_>, variance: &Variance, keys: (u64, u64)) -> Key {
    let (path, query) = split(&parts.path_and_query);
    let canonical = format!("{path}{}", variance.canonical(query));
    parts
        .with_path_and_query(&canonical)
        .key(keys)
        .derive(b"search")
}

fn split(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}
