//! Who may purge over the public listener, how often, and how long a receipt may be waited for.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::secret::Secret;
use super::units::{check_not_zero, duration};

/// `[purge]`: who may purge over the public listener, and how much is asked of the log by orders.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purge {
    /// The token that the `PURGE` method must carry as `Authorization: Bearer …`; without it the
    /// method is refused.
    pub token: Option<Secret>,
    /// Purge requests that this edge takes, on either listener.
    pub limit: Rate,
    /// Records that those requests may come to. What is allowed at once stays below what the log
    /// keeps, so that a burst of orders does not push an edge that was away off its end.
    pub record_limit: Rate,
    /// The longest time that an order may ask to wait for edges.
    #[serde(deserialize_with = "duration")]
    pub longest_wait: Duration,
}

impl Default for Purge {
    fn default() -> Purge {
        Purge {
            token: None,
            limit: Rate {
                count: 100,
                seconds: 1,
            },
            record_limit: Rate {
                count: 60_000,
                seconds: 60,
            },
            longest_wait: Duration::from_secs(30),
        }
    }
}

impl Purge {
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(token) = &self.token {
            token.check_token("purge.token")?;
        }
        check_not_zero("purge.longest_wait", self.longest_wait)
    }
}

/// So many in so much time, and no more than that at once: `"100/s"`, `"600/m"`, `"1000/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1,000,000.
    pub count: u32,
    pub seconds: u32,
}

/// The most that a rate may allow at once.
const MOST: u32 = 1_000_000;

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_rate(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is no rate: write \"100/s\", \"600/m\" or \"1000/h\", up to {MOST}"
            ))
        })
    }
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let count = count.trim();
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| is_number)?;
    (1..=MOST)
        .contains(&count)
        .then_some(Rate { count, seconds })
}

#[cfg(test)]
mod tests {
    use super::{Rate, parse_rate};

    #[test]
    fn a_rate_is_a_number_of_times_in_a_unit_of_time() {
        for (text, count, seconds) in [
            ("100/s", 100, 1),
            ("6 / m", 6, 60),
            ("1000000/h", 1_000_000, 3_600),
        ] {
            assert_eq!(parse_rate(text), Some(Rate { count, seconds }), "{text}");
        }
        for wrong in [
            "",
            "100",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1000001/s",
            "1/d",
            "1/s/s",
        ] {
            assert_eq!(parse_rate(wrong), None, "{wrong}");
        }
    }
}
