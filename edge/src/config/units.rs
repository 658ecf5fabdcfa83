//! Durations such as `"250ms"` and sizes such as `"16MiB"`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_semantics::StatusPattern;

/// A duration: digits and one of `ms`, `s`, `m`, `h`, `d`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Written::deserialize(deserializer)?.0)
}

/// A [`duration`] that may be absent.
pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// Durations by status: exact ones such as `404` before classes such as `5xx`, whatever their
/// order in the file.
pub(super) fn durations_by_status<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(StatusPattern, Duration)>, D::Error> {
    let durations = BTreeMap::<String, Written>::deserialize(deserializer)?;
    let entries = durations.into_iter().map(|(status, Written(duration))| {
        let pattern: StatusPattern = status.parse().map_err(D::Error::custom)?;
        if pattern == StatusPattern::One(StatusCode::NOT_MODIFIED) {
            let message = "a 304 is never stored: what it confirms keeps its own status";
            return Err(D::Error::custom(message));
        }
        Ok((pattern, duration))
    });
    let mut durations = entries.collect::<Result<Vec<_>, _>>()?;
    durations.sort_by_key(|(pattern, _)| matches!(pattern, StatusPattern::Class(_)));
    Ok(durations)
}

/// A size: a number of bytes, or digits and one of `KiB`, `MiB`, `GiB`.
pub(super) fn byte_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserializer.deserialize_any(Size)
}

pub(super) fn optional_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    byte_size(deserializer).map(Some)
}

/// A duration as it is written.
struct Written(Duration);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(Time).map(Written)
    }
}

/// Reads a duration.
struct Time;

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a duration such as \"5s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse_duration(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Duration, E> {
        Err(E::custom(match count {
            0.. => format!("{count} has no unit: write \"{count}s\" for seconds"),
            _ => format!("{count} is no duration: it must not be negative"),
        }))
    }
}

/// Reads a size.
struct Size;

impl Visitor<'_> for Size {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as \"16MiB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
        self.visit_u64(parse_byte_size(text).map_err(E::custom)?)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<usize, E> {
        let negative = |_| E::custom(format!("{bytes} is no size: it must not be negative"));
        self.visit_u64(u64::try_from(bytes).map_err(negative)?)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<usize, E> {
        usize::try_from(bytes).map_err(|_| E::custom("size is too large"))
    }
}

/// Refuses a limit that nothing could keep.
pub(super) fn check_not_zero(setting: &str, limit: Duration) -> Result<(), String> {
    if limit.is_zero() {
        return Err(format!("{setting} is zero: nothing is done in no time"));
    }
    Ok(())
}

/// Reads a duration as [`Config`](super::Config) does.
///
/// # Errors
/// What is no duration, and how one is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = count_and_unit(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    count
        .filter(|_| millis > 0)
        .and_then(|count| count.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("{text:?} is no duration: write \"250ms\", \"2s\", \"5m\", \"1h\" or \"1d\"")
        })
}

fn parse_byte_size(text: &str) -> Result<u64, String> {
    let (count, unit) = count_and_unit(text);
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    count
        .filter(|_| bytes > 0)
        .and_then(|count| count.checked_mul(bytes))
        .ok_or_else(|| format!("{text:?} is no size: write \"64KiB\", \"16MiB\" or \"1GiB\""))
}

fn count_and_unit(text: &str) -> (Option<u64>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..digits].parse().ok(), text[digits..].trim())
}

#[cfg(test)]
mod tests {
    use super::{parse_byte_size, parse_duration};
    use std::time::Duration;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(parse_duration("2 h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "5", "s", "-1s", "1.5s", "5 weeks", "99999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_byte_size("64KiB"), Ok(65_536));
        assert_eq!(parse_byte_size("10"), Ok(10));
        for wrong in ["", "KiB", "1KB", "-1", "99999999999GiB"] {
            assert!(parse_byte_size(wrong).is_err(), "{wrong}");
        }
    }
}
