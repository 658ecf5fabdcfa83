//! An entry of the stream, as it is written there.
//!
//! Every entry carries `e`, the epoch made with the stream, `p`, the id before it, and `r`, the
//! record as JSON; the entry that founds a log has no `r`, and in `a` the position that its founder
//! had reached in the log before. An entry whose `p` is not the reader's position tells of records
//! that it missed. What is none of ours in the stream counts as a purge of everything.

use std::collections::HashMap;

use redis::Value;

use crate::purge::lsn::Lsn;
use crate::purge::record::{COUNTER_BITS, Position, Record, Scope};

/// One entry of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::purge) struct Entry {
    pub seq: u64,
    /// `None` for what is no entry of any log; it counts as a hard record of everything.
    pub place: Option<Place>,
    /// `None` for the entry that founds a log.
    pub record: Option<Record>,
    /// What its founder had read of the log before this one.
    pub after: Option<Position>,
}

/// Where an entry stands in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::purge) struct Place {
    pub epoch: u64,
    /// The `seq` of the entry before it.
    pub previous: u64,
}

impl Entry {
    /// Whether it belongs to no other log than this one.
    pub fn may_be_of(&self, epoch: u64) -> bool {
        self.place.is_none_or(|place| place.epoch == epoch)
    }
}

/// An id that is no position.
#[derive(Debug, thiserror::Error)]
#[error("the purge log holds an entry {0}, which is no id of 44 and 20 bits")]
pub(super) struct OutOfBounds(String);

/// An entry; one that cannot be read is told of.
///
/// # Errors
/// When its id does not fit.
pub(super) fn parse(id: &str, fields: &HashMap<String, Value>) -> Result<Entry, OutOfBounds> {
    let (entry, is_readable) = interpret(id, fields)?;
    if !is_readable {
        tracing::error!(
            id,
            "the purge log holds what this version cannot read: purging everything"
        );
    }
    Ok(entry)
}

/// The same, and whether it could be read.
pub(super) fn interpret(
    id: &str,
    fields: &HashMap<String, Value>,
) -> Result<(Entry, bool), OutOfBounds> {
    let seq = from_id(id).ok_or_else(|| OutOfBounds(id.to_owned()))?;
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(|value| redis::from_redis_value_ref::<String>(value).ok())
    };
    let epoch = text("e").and_then(|epoch| to_epoch(&epoch));
    let previous = text("p").and_then(|id| from_id(&id));
    let place = epoch
        .zip(previous)
        .map(|(epoch, previous)| Place { epoch, previous });
    let record = text("r").and_then(|json| serde_json::from_str(&json).ok());
    let after = text("a").and_then(|after| to_position(&after));
    let is_founding = place.is_some() && !fields.contains_key("r");
    if record.is_none() && !is_founding || place.is_none() {
        // What it says of the database cannot be read either.
        let record = Record::hard(Scope::All).with_lsn(Lsn::PRIMARY);
        let entry = Entry {
            seq,
            place,
            record: Some(record),
            after,
        };
        return Ok((entry, false));
    }
    let entry = Entry {
        seq,
        place,
        record,
        after,
    };
    Ok((entry, true))
}

/// What [`Position`] writes; `None` for what is none.
pub(in crate::purge) fn to_position(text: &str) -> Option<Position> {
    let (epoch, id) = text.split_once(':')?;
    Some(Position {
        epoch: to_epoch(epoch)?,
        seq: from_id(id)?,
    })
}

/// A random name for a new log.
pub(super) fn new_epoch() -> String {
    format!("{:016x}", crate::random::word())
}

/// `None` for what is no name of a log: 16 hexadecimal digits, as the script demands too.
pub(super) fn to_epoch(text: &str) -> Option<u64> {
    let is_name = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_name)
}

pub(super) fn to_id(seq: u64) -> String {
    format!(
        "{}-{}",
        seq >> COUNTER_BITS,
        seq & ((1 << COUNTER_BITS) - 1)
    )
}

/// `None` for what is no id, and for one that does not fit 44 + 20 bits.
pub(super) fn from_id(id: &str) -> Option<u64> {
    let (millis, counter) = id.split_once('-')?;
    let (millis, counter): (u64, u64) = (millis.parse().ok()?, counter.parse().ok()?);
    (millis < 1 << (u64::BITS - COUNTER_BITS) && counter < 1 << COUNTER_BITS)
        .then_some(millis << COUNTER_BITS | counter)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use redis::Value;

    use super::{Entry, Lsn, Place, Record, Scope, from_id, parse, to_id};

    #[test]
    fn ids_pack_into_44_and_20_bits() {
        assert_eq!(
            from_id("1700000000000-7").map(to_id).as_deref(),
            Some("1700000000000-7")
        );
        for too_large in ["1-1048576", "17592186044416-0", "1", "a-b", "-1"] {
            assert_eq!(from_id(too_large), None, "{too_large}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_a_purge_of_everything_at_its_position() {
        const EPOCH: &str = "00000000000000ff";
        let record = r#"{"scope":"tag","value":"t"}"#;
        let tag = Record::hard(Scope::Tag("t".to_owned()));
        let everything = || Some(Record::hard(Scope::All).with_lsn(Lsn::PRIMARY));
        let place = Some(Place {
            epoch: 255,
            previous: 1,
        });
        type Fields = &'static [(&'static str, &'static str)];
        let tables: [(Fields, Option<Place>, Option<Record>); 6] = [
            (&[("e", EPOCH), ("p", "0-1")], place, None),
            (
                &[("e", EPOCH), ("p", "0-1"), ("r", "{}")],
                place,
                everything(),
            ),
            (&[("e", EPOCH)], None, everything()),
            (&[("e", EPOCH), ("p", "0-1048576")], None, everything()),
            (&[("e", "+ff"), ("p", "0-1")], None, everything()),
            (&[("a", "b")], None, everything()),
        ];
        let read = |fields: &[(&str, &str)]| {
            let value = |text: &str| Value::BulkString(text.as_bytes().to_vec());
            let fields = fields.iter();
            let fields: HashMap<_, _> = fields
                .map(|(name, text)| ((*name).to_owned(), value(text)))
                .collect();
            parse("0-7", &fields).expect("its id fits")
        };
        for (fields, place, record) in tables {
            let seq = 7;
            let expected = Entry {
                seq,
                place,
                record,
                after: None,
            };
            assert_eq!(read(fields), expected, "{fields:?}");
        }
        let readable = read(&[("e", EPOCH), ("p", "0-1"), ("r", record)]);
        assert_eq!((readable.place, readable.record), (place, Some(tag)));
        assert!(parse("0-1048576", &HashMap::new()).is_err());
    }
}
