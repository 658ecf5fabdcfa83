//! Counting by GCRA, in several windows at once: the decision itself, without a store or a clock.
//!
//! A key has, in each window, a *theoretical arrival time*: the moment at which it will have its
//! whole limit again. Taking a unit moves that by `seconds / limit`; it may lie no further ahead
//! than the window is long. One number is all there is to keep. Times are in whole microseconds, as
//! Lua's numbers hold them: what a unit costs is rounded up, so that 10,000 a second may come to a
//! hundredth less, and 100,000 to a tenth. Faster ones would be other limits than those meant.
//!
//! There is no edge of a window at which a whole limit comes back: units come back one by one. A
//! stretch of `seconds` sees a whole limit at once and what came back since, so fewer than twice
//! the limit, and a long one as many as its length allows.

/// At most `limit` units at once, which come back evenly within `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// 1 to 100,000 for each second of the window.
    pub limit: u32,
    /// 1 to 31,622,400 (a leap year).
    pub seconds: u32,
}

/// The most windows counted in at once.
const MOST_WINDOWS: usize = 16;
/// The longest window, in seconds.
const LONGEST: u32 = 366 * 86_400;
/// The most units for each second of a window.
const MOST_PER_SECOND: u64 = 100_000;
/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

impl Window {
    /// Whether these can be counted in together.
    ///
    /// # Errors
    /// Which bound is exceeded, and by what.
    pub(crate) fn check(windows: &[Window]) -> Result<(), String> {
        if windows.is_empty() || windows.len() > MOST_WINDOWS {
            return Err(format!(
                "{} windows instead of 1 to {MOST_WINDOWS}",
                windows.len()
            ));
        }
        for Window { limit, seconds } in windows {
            if !(1..=LONGEST).contains(seconds) {
                return Err(format!(
                    "a window of {seconds} seconds instead of 1 to {LONGEST}"
                ));
            }
            let most = u64::from(*seconds) * MOST_PER_SECOND;
            if !(1..=most).contains(&u64::from(*limit)) {
                return Err(format!(
                    "a limit of {limit} in {seconds} seconds instead of 1 to {most}"
                ));
            }
        }
        Ok(())
    }

    /// The microseconds that one unit costs, rounded up: never more than the limit in a window.
    pub(crate) fn interval(self) -> u64 {
        (u64::from(self.seconds) * SECOND)
            .div_ceil(u64::from(self.limit.max(1)))
            .max(1)
    }

    /// The microseconds that this many units cost.
    pub(crate) fn span(self, units: u32) -> u64 {
        self.interval().saturating_mul(units.into())
    }

    /// The latest that an arrival time may be at `now`.
    pub(crate) fn latest(self, now: u64) -> u64 {
        now.saturating_add(self.span(self.limit))
    }
}

/// Where a key stands in one window, after the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that could be taken now.
    pub remaining: u32,
    /// Milliseconds until the whole limit could be taken.
    pub reset_after: u64,
    /// Milliseconds until the window would allow the cost that was asked for; 0 when it does.
    pub retry_after: u64,
}

/// Whether a cost was taken, and where that leaves the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// When false, nothing was taken from any window.
    pub allowed: bool,
    /// One for each window, in the order asked.
    pub standings: Vec<Standing>,
}

