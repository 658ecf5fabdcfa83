//! Counting in this process.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use super::{Limits, Verdict, Window, identity};
use crate::gcra;

/// Maps that are locked apart, so that workers seldom wait for each other.
const SHARDS: usize = 16;

type Counters = LruCache<[u8; 16], Vec<(Window, u64)>>;

/// Counters in memory, for this process alone: what there is without Redis.
///
/// It holds a bounded number of keys. Past that, the key that was asked about longest ago is
/// forgotten, and starts again with its whole limit.
pub struct LocalLimits {
    shards: Vec<Mutex<Counters>>,
    now: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl LocalLimits {
    /// Counters for about `keys` keys; `now` is the time in milliseconds.
    pub fn new(keys: usize, now: impl Fn() -> u64 + Send + Sync + 'static) -> LocalLimits {
        let each = NonZeroUsize::new(keys.div_ceil(SHARDS)).unwrap_or(NonZeroUsize::MIN);
        // Not `LruCache::new`, which would allocate for all keys at once.
        let shard = |_| {
            let mut counters = LruCache::unbounded();
            counters.resize(each);
            Mutex::new(counters)
        };
        LocalLimits {
            shards: (0..SHARDS).map(shard).collect(),
            now: Box::new(now),
        }
    }

    /// [`Limits::take`], at once.
    pub fn take_now(&self, name: &str, key: &str, windows: &[Window], cost: u32) -> Verdict {
        let identity = identity(name, key);
        let now = (self.now)().saturating_mul(1_000);
        let shard = &self.shards[usize::from(identity[0]) % SHARDS];
        let mut counters = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counters.get_mut(&identity);
        let arrivals: Vec<u64> = windows
            .iter()
            .map(|window| {
                let known = known.as_deref().into_iter().flatten();
                known
                    .filter(|(kept, _)| kept == window)
                    .map(|(_, arrival)| *arrival)
                    .next()
            })
            .map(Option::unwrap_or_default)
            .collect();
        let (verdict, kept) = gcra::decide(windows, &arrivals, cost, now);
        if let Some(kept) = kept {
            let kept = windows.iter().copied().zip(kept).collect();
            match known {
                Some(known) => *known = kept,
                None => {
                    counters.put(identity, kept);
                }
            }
        }
        verdict
    }
}

impl Limits for LocalLimits {
    fn take<'a>(
        &'a self,
        name: &'a str,
        key: &'a str,
        windows: &'a [Window],
        cost: u32,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(std::future::ready(self.take_now(name, key, windows, cost)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{LocalLimits, SHARDS, Window};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    const ONE: [Window; 1] = [Window {
        limit: 1,
        seconds: 10,
    }];

    #[test]
    fn names_and_keys_count_apart_and_time_gives_back() {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let limits = LocalLimits::new(100, move || clock.load(Ordering::Relaxed));
        let take = |name, key| limits.take_now(name, key, &ONE, 1).allowed;
        assert!(take("a", "k") && take("b", "k") && take("a", "l"));
        assert!(take("ab", "c") && take("a", "bc"));
        assert!(!take("a", "k"));
        now.fetch_add(9_999, Ordering::Relaxed);
        assert!(!take("a", "k"));
        now.fetch_add(1, Ordering::Relaxed);
        assert!(take("a", "k"));
    }

    #[test]
    fn the_keys_are_bounded() {
        let limits = LocalLimits::new(SHARDS, || 0);
        for key in 0..1_000 {
            limits.take_now("a", &key.to_string(), &ONE, 1);
        }
        let kept: usize = limits
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert!(kept <= SHARDS, "{kept}");
    }
}
