//! L1: the memory tier of the process, shared by its workers, weighed in bytes.
//!
//! moka decides what stays (TinyLFU). Its own expiry is not used: freshness follows the edge's
//! clock, and what the purge log forbids is judged at each lookup.

use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tidegate_semantics::Timestamp;

use super::entry::{Entry, Object};
use super::key::{Key, KeyState};

/// How long a key whose response could not be shared is fetched without collapsing.
const PASS_FOR: Duration = Duration::from_secs(10);
/// Keys remembered as not shareable.
const PASS_KEYS: u64 = 100_000;

/// What leaves the tier must leave the workers' hot entries too, or they would hide what comes
/// after it. Of what is replaced, `Object::with` has said what is left.
fn let_go(_: Arc<Key>, object: Arc<Object>, cause: RemovalCause) {
    if cause != RemovalCause::Replaced {
        object.supersede();
    }
}

/// The memory tier. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    objects: Cache<Key, Arc<Object>, KeyState>,
    passes: Cache<Key, Timestamp, KeyState>,
}

impl Memory {
    /// A tier that holds about `budget` bytes.
    pub fn new(budget: usize) -> Memory {
        let weigh = |_: &Key, object: &Arc<Object>| {
            u32::try_from(object.weight() + size_of::<Key>()).unwrap_or(u32::MAX)
        };
        Memory {
            objects: Cache::builder()
                .max_capacity(budget as u64)
                .weigher(weigh)
                .eviction_listener(let_go)
                .build_with_hasher(KeyState::default()),
            passes: Cache::builder()
                .max_capacity(PASS_KEYS)
                .build_with_hasher(KeyState::default()),
        }
    }

    /// What is stored under a key.
    pub fn get(&self, key: Key) -> Option<Arc<Object>> {
        self.objects.get(&key)
    }

    /// Lets the tier know that a key is in use, where a nearer tier answered.
    pub fn touch(&self, key: Key) {
        self.objects.get(&key);
    }

    /// Stores an entry beside the other variants of its key, in place of its own older one.
    pub fn insert(&self, key: Key, entry: Arc<Entry>) {
        self.objects
            .entry(key)
            .and_compute_with(|stored| match stored {
                None => Op::Put(Arc::new(Object::of(entry))),
                Some(stored) => match stored.value().with(entry) {
                    Some(object) => Op::Put(Arc::new(object)),
                    None => Op::Nop,
                },
            });
    }

    /// Lets go of what is stored under a key.
    pub fn remove(&self, key: Key) {
        if let Some(object) = self.objects.remove(&key) {
            object.supersede();
        }
    }

    /// The response to this key could not be shared: for a while nobody shall wait for another's.
    pub fn remember_pass(&self, key: Key, now: Timestamp) {
        self.passes.insert(key, now.plus(PASS_FOR));
    }

    /// Whether the key's response could not be shared a short while ago.
    pub fn passes(&self, key: Key, now: Timestamp) -> bool {
        self.passes.get(&key).is_some_and(|until| now < until)
    }

    /// The key's response is shared after all.
    pub fn forget_pass(&self, key: Key) {
        self.passes.invalidate(&key);
    }

    /// Bytes and objects held, as of the last housekeeping.
    pub fn usage(&self) -> (u64, u64) {
        (self.objects.weighted_size(), self.objects.entry_count())
    }
}
