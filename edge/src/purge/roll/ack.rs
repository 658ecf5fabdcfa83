//! An acknowledgement: an edge has applied the log up to a position.

use redis::streams::StreamId;

use super::warn_once;
use crate::purge::log::to_position;
use crate::purge::record::Position;

/// One acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::purge) struct Ack {
    pub id: String,
    /// The edge's place on the roll.
    pub place: String,
    pub position: Position,
}

impl Ack {
    /// When it was written, in milliseconds of Redis's clock.
    pub fn millis(&self) -> u64 {
        let (millis, _) = self.id.split_once('-').unwrap_or_default();
        millis.parse().unwrap_or_default()
    }
}

/// `None` for what is none.
pub(super) fn to_ack(entry: &StreamId) -> Option<Ack> {
    let ack = entry.get::<String>("i").zip(entry.get::<String>("p"));
    let ack = ack.and_then(|(place, position)| {
        Some(Ack {
            id: entry.id.clone(),
            place,
            position: to_position(&position)?,
        })
    });
    if ack.is_none() {
        warn_once();
    }
    ack
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn an_acknowledgement_that_is_none_is_passed_over() {
        let of = |id: &str, fields: &[(&str, &str)]| StreamId {
            id: id.to_owned(),
            map: fields
                .iter()
                .map(|(name, value)| {
                    (
                        (*name).to_owned(),
                        Value::BulkString(value.as_bytes().to_vec()),
                    )
                })
                .collect(),
            ..StreamId::default()
        };
        let position = "00000000000000ff:7-1";
        let ack = to_ack(&of("12-3", &[("i", "a"), ("p", position)])).expect("one of ours");
        assert_eq!((&*ack.place, ack.millis()), ("a", 12));
        for strange in [
            &[][..],
            &[("i", "a")],
            &[("p", position)],
            &[("i", "a"), ("p", "00000000000000ff:7")],
            &[("i", "a"), ("p", "ff:7-1")],
            &[("i", "a"), ("p", "00000000000000ff:17592186044416-0")],
        ] {
            assert_eq!(to_ack(&of("12-3", strange)), None, "{strange:?}");
        }
    }
}
