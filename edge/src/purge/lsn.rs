//! A position in the database's own log: how far a replica must have replayed before it answers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A position in Postgres's write-ahead log with its timeline, ordered by timeline first: a
/// fail-over begins a higher one, and positions of the old one say nothing on it.
///
/// Its text is `TIMELINE:HIGH/LOW`, Postgres's own `pg_lsn` behind the timeline's number:
/// `1:0/16B3748`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn {
    timeline: u32,
    position: u64,
}

/// The text of [`Lsn::PRIMARY`].
const PRIMARY: &str = "primary";

/// Why a text is no [`Lsn`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position in a database's log: TIMELINE:HIGH/LOW, such as 1:0/16B3748")]
pub struct NoLsn(String);

impl Lsn {
    /// Beyond every position: which one is needed is not known, so that no replica will do. Its
    /// text is `primary`.
    pub const PRIMARY: Lsn = Lsn {
        timeline: u32::MAX,
        position: u64::MAX,
    };
}

impl FromStr for Lsn {
    type Err = NoLsn;

    fn from_str(text: &str) -> Result<Lsn, NoLsn> {
        if text == PRIMARY {
            return Ok(Lsn::PRIMARY);
        }
        let parse = || {
            let (timeline, position) = text.split_once(':')?;
            let (high, low) = position.split_once('/')?;
            // A sign is taken by the parser of numbers.
            let is_number = timeline.bytes().all(|byte| byte.is_ascii_digit());
            let timeline = timeline.parse().ok().filter(|timeline| *timeline > 0)?;
            let position = u64::from(half(high)?) << u32::BITS | u64::from(half(low)?);
            is_number.then_some(Lsn { timeline, position })
        };
        parse().ok_or_else(|| NoLsn(text.chars().take(64).collect()))
    }
}

fn half(text: &str) -> Option<u32> {
    let is_hexadecimal = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(text, 16)
        .ok()
        .filter(|_| is_hexadecimal)
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Lsn::PRIMARY {
            return formatter.write_str(PRIMARY);
        }
        let (high, low) = (self.position >> u32::BITS, self.position & 0xFFFF_FFFF);
        write!(formatter, "{}:{high:X}/{low:X}", self.timeline)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lsn({self})")
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Lsn, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A record's: one that cannot be read is one that is not known, for the record must purge all the
/// same.
pub(super) fn known_or_not<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Lsn>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    let lsn = match &value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    Ok(Some(lsn.unwrap_or(Lsn::PRIMARY)))
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    fn lsn(text: &str) -> Lsn {
        text.parse().expect(text)
    }

    #[test]
    fn its_text_is_that_of_the_database_behind_the_timeline() {
        for (text, canonical) in [
            ("1:0/16B3748", "1:0/16B3748"),
            ("1:0/016b3748", "1:0/16B3748"),
            ("12:A/0", "12:A/0"),
            (
                "4294967295:FFFFFFFF/FFFFFFFE",
                "4294967295:FFFFFFFF/FFFFFFFE",
            ),
            ("primary", "primary"),
        ] {
            assert_eq!(lsn(text).to_string(), canonical);
            let json = serde_json::to_string(&lsn(text)).expect("a text");
            assert_eq!(json, format!("{canonical:?}"));
            assert_eq!(
                serde_json::from_str::<Lsn>(&json).expect("its own"),
                lsn(text)
            );
        }
    }

    #[test]
    fn the_timeline_counts_before_the_position_and_no_position_reaches_the_primary() {
        let in_order = [
            "1:0/9", "1:0/A", "1:1/0", "1:10/0", "2:0/0", "10:0/0", "primary",
        ];
        let lsns = in_order.map(lsn);
        assert!(lsns.is_sorted_by(|one, other| one < other), "{lsns:?}");
    }

    #[test]
    fn anything_else_is_refused_and_shown() {
        for text in [
            "",
            "0/16B3748",
            "1:0",
            "1:/0",
            "1:0/",
            ":0/0",
            "0:0/1",
            "+1:0/0",
            "-1:0/0",
            "1:+0/0",
            "1:0/0/0",
            "1:1:0/0",
            "1:100000000/0",
            "1:0/000000001",
            "4294967296:0/0",
            " 1:0/0",
            "1:0/0 ",
            "1:0/G",
            "Primary",
        ] {
            let refused = text.parse::<Lsn>().expect_err(text).to_string();
            assert!(refused.starts_with(&format!("{text:?} is no")), "{refused}");
        }
        let long = "x".repeat(10_000).parse::<Lsn>().expect_err("too long");
        assert!(long.to_string().len() < 200);
    }
}
