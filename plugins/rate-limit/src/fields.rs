//! The fields that tell a client where it stands: Structured Fields (RFC 9651), each a List with
//! a member per window (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4).

use tidegate_sdk::limits::Verdict;

use crate::config::Config;

/// `RateLimit-Policy`: `q`, the limit, in `w` seconds.
pub(crate) fn policy(config: &Config) -> String {
    let members = config.windows.iter().map(|window| {
        format!(
            "\"{}\";q={};w={}",
            config.policy_name(window),
            window.limit,
            window.seconds
        )
    });
    members.collect::<Vec<_>>().join(", ")
}

/// `RateLimit`: `r`, what remains, and `t`, the seconds until it is the whole limit again; for a
/// window that refuses, the seconds after which it no longer does, so that it names the same
/// moment as `Retry-After`.
pub(crate) fn standing(config: &Config, verdict: &Verdict) -> String {
    let members = verdict
        .standings
        .iter()
        .zip(&config.windows)
        .map(|(standing, window)| {
            let until = if standing.retry_after > 0 {
                standing.retry_after
            } else {
                standing.reset_after
            };
            format!(
                "\"{}\";r={};t={}",
                config.policy_name(window),
                standing.remaining,
                until.div_ceil(1_000)
            )
        });
    members.collect::<Vec<_>>().join(", ")
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
        assert_eq!(
            standing(&config, &verdict(true, &[(9, 5_999, 0)])),
            r#""api";r=9;t=6"#
        );
    }

    #[test]
    fn several_windows_are_told_apart_by_their_length() {
        let config = config(r#"{"limit": 10, "seconds": 60}, {"limit": 100, "seconds": 3600}"#);
        assert_eq!(
            policy(&config),
            r#""api-60";q=10;w=60, "api-3600";q=100;w=3600"#
        );
        let verdict = verdict(false, &[(0, 60_000, 2_500), (90, 36_000, 0)]);
        assert_eq!(
            standing(&config, &verdict),
            r#""api-60";r=0;t=3, "api-3600";r=90;t=36"#
        );
        assert_eq!(retry_after(&verdict), 3);
    }
}
