//! L1: the memory tier of the process, shared by its workers, weighed in bytes.
//!
//! moka decides what stays (TinyLFU). Its own expiry is not used: freshness follows the edge's
//! clock, and what the purge log forbids is judged at each lookup.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tidegate_semantics::{Coding, Timestamp};

use super::encodings::Encoded;
use super::entry::{Entry, Object};
use super::key::{Key, KeyState};
use crate::purge::Index;

/// How long a key whose response could not be shared is fetched without collapsing.
const PASS_FOR: Duration = Duration::from_secs(10);
/// Objects that a sweep looks at between two rests: less than a millisecond.
const SLICE: usize = 1_000;
/// Bytes that an object's place in the tier takes: its key, its node in the order of use, and its share of
/// the table.
const PLACE: usize = 256;
/// Keys remembered as not shareable.
const PASS_KEYS: u64 = 100_000;

/// What leaves the tier must leave the workers' hot entries too, or they would hide what comes
/// after it. Of what is replaced, `Object::with` has said what is left.
fn let_go(_: Arc<Key>, object: Object, cause: RemovalCause) {
    if cause != RemovalCause::Replaced {
        object.supersede();
    }
}

/// The memory tier. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    objects: Cache<Key, Object, KeyState>,
    passes: Cache<Key, Timestamp, KeyState>,
}

impl Memory {
    /// A tier that holds about `budget` bytes.
    pub fn new(budget: usize) -> Memory {
        let weigh =
            |_: &Key, object: &Object| u32::try_from(object.weight() + PLACE).unwrap_or(u32::MAX);
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
    pub fn get(&self, key: Key) -> Option<Object> {
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
                None => Op::Put(Object::of(entry)),
                Some(stored) => match stored.value().with(entry) {
                    Some(object) => Op::Put(object),
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

    /// Gives the bytes of what a hard record has purged back to the budget; how many objects lost
    /// something. `rest` is called after every few objects and says whether to go on.
    pub fn sweep(&self, index: &Index, mut rest: impl FnMut() -> bool) -> u64 {
        let mut swept = 0;
        for (seen, (key, object)) in self.objects.iter().enumerate() {
            if seen % SLICE == SLICE - 1 && !rest() {
                break;
            }
            if object.is_purged_in_part(index) {
                self.objects.entry(*key).and_compute_with(|stored| {
                    // Another one may have come in its place.
                    let stored = stored.as_ref().map(|stored| stored.value());
                    match stored.map(|stored| (stored, stored.without_purged(index))) {
                        Some((stored, Some(left))) => {
                            stored.give_way(&left);
                            Op::Put(left)
                        }
                        Some((stored, None)) => {
                            stored.supersede();
                            Op::Remove
                        }
                        None => Op::Nop,
                    }
                });
                swept += 1;
            }
        }
        // What was removed counts no more once the housekeeping has been done.
        self.objects.run_pending_tasks();
        swept
    }

    /// An encoded form of a body that is stored under a key, if it was made.
    pub fn encoded(&self, key: Key, body: &Bytes, coding: Coding) -> Option<Encoded> {
        self.get(key)?.encoded(body, coding).cloned()
    }

    /// Keeps an encoded form beside the entry that has this very body. Where all of it together
    /// were more than the tier holds, it is only remembered that the form is of no use.
    pub fn keep_encoded(&self, key: Key, body: &Bytes, coding: Coding, encoded: Encoded) {
        let budget = self.objects.policy().max_capacity().unwrap_or(u64::MAX);
        self.objects.entry(key).and_compute_with(|stored| {
            let object = stored.as_ref().map(|stored| stored.value());
            let with =
                |encoded| object.and_then(|object| object.with_encoded(body, coding, encoded));
            let next = match with(encoded) {
                Some(next) if next.weight() as u64 > budget => with(Encoded::Useless),
                next => next,
            };
            match (object, next) {
                (Some(object), Some(next)) => {
                    object.give_way(&next);
                    Op::Put(next)
                }
                _ => Op::Nop,
            }
        });
    }

    /// The response to this key could not be shared: for a while nobody shall wait for another's.
    pub fn remember_pass(&self, key: Key, now: Timestamp) {
        // Known for a good while yet, mostly, and looking costs less than writing.
        if !self.passes(key, now.plus(PASS_FOR / 2)) {
            self.passes.insert(key, now.plus(PASS_FOR));
        }
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
