//! Counting in this process.

use std::pin::Pin;

use super::shards::Shards;
use super::views::Views;
use super::{Counting, Limits, MOST_WINDOWS_OF_A_KEY, NotCounted, Take, Window, identity};
use crate::gcra;

/// Counters in memory, for this process alone: what there is without Redis.
///
/// It holds a bounded number of keys. Past that, the key that was asked about longest ago is
/// forgotten, and starts again with its whole limit. A key has a bounded number of windows, past
/// which no others are counted in until one of them is whole again.
pub struct LocalLimits {
    counters: Shards<Vec<(Window, u64)>>,
    views: Views,
    now: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl LocalLimits {
    /// Counters for about `keys` keys; `now` is the time in milliseconds.
    pub fn new(keys: usize, now: impl Fn() -> u64 + Send + Sync + 'static) -> LocalLimits {
        LocalLimits {
            counters: Shards::new(keys),
            views: Views::new(keys),
            now: Box::new(now),
        }
    }

    /// [`Limits::take`], at once.
    ///
    /// # Errors
    /// [`NotCounted`].
    pub fn take_now(&self, take: &Take<'_>) -> Counting {
        take.check()?;
        let identity = identity(take.name, take.key);
        let now = self.micros();
        let mut counters = self.counters.of(&identity);
        let known = counters.get_or_insert_mut(identity, Vec::new);
        let arrival_in = |window: &Window| {
            let kept = known.iter().find(|(kept, _)| kept == window);
            kept.map_or(0, |(_, arrival)| *arrival)
        };
        let arrivals: Vec<u64> = take.windows.iter().map(arrival_in).collect();
        let (verdict, kept) = gcra::decide(take.windows, &arrivals, take.cost, now);
        if let Some(kept) = kept {
            // Another route may count in the same key, in windows of its own.
            let is_others = |window: &Window| !take.windows.contains(window);
            known.retain(|(window, arrival)| *arrival > now || !is_others(window));
            let others = known.iter().filter(|(window, _)| is_others(window));
            if others.count() + take.windows.len() > MOST_WINDOWS_OF_A_KEY {
                return Err(NotCounted::TooManyWindows);
            }
            known.retain(|(window, _)| is_others(window));
            known.extend(take.windows.iter().copied().zip(kept));
        }
        Ok(verdict)
    }

    /// What this process knows of counters that it shares with others.
    pub(super) fn views(&self) -> &Views {
        &self.views
    }

    /// The time in microseconds.
    pub(super) fn micros(&self) -> u64 {
        (self.now)().saturating_mul(1_000)
    }
}

impl Limits for LocalLimits {
    fn take<'a>(&'a self, take: Take<'a>) -> Pin<Box<dyn Future<Output = Counting> + Send + 'a>> {
        Box::pin(std::future::ready(self.take_now(&take)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::LONGEST_NAME;
    use super::{LocalLimits, MOST_WINDOWS_OF_A_KEY, NotCounted, Take, Window};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    const ONE: [Window; 1] = [Window {
        limit: 1,
        seconds: 10,
    }];
    const HOUR: [Window; 1] = [Window {
        limit: 1,
        seconds: 3_600,
    }];

    fn one<'a>(name: &'a str, key: &'a str, windows: &'a [Window]) -> Take<'a> {
        Take {
            name,
            key,
            windows,
            cost: 1,
            is_asynchronous: false,
        }
    }

    fn allows(limits: &LocalLimits, take: &Take<'_>) -> bool {
        let counted = limits.take_now(take);
        counted.expect("it is within bounds").allowed
    }

    #[test]
    fn names_and_keys_count_apart_and_time_gives_back() {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let limits = LocalLimits::new(100, move || clock.load(Ordering::Relaxed));
        let take = |name, key| allows(&limits, &one(name, key, &ONE));
        assert!(take("a", "k") && take("b", "k") && take("a", "l"));
        assert!(take("ab", "c") && take("a", "bc"));
        assert!(!take("a", "k"));
        now.fetch_add(9_999, Ordering::Relaxed);
        assert!(!take("a", "k"));
        now.fetch_add(1, Ordering::Relaxed);
        assert!(take("a", "k"));
    }

    #[test]
    fn routes_that_count_a_key_in_other_windows_do_not_reset_it() {
        let limits = LocalLimits::new(100, || 1_700_000_000_000);
        let take = |windows| allows(&limits, &one("a", "k", windows));
        assert!(take(&HOUR) && take(&ONE));
        assert!(!take(&HOUR) && !take(&ONE));
    }

    #[test]
    fn a_key_under_parallel_load_is_counted_exactly() {
        const LIMIT: u32 = 1_000;
        let window = [Window {
            limit: LIMIT,
            seconds: 3_600,
        }];
        let limits = LocalLimits::new(100, || 1_700_000_000_000);
        let take = |_| allows(&limits, &one("a", "hot", &window));
        let load = || (0..LIMIT).map(take).filter(|allowed| *allowed).count();
        let allowed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap_or(0));
            counts.sum()
        });
        assert_eq!(allowed, LIMIT as usize);
    }

    #[test]
    fn the_keys_are_bounded() {
        let limits = LocalLimits::new(16, || 0);
        for key in 0..1_000 {
            assert!(allows(&limits, &one("a", &key.to_string(), &ONE)));
        }
        assert!(limits.counters.len() <= 16, "{}", limits.counters.len());
    }

    #[test]
    fn a_key_is_counted_in_so_many_windows_and_in_others_once_one_is_whole_again() {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let limits = LocalLimits::new(100, move || clock.load(Ordering::Relaxed));
        let take = |seconds: usize| {
            let seconds = u32::try_from(seconds).expect("a few");
            let windows = [Window { limit: 2, seconds }];
            limits.take_now(&one("a", "k", &windows))
        };
        for seconds in 1..=MOST_WINDOWS_OF_A_KEY {
            assert!(take(seconds).is_ok());
        }
        assert_eq!(
            take(MOST_WINDOWS_OF_A_KEY + 1),
            Err(NotCounted::TooManyWindows)
        );
        // Those that are counted go on; another key has windows of its own.
        assert!(take(MOST_WINDOWS_OF_A_KEY).is_ok_and(|verdict| verdict.allowed));
        assert!(allows(&limits, &one("a", "l", &HOUR)));
        now.fetch_add(1_000, Ordering::Relaxed);
        assert!(take(MOST_WINDOWS_OF_A_KEY + 1).is_ok_and(|verdict| verdict.allowed));
    }

    #[test]
    fn a_name_that_is_too_long_is_not_counted() {
        let limits = LocalLimits::new(100, || 0);
        let longest = "n".repeat(LONGEST_NAME);
        assert!(allows(&limits, &one(&longest, "k", &ONE)));
        let longer = format!("{longest}n");
        let counted = limits.take_now(&one(&longer, "k", &ONE));
        assert_eq!(counted, Err(NotCounted::NameTooLong(LONGEST_NAME + 1)));
    }
}
