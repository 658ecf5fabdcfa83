//! The roll: which edges follow the log, how far each has applied it, and when it said so.
//!
//! Two keys stand beside the log. `PREFIX:edges` is a hash of what each edge last said of itself;
//! `PREFIX:acks` is a capped stream of acknowledgements, each a position that an edge had applied
//! when it wrote. Both are dated by Redis's own clock, as records are, so that no machine's clock
//! counts. What cannot be read in either is passed over: it says nothing for any edge.
//!
//! In both an edge goes by its place, `INSTANCE PROCESS`: two processes of one name, by mistake or
//! while a restart overlaps, never answer for each other, nor strike each other off.

mod ack;
mod attend;
mod keys;
mod own;

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use redis::Value;
use serde::{Deserialize, Serialize};

pub(super) use ack::Ack;
pub(crate) use attend::attend;
pub use own::Own;
pub(super) use own::to_instance;

use super::log::to_position;
use super::record::Position;

/// How often an edge says that it is there, unless it trusts its cache for a shorter time.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// What an edge that was cut off may have heard from the log after its last word here: that is
/// spoken every [`HEARTBEAT`], and the next one may have been under way.
const SLACK: Duration = Duration::from_secs(2);
/// The longest that an edge is taken to trust its cache, whatever it says.
const LONGEST_TRUST: Duration = Duration::from_secs(3_600);
/// How long an edge that fell silent stays on the roll. One that was killed looks like one that is
/// cut off, which serves what was purged where `on_partition = "serve"`: whoever purges is told of
/// it for as long. If it comes back after that, it is on the roll again with its first word, and
/// has applied what it says.
const REMEMBERED_SILENT: Duration = Duration::from_secs(300);

/// What an edge says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Presence {
    pub region: String,
    /// The position it has applied, as text.
    pub position: String,
    /// For how long it uses its cache without a word from the log, in milliseconds.
    pub trust: u64,
    /// When it said so, in milliseconds of Redis's clock. Written by Redis, and last.
    #[serde(skip_serializing)]
    pub heard: u64,
}

impl Presence {
    /// Whether it says that it has applied `position`: a position of another log says nothing.
    pub fn has_applied(&self, position: Position) -> bool {
        to_position(&self.position).is_some_and(|applied| applied.has_reached(position))
    }

    /// How long after its last word it is silent.
    fn silent_after(&self) -> Duration {
        Duration::from_millis(self.trust).min(LONGEST_TRUST) + SLACK
    }

    /// The JSON in front of the time.
    fn to_json(&self) -> String {
        let mut json = serde_json::to_string(self).expect("texts and numbers alone");
        json.truncate(json.len() - 1);
        json.push_str(",\"heard\":");
        json
    }
}

/// The edges on the roll at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// That moment, in milliseconds of Redis's clock.
    now: u64,
    /// By their places.
    edges: BTreeMap<String, Presence>,
}

impl Roll {
    /// From a time and the fields of the hash, without edges that are to be struck off.
    pub(super) fn new(now: u64, fields: &[Value]) -> Roll {
        let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
        let (pairs, _) = fields.as_chunks::<2>();
        let edges = pairs.iter().filter_map(|[place, presence]| {
            let read = text(place).zip(text(presence).as_deref().and_then(to_presence));
            if read.is_none() {
                warn_once();
            }
            read
        });
        let nobody = Roll {
            now,
            edges: BTreeMap::new(),
        };
        let kept = edges.filter(|(_, presence)| nobody.is_kept(presence));
        Roll {
            now,
            edges: kept.collect(),
        }
    }

    /// What the edge at this place says of itself.
    pub(super) fn find(&self, place: &str) -> Option<&Presence> {
        self.edges.get(place)
    }

    /// All edges that are on the roll, by their places, heard lately or not.
    pub(super) fn edges(&self) -> impl Iterator<Item = (&String, &Presence)> {
        self.edges.iter()
    }

    /// Whether an edge was heard lately. Until then it may use its cache without asking anybody,
    /// and is waited for.
    pub(super) fn is_heard(&self, presence: &Presence) -> bool {
        self.silence(presence) <= presence.silent_after()
    }

