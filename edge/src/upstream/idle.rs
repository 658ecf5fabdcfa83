//! Connections that wait to be used again, the latest first, none too long.

use std::time::{Duration, Instant};

/// How long a connection may wait. Many servers, and most of what lies between, give an idle one up
/// after a minute, not always audibly.
const MAX_AGE: Duration = Duration::from_secs(30);

/// What waits, in the order of its coming.
pub(super) struct Idle<T> {
    waiting: Vec<(T, Instant)>,
    capacity: usize,
}

impl<T> Idle<T> {
    /// Room for so many.
    pub(super) fn new(capacity: usize) -> Idle<T> {
        Idle {
            waiting: Vec::new(),
            capacity,
        }
    }

    /// The one that came last, and how long it has waited, unless that is too long.
    pub(super) fn take(&mut self, now: Instant) -> Option<(T, Duration)> {
        let (waiting, since) = self.waiting.pop()?;
        if is_too_old(since, now) {
            // Whatever came before it has waited longer.
            self.waiting.clear();
            return None;
        }
        Some((waiting, now.saturating_duration_since(since)))
    }

    /// Keeps one, if there is room without those that have waited too long.
    pub(super) fn put(&mut self, one: T, now: Instant) {
        let old = self
            .waiting
            .partition_point(|(_, since)| is_too_old(*since, now));
        self.waiting.drain(..old);
        if self.waiting.len() < self.capacity {
            self.waiting.push((one, now));
        }
    }
}

fn is_too_old(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= MAX_AGE
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Idle, MAX_AGE};

    #[test]
    fn the_latest_comes_first_and_none_comes_late() {
        let start = Instant::now();
        let mut idle = Idle::new(3);
        for (number, second) in [(1, 0), (2, 10), (3, 20), (4, 20)] {
            idle.put(number, start + Duration::from_secs(second));
        }
        let late = start + Duration::from_secs(10) + MAX_AGE;
        let waited = Duration::from_secs(20);
        assert_eq!(
            idle.take(late),
            Some((3, waited)),
            "there was no room for 4"
        );
        assert_eq!(idle.take(late), None, "2 and 1 have waited too long");
        assert_eq!(idle.take(start), None, "and are gone");
    }

    #[test]
    fn what_has_waited_too_long_takes_no_room() {
        let start = Instant::now();
        let mut idle = Idle::new(1);
        idle.put(1, start);
        idle.put(2, start + MAX_AGE);
        assert_eq!(idle.take(start + MAX_AGE), Some((2, Duration::ZERO)));
    }
}
