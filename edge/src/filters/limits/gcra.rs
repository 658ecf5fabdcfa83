//! The decision itself, without a store or a clock. Times are in microseconds.

use super::{Standing, Verdict, Window};

/// What a cost would mean for a key whose arrival times are `arrivals`, one for each window (0
/// where there is none yet): the verdict and, when it is allowed, the arrival times to keep.
pub(super) fn decide(
    windows: &[Window],
    arrivals: &[u64],
    cost: u32,
    now: u64,
) -> (Verdict, Option<Vec<u64>>) {
    let before: Vec<u64> = arrivals.iter().map(|arrival| (*arrival).max(now)).collect();
    let after: Vec<u64> = before
        .iter()
        .zip(windows)
        .map(|(arrival, window)| arrival.saturating_add(window.interval() * u64::from(cost)))
        .collect();
    let latest = |window: &Window| now + window.interval() * u64::from(window.limit);
    let allowed = after
        .iter()
        .zip(windows)
        .all(|(arrival, window)| *arrival <= latest(window));
    let kept = if allowed { &after } else { &before };
    let standings = windows.iter().enumerate().map(|(at, window)| {
        let remaining = latest(window).saturating_sub(kept[at]) / window.interval();
        let excess = after[at].saturating_sub(latest(window));
        Standing {
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_after: (kept[at] - now).div_ceil(1_000),
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
    const SECOND: u64 = 1_000_000;

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
        for limit in [1, 3, 7, 9, 11, 13, 600, 999_983] {
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
}