/// What a cost would mean for a key whose arrival times are `arrivals`, one for each window (0
/// where there is none yet): the verdict and, when it is allowed, the arrival times to keep.
pub(crate) fn decide(
    windows: &[Window],
    arrivals: &[u64],
    cost: u32,
    now: u64,
) -> (Verdict, Option<Vec<u64>>) {
    let before = |at: usize| arrivals[at].max(now);
    let after: Vec<u64> = windows
        .iter()
        .enumerate()
        .map(|(at, window)| before(at).saturating_add(window.span(cost)))
        .collect();
    let latest = |window: &Window| window.latest(now);
    let allowed = after
        .iter()
        .zip(windows)
        .all(|(arrival, window)| *arrival <= latest(window));
    let kept = |at| if allowed { after[at] } else { before(at) };
    let standings = windows.iter().enumerate().map(|(at, window)| {
        let remaining = latest(window).saturating_sub(kept(at)) / window.interval();
        let excess = after[at].saturating_sub(latest(window));
        Standing {
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_after: (kept(at) - now).div_ceil(1_000),
            retry_after: if allowed { 0 } else { excess.div_ceil(1_000) },
        }
    });
    let verdict = Verdict {
        allowed,
        standings: standings.collect(),
    };
    (verdict, allowed.then_some(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Window = Window {
        limit: 6,
        seconds: 60,
    };
    const HOUR: Window = Window {
        limit: 8,
        seconds: 3_600,
    };
    const NOW: u64 = 1_700_000_000_000_000;

    /// Takes one at each moment (seconds after `NOW`) and says which were allowed.
    fn take_at(windows: &[Window], moments: &[u64]) -> Vec<bool> {
        let mut arrivals = vec![0; windows.len()];
        let take = |moment: &u64| {
            let (verdict, kept) = decide(windows, &arrivals, 1, NOW + moment * SECOND);
            if let Some(kept) = kept {
                arrivals = kept;
            }
            verdict.allowed
        };
        moments.iter().map(take).collect()
    }

    #[test]
    fn a_limit_may_be_used_at_once_and_comes_back_evenly() {
        assert_eq!(
            take_at(&[MINUTE], &[0, 0, 0, 0, 0, 0, 0, 9, 10, 10, 20]),
            [
                true, true, true, true, true, true, false, false, true, false, true
            ]
        );
    }

    #[test]
    fn every_window_must_allow_and_a_refusal_takes_from_none() {
        // Six at once use up the minute; two more, a minute later, the hour.
        assert_eq!(
            take_at(&[MINUTE, HOUR], &[0, 0, 0, 0, 0, 0, 0, 60, 60, 60, 60]),
            [
                true, true, true, true, true, true, false, true, true, false, false
            ]
        );
        let (verdict, kept) = decide(&[MINUTE, HOUR], &[NOW, NOW + 3_600 * SECOND], 1, NOW);
        assert_eq!(kept, None);
        assert!(!verdict.allowed);
        assert_eq!(verdict.standings[0].remaining, 6);
        assert_eq!(verdict.standings[1].retry_after, 450_000);
    }

    #[test]
    fn a_verdict_says_what_remains_and_until_when() {
        for (arrival, cost, allowed, remaining, reset_after, retry_after) in [
            (0, 1, true, 5, 10_000, 0),
            (0, 6, true, 0, 60_000, 0),
            (0, 7, false, 6, 0, 10_000),
            (0, 0, true, 6, 0, 0),
            (NOW + 60 * SECOND, 0, true, 0, 60_000, 0),
            (NOW + 60 * SECOND, 1, false, 0, 60_000, 10_000),
            (NOW + 55 * SECOND, 1, false, 0, 55_000, 5_000),
        ] {
            let (verdict, _) = decide(&[MINUTE], &[arrival], cost, NOW);
            let standing = Standing {
                remaining,
                reset_after,
                retry_after,
            };
            assert_eq!(
                verdict,
                Verdict {
                    allowed,
                    standings: vec![standing]
                }
            );
        }
    }

    #[test]
    fn no_limit_is_exceeded_by_rounding() {
        for limit in [1, 3, 7, 9, 11, 13, 600, 99_991, 100_000] {
            let window = Window { limit, seconds: 1 };
            let (verdict, _) = decide(&[window], &[0], limit, NOW);
            assert!(verdict.allowed, "{limit}");
            assert_eq!(verdict.standings[0].remaining, 0);
            assert!(
                !decide(&[window], &[0], limit + 1, NOW).0.allowed,
                "{limit}"
            );
        }
    }

    #[test]
    fn a_rate_that_whole_microseconds_cannot_tell_is_refused() {
        for (limit, seconds, refusal) in [
            (100_000, 1, None),
            (1, 366 * 86_400, None),
            (100_001, 1, Some("a limit of 100001 in 1 seconds")),
            (600_001, 6, Some("instead of 1 to 600000")),
            (0, 1, Some("a limit of 0")),
            (1, 0, Some("a window of 0 seconds")),
            (1, 366 * 86_400 + 1, Some("a window of 31622401 seconds")),
        ] {
            let checked = Window::check(&[Window { limit, seconds }]);
            let said = checked.as_ref().err().map(String::as_str).unwrap_or("");
            assert_eq!(checked.is_err(), refusal.is_some(), "{said}");
            assert!(said.contains(refusal.unwrap_or("")), "{said}");
        }
        // And those that are taken come to no less than nine tenths.
        for limit in (1..=100_000_u32).step_by(7) {
            let window = Window { limit, seconds: 1 };
            let whole = window.span(limit);
            assert!((SECOND..=SECOND * 11 / 10).contains(&whole), "{limit}");
        }
    }

    #[test]
    fn a_cost_beyond_all_bounds_is_refused_like_others() {
        let window = Window {
            limit: 1,
            seconds: LONGEST,
        };
        let (verdict, kept) = decide(&[window], &[0], u32::MAX, NOW);
        assert_eq!((verdict.allowed, kept), (false, None));
        assert!(verdict.standings[0].retry_after > u64::from(LONGEST) * 1_000);
    }
}
