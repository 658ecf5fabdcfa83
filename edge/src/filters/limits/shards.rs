//! A bounded number of keys in this process.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::Identity;

/// Maps that are locked apart, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// What is kept of each key. Past its bound, the key that was asked about longest ago is forgotten.
pub(super) struct Shards<V>(Vec<Mutex<LruCache<Identity, V>>>);

impl<V> Shards<V> {
    /// Room for about `keys` keys.
    pub(super) fn new(keys: usize) -> Shards<V> {
        let each = NonZeroUsize::new(keys.div_ceil(SHARDS)).unwrap_or(NonZeroUsize::MIN);
        // Not `LruCache::new`, which would allocate for all keys at once.
        let shard = |_| {
            let mut shard = LruCache::unbounded();
            shard.resize(each);
            Mutex::new(shard)
        };
        Shards((0..SHARDS).map(shard).collect())
    }

    /// The map that this key is in.
    pub(super) fn of(&self, identity: &Identity) -> MutexGuard<'_, LruCache<Identity, V>> {
        let shard = &self.0[usize::from(identity[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let len = |shard: &Mutex<LruCache<Identity, V>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.0.iter().map(len).sum()
    }
}
