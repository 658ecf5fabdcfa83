//! Durations such as `"250ms"` and sizes such as `"16MiB"`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tidegate_semantics::StatusPattern;

/// A duration: digits and one of `ms`, `s`, `m`, `h`, `d`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
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
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let entries = texts.iter().map(|(status, duration)| {
        let pattern: StatusPattern = status.parse().map_err(D::Error::custom)?;
        let duration = parse_duration(duration).map_err(D::Error::custom)?;
        Ok((pattern, duration))
    });
    let mut durations = entries.collect::<Result<Vec<_>, _>>()?;
    durations.sort_by_key(|(pattern, _)| matches!(pattern, StatusPattern::Class(_)));
    Ok(durations)
}

/// A size: a number of bytes, or digits and one of `KiB`, `MiB`, `GiB`.
pub(super) fn byte_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    let size = match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse_byte_size(&text),
    };
    size.and_then(|bytes| usize::try_from(bytes).map_err(|_| "size is too large".to_owned()))
        .map_err(D::Error::custom)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
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
