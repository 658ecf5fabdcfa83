//! The fields that tell a client where it stands: Structured Fields (RFC 9651), each a List with
//! a member per window (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4).

use std::fmt::Write;

use tidegate_sdk::limits::{Standing, Verdict};

use crate::config::{Config, Window};

/// `RateLimit-Policy`: `q`, the limit, in `w` seconds.
pub(crate) fn policy(config: &Config) -> String {
    let mut members = String::new();
    for window in &config.windows {
        begin_member(&mut members, config, window);
        let _ = write!(members, ";q={};w={}", window.limit, window.seconds);
    }
    members
}

/// One more member of a list, up to its parameters: what clients know a window by.
fn begin_member(members: &mut String, config: &Config, window: &Window) {
    members.push_str(if members.is_empty() { "\"" } else { ", \"" });
    config.write_policy_name(window, members);
    members.push('"');
}

/// `RateLimit`: `r`, what remains, and `t`, the seconds for which it has to do. Of a refusal only
/// the windows that refuse, since `Retry-After` should not be before the end of any `t` (section 6).
pub(crate) fn standing(config: &Config, verdict: &Verdict) -> String {
    let standings = verdict.standings.iter().zip(&config.windows);
    let mut members = String::new();
    for (standing, window) in
        standings.filter(|(standing, _)| verdict.allowed || standing.retry_after > 0)
    {
        begin_member(&mut members, config, window);
        let for_seconds = effective_window(window, standing).div_ceil(1_000);
        let _ = write!(members, ";r={};t={for_seconds}", standing.remaining);
    }
    members
}

/// The milliseconds for which what remains has to do: until more comes back, and no less than the
/// window grants for so much, so that nobody reads a higher rate out of `r` and `t` than out of the
/// policy (section 8.5). For a window that refuses, until it no longer does.
fn effective_window(window: &Window, standing: &Standing) -> u64 {
    if standing.retry_after > 0 {
        return standing.retry_after;
    }
    let limit = u64::from(window.limit);
    let remaining = u64::from(standing.remaining);
    let share = |units: u64| {
        let whole = u128::from(units) * u128::from(window.seconds) * 1_000;
        u64::try_from(whole.div_ceil(u128::from(limit))).unwrap_or(u64::MAX)
    };
    let used = limit.saturating_sub(remaining);
    let next = standing
        .reset_after
        .saturating_sub(share(used.saturating_sub(1)));
    share(remaining).max(next)
}

/// `Retry-After`: the seconds after which every window allows the request.
pub(crate) fn retry_after(verdict: &Verdict) -> u64 {
    let longest = verdict
        .standings
        .iter()
        .map(|standing| standing.retry_after)
        .max();
    longest.unwrap_or(0).div_ceil(1_000)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use tidegate_sdk::limits::Standing;

    fn config(windows: &str) -> Config {
        Config::from_json(&format!(r#"{{"name": "api", "windows": [{windows}]}}"#)).unwrap()
    }

    fn verdict(allowed: bool, standings: &[(u32, u64, u64)]) -> Verdict {
        let standings = standings
            .iter()
            .map(|&(remaining, reset_after, retry_after)| Standing {
                remaining,
                reset_after,
                retry_after,
            });
        Verdict {
            allowed,
            standings: standings.collect(),
        }
    }

    #[test]
    fn one_window_has_the_name_of_the_limit() {
        let config = config(r#"{"limit": 10, "seconds": 60}"#);
        assert_eq!(policy(&config), r#""api";q=10;w=60"#);
        for (remaining, reset_after, expected) in [
            (10, 0, r#""api";r=10;t=60"#),
            (9, 5_999, r#""api";r=9;t=54"#),
            (1, 54_000, r#""api";r=1;t=6"#),
            (0, 60_000, r#""api";r=0;t=6"#),
            (0, 56_100, r#""api";r=0;t=3"#),
        ] {
            let verdict = verdict(true, &[(remaining, reset_after, 0)]);
            assert_eq!(standing(&config, &verdict), expected);
        }
    }

    #[test]
    fn several_windows_are_told_apart_by_their_length() {
        let config = config(r#"{"limit": 10, "seconds": 60}, {"limit": 100, "seconds": 3600}"#);
        assert_eq!(
            policy(&config),
            r#""api-60";q=10;w=60, "api-3600";q=100;w=3600"#
        );
        let allowed = verdict(true, &[(0, 60_000, 0), (90, 360_000, 0)]);
        assert_eq!(
            standing(&config, &allowed),
            r#""api-60";r=0;t=6, "api-3600";r=90;t=3240"#
        );
        let refused = verdict(false, &[(0, 60_000, 2_500), (90, 360_000, 0)]);
        assert_eq!(standing(&config, &refused), r#""api-60";r=0;t=3"#);
        assert_eq!(retry_after(&refused), 3);
    }
}
