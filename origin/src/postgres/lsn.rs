//! A position in PostgreSQL's write-ahead log, with its timeline.

use std::{fmt, str::FromStr};

/// How far a database has come: `TIMELINE:HIGH/LOW`, PostgreSQL's own `pg_lsn` behind the number of its timeline
/// (`1:0/16B3748`). Positions of two timelines say nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lsn {
    pub(crate) timeline: u32,
    pub(crate) position: u64,
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position of the form TIMELINE:HIGH/LOW, such as 1:0/16B3748")]
pub struct NoLsn;

impl FromStr for Lsn {
    type Err = NoLsn;

    fn from_str(text: &str) -> Result<Self, NoLsn> {
        let (timeline, position) = text.split_once(':').ok_or(NoLsn)?;
        // The parser of numbers would take a sign.
        if !timeline.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoLsn);
        }
        match timeline.parse() {
            Ok(timeline) if timeline > 0 => Ok(Self {
                timeline,
                position: position_of(position).ok_or(NoLsn)?,
            }),
            _ => Err(NoLsn),
        }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.position >> 32, self.position & 0xFFFF_FFFF);
        write!(formatter, "{}:{high:X}/{low:X}", self.timeline)
    }
}

/// The number that a `pg_lsn` stands for.
pub(crate) fn position_of(text: &str) -> Option<u64> {
    let half = |digits: &str| {
        let is_number =
            (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| is_number)
    };
    let (high, low) = text.split_once('/')?;
    Some(half(high)? << 32 | half(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_that_of_the_database_behind_the_timeline() {
        for (text, canonical) in [
            ("1:0/16B3748", "1:0/16B3748"),
            ("1:0/016b3748", "1:0/16B3748"),
            ("12:A/0", "12:A/0"),
            (
                "4294967295:FFFFFFFF/FFFFFFFF",
                "4294967295:FFFFFFFF/FFFFFFFF",
            ),
        ] {
            assert_eq!(
                text.parse().map(|lsn: Lsn| lsn.to_string()),
                Ok(canonical.to_owned())
            );
        }
    }

    #[test]
    fn anything_else_is_no_position() {
        for text in [
            "",
            "primary",
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
        ] {
            assert_eq!(text.parse::<Lsn>(), Err(NoLsn), "{text:?}");
        }
    }
}
