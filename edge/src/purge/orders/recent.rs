//! What was purged lately, and how it has spread.
//!
//! Made from the log and the roll when somebody asks. Of an edge's acknowledgements the first that
//! reaches a purge tells when the edge applied it, provided that an earlier one is known which does
//! not reach it: otherwise the edge came later, or older acknowledgements are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use serde::Serialize;

use super::Orders;
use super::receipt::{Attendant, State, told_apart};
use crate::purge::log::{REMEMBERED, Stream};
use crate::purge::record::{Position, Record, Scope};
use crate::purge::roll::{Ack, Roll};

/// Reads of acknowledgements for one list.
const PAGES: usize = 10;
/// Characters that are told of a value: a tag or a URL may be as long as an order, or longer.
const BEGINNING: usize = 1_024;
/// How long making a list may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last purges, newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Recent {
    pub purges: Vec<Purged>,
}

/// A purge, and how far it has come.
#[derive(Clone, Debug, Serialize)]
pub struct Purged {
    pub position: String,
    /// When it was recorded, in milliseconds since 1970.
    pub at: u64,
    /// Of a long value the beginning, and `...`.
    #[serde(flatten)]
    pub record: Record,
    /// How many of `edges` have applied it.
    pub applied: usize,
    /// The longest that one of those took for which that is known, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// The edges on the roll now.
    pub edges: Vec<Attendant>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum Unlisted {
    #[error("others are listing purges: try again")]
    Busy,
    #[error("the purge log cannot be read: {0}")]
    Redis(#[from] RedisError),
    #[error("the purge log was not read within {PATIENCE:?}")]
    Silent,
}

impl Orders {
    /// The last `limit` purges, 200 at most.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn recent(&self, limit: usize) -> Result<Recent, Unlisted> {
        let limit = limit.min(REMEMBERED);
        let Some(stream) = self.log.stream() else {
            return Ok(self.recent_here(limit));
        };
        let _listing = self.listing.try_acquire().map_err(|_| Unlisted::Busy)?;
        let listed = tokio::time::timeout(PATIENCE, listed(stream, limit)).await;
        listed
            .map_err(|_| Unlisted::Silent)?
            .map_err(Unlisted::from)
    }

    fn recent_here(&self, limit: usize) -> Recent {
        let own = Attendant {
            instance: self.own.instance.clone(),
            region: self.own.region.clone(),
            state: State::Applied,
            applied_ms: Some(0),
            place: self.own.place.clone(),
        };
        let records = self.log.recent_here().unwrap_or_default().into_iter();
        let records = records.take(limit);
        Recent {
            purges: records
                .map(|(position, record)| Purged::new(position, record, vec![own.clone()]))
                .collect(),
        }
    }
}

impl Purged {
    fn new(position: Position, record: Record, edges: Vec<Attendant>) -> Purged {
        let applied = edges.iter().filter(|edge| edge.state == State::Applied);
        Purged {
            position: position.to_string(),
            at: position.millis(),
            record: bounded(record),
            applied: applied.clone().count(),
            max_ms: applied.filter_map(|edge| edge.applied_ms).max(),
            edges,
        }
    }
}

/// The record with the beginning of its value, if that is long.
fn bounded(mut record: Record) -> Record {
    if let Scope::Url(value) | Scope::Tag(value) | Scope::Prefix(value) | Scope::Host(value) =
        &mut record.scope
        && let Some((end, _)) = value.char_indices().nth(BEGINNING)
    {
        value.truncate(end);
        value.push_str("...");
        value.shrink_to_fit();
    }
    record
}

async fn listed(stream: &Stream, limit: usize) -> Result<Recent, RedisError> {
    let mut connection = stream.connect().await?;
    // One more in case that an entry founds the log.
    let entries = stream.newest(&mut connection, limit + 1).await?;
    let mut purges = Vec::new();
    let mut epoch = None;
    for entry in entries {
        // What is no entry of any log purges everything where it stands.
        epoch = entry.place.map(|place| place.epoch).or(epoch);
        if let Some((epoch, record)) = epoch.zip(entry.record) {
            let seq = entry.seq;
            purges.push((Position { epoch, seq }, record));
        }
    }
    purges.truncate(limit);
    let roll = stream.roll(&mut connection).await?;
    let oldest = purges.last().map(|(position, _)| *position);
    let acks = match oldest {
        Some(oldest) => acks_around(stream, &mut connection, &roll, oldest).await?,
        None => BTreeMap::new(),
    };
    let spread = |position| {
        let edges = roll.edges().map(|(place, presence)| {
            let acks = acks.get(place).map_or(&[][..], Vec::as_slice);
            let (is_applied, applied_ms) = match first_to_reach(acks, position) {
                Some(applied_ms) => (true, applied_ms),
                None => (presence.has_applied(position), None),
            };
            let mut edge = Attendant::called(place, presence, &roll);
            if is_applied {
                edge.state = State::Applied;
                edge.applied_ms = applied_ms;
            }
            edge
        });
        told_apart(edges.collect())
    };
    let purges = purges.into_iter();
    let purges = purges.map(|(position, record)| Purged::new(position, record, spread(position)));
    Ok(Recent {
        purges: purges.collect(),
    })
}

/// What the edges on the roll have acknowledged, oldest first: as far back as it takes to know of
/// each that it had not applied `oldest` yet, and no further than some pages.
async fn acks_around(
    stream: &Stream,
    connection: &mut MultiplexedConnection,
    roll: &Roll,
    oldest: Position,
) -> Result<BTreeMap<String, Vec<Ack>>, RedisError> {
    let mut acks: BTreeMap<String, Vec<Ack>> = BTreeMap::new();
    let mut unsure: BTreeSet<&str> = roll.edges().map(|(place, _)| &**place).collect();
    let mut before = "+".to_owned();
    for _ in 0..PAGES {
        let (page, older) = stream.acks_before(connection, &before).await?;
        for ack in page {
            if !ack.position.has_reached(oldest) {
                unsure.remove(&*ack.place);
            }
            acks.entry(ack.place.clone()).or_default().push(ack);
        }
        match older {
            Some(older) if !unsure.is_empty() => before = older,
            _ => break,
        }
    }
    acks.values_mut().for_each(|acks| acks.reverse());
    Ok(acks)
}

/// Whether one of an edge's acknowledgements, oldest first, reaches `position`, and how many
/// milliseconds after the record, if that is known.
fn first_to_reach(acks: &[Ack], position: Position) -> Option<Option<u64>> {
    let at = acks
        .iter()
        .position(|ack| ack.position.has_reached(position))?;
    let took = acks[at].millis().saturating_sub(position.millis());
    Some((at > 0).then_some(took))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::record::COUNTER_BITS;

    #[test]
    fn the_first_acknowledgement_tells_the_time_if_one_before_it_is_known() {
        let at = |epoch, millis: u64| Position {
            epoch,
            seq: millis << COUNTER_BITS,
        };
        let ack = |id: &str, position| Ack {
            id: id.to_owned(),
            place: "a".to_owned(),
            position,
        };
        let acks = [
            ack("15-0", at(1, 10)),
            ack("25-0", at(1, 20)),
            ack("45-0", at(1, 40)),
            ack("55-0", at(2, 50)),
        ];
        for (position, expected, reason) in [
            (at(1, 20), Some(Some(5)), "its own"),
            (at(1, 30), Some(Some(15)), "one for several"),
            (at(1, 10), Some(None), "what came before it is not known"),
            (at(1, 41), None, "not yet"),
            (at(2, 50), Some(Some(5)), "the log was replaced"),
            (at(3, 1), None, "a log that it does not follow"),
        ] {
            assert_eq!(first_to_reach(&acks, position), expected, "{reason}");
        }
    }

    #[test]
    fn of_a_long_value_the_beginning_is_told() {
        for scope in [Scope::Url, Scope::Tag, Scope::Prefix, Scope::Host] {
            let told = |length| bounded(Record::hard(scope("\u{1f30a}".repeat(length))));
            let beginning = "\u{1f30a}".repeat(BEGINNING);
            let cut = Record::hard(scope(format!("{beginning}...")));
            assert_eq!(told(BEGINNING), Record::hard(scope(beginning)));
            assert_eq!(told(BEGINNING + 1), cut);
            assert_eq!(told(1_000_000), cut);
        }
        assert_eq!(bounded(Record::hard(Scope::All)), Record::hard(Scope::All));
    }
}