    /// Whether an edge was heard so lately that its silence is told.
    fn is_kept(&self, presence: &Presence) -> bool {
        self.silence(presence) <= presence.silent_after() + REMEMBERED_SILENT
    }

    /// How long ago an edge was heard. A server with another clock may have taken over: what lies
    /// ahead is no word of now.
    fn silence(&self, presence: &Presence) -> Duration {
        Duration::from_millis(self.now.abs_diff(presence.heard))
    }
}

/// A roll that was called while a record was appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub(super) roll: Roll,
    /// The last acknowledgement before the record: whoever has applied it says so later.
    pub(super) last_ack: String,
}

fn to_presence(json: &str) -> Option<Presence> {
    serde_json::from_str(json).ok()
}

/// Says that something in the two keys is none of ours: once, for whoever put it there may go on.
fn warn_once() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!("the roll of edges holds what this version cannot read; it is passed over");
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::record::COUNTER_BITS;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn what_cannot_be_read_on_the_roll_is_passed_over() {
        let good =
            r#"{"region":"fra","position":"00000000000000ff:7-1","trust":2000,"heard":5,"new":[]}"#;
        let fields = [
            (text("strange"), text("{")),
            (text("half"), text(r#"{"region":"fra"}"#)),
            (text("negative"), text(&good.replace("2000", "-1"))),
            (Value::BulkString(vec![0xff]), text(good)),
            (text("number"), Value::Int(7)),
            (text("good"), text(good)),
        ];
        let mut fields: Vec<Value> = fields.into_iter().flat_map(|(a, b)| [a, b]).collect();
        fields.push(text("alone"));
        let roll = Roll::new(9, &fields);
        let names: Vec<_> = roll.edges().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["good"]);
        let good = roll.find("good").expect("it was read");
        assert!(good.has_applied(Position {
            epoch: 255,
            seq: (7 << COUNTER_BITS) + 1
        }));
        assert!(!good.has_applied(Position {
            epoch: 255,
            seq: (7 << COUNTER_BITS) + 2
        }));
        assert!(
            !good.has_applied(Position { epoch: 254, seq: 1 }),
            "another log"
        );
        let nowhere = Presence {
            position: "soon".to_owned(),
            ..good.clone()
        };
        assert!(!nowhere.has_applied(Position::default()));
    }

    #[test]
    fn what_an_edge_says_is_read_again_with_the_time_that_redis_adds() {
        let said = Presence {
            region: "fra".to_owned(),
            position: Position { epoch: 1, seq: 2 }.to_string(),
            trust: 2_000,
            heard: 0,
        };
        let stored = format!("{}1700000000000}}", said.to_json());
        let heard = 1_700_000_000_000;
        assert_eq!(to_presence(&stored), Some(Presence { heard, ..said }));
    }

    #[test]
    fn an_edge_is_heard_while_it_may_trust_its_cache_and_its_silence_told_for_five_minutes() {
        const NOW: u64 = 1_700_000_000_000;
        for (trust, ago, is_heard, is_kept) in [
            (0, 2_000, true, true),
            (0, 2_001, false, true),
            (2_000, 4_000, true, true),
            (2_000, 4_001, false, true),
            (2_000, 304_000, false, true),
            (2_000, 304_001, false, false),
            (u64::MAX, 3_602_000, true, true),
            (u64::MAX, 3_602_001, false, true),
            (u64::MAX, 3_902_001, false, false),
            (2_000, -1, true, true),
            (2_000, -4_001, false, true),
            (2_000, -304_001, false, false),
        ] {
            let presence = Presence {
                region: String::new(),
                position: String::new(),
                trust,
                heard: NOW.saturating_add_signed(-ago),
            };
            let roll = Roll {
                now: NOW,
                edges: BTreeMap::new(),
            };
            assert_eq!(roll.is_heard(&presence), is_heard, "{trust} {ago}");
            assert_eq!(roll.is_kept(&presence), is_kept, "{trust} {ago}");
        }
    }
}
