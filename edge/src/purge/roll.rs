//! The roll: which edges follow the log, how far each has applied it, and when it said so.
//!
//! Two keys stand beside the log. `PREFIX:edges` is a hash of what each edge last said of itself;
//! `PREFIX:acks` is a capped stream of acknowledgements, each a position that an edge had applied
//! when it wrote. Both are dated by Redis's own clock, as records are, so that no machine's clock
//! counts. What cannot be read in either is passed over: it says nothing for any edge.

mod attend;
mod own;

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{RedisError, Script, Value};
use serde::{Deserialize, Serialize};

pub(crate) use attend::attend;
pub use own::Own;

use super::log::{Stream, to_position};
use super::record::{COUNTER_BITS, Position};

/// How often an edge says that it is there, unless it trusts its cache for a shorter time.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// What an edge that was cut off may have heard from the log after its last word here: that is
/// spoken every [`HEARTBEAT`], and the next one may have been under way.
const SLACK: Duration = Duration::from_secs(2);
/// An edge that was not heard for this long is struck off the roll.
const FORGET: Duration = Duration::from_secs(3_600);
/// Acknowledgements kept, about.
const MAX_ACKS: usize = 10_000;
/// Acknowledgements read at once.
pub(super) const ACKS: usize = 1_000;

/// Writes what an edge (ARGV[1]) says of itself, ARGV[2] and the time behind it, and, with ARGV[3]
/// other than "", that it has applied that position. Returns the time of the acknowledgement, in
/// milliseconds, and what stood in its place before.
const ANSWER: &str = r"
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local before = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then
  local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'i', ARGV[1], 'p', ARGV[3])
  now = id:match('^%d+')
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. now .. '}')
return {now, before or ''}
";

/// Strikes edges off the roll that were not heard for ARGV[1] milliseconds.
const STRIKE: &str = r#"
local time = redis.call('TIME')
local now = time[1] * 1000
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do
  local heard = tonumber(fields[at + 1]:match('"heard":(%d+)'))
  if heard and math.abs(now - heard) > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], fields[at])
  end
end
"#;

/// What an edge says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Presence {
    pub region: String,
    /// The position it has applied, as text.
    pub position: String,
    /// For how long it uses its cache without a word from the log, in milliseconds.
    pub trust: u64,
    /// A random word for each start of an edge: two that share a name find out by it.
    pub process: String,
    /// When it said so, in milliseconds of Redis's clock. Written by Redis, and last.
    #[serde(skip_serializing)]
    pub heard: u64,
}

impl Presence {
    /// Whether it says that it has applied `position`: a position of another log says nothing.
    pub fn has_applied(&self, position: Position) -> bool {
        to_position(&self.position).is_some_and(|applied| has_applied(applied, position))
    }

    /// The JSON in front of the time.
    fn to_json(&self) -> String {
        let mut json = serde_json::to_string(self).expect("texts and numbers alone");
        json.truncate(json.len() - 1);
        json.push_str(",\"heard\":");
        json
    }
}

/// Whether who stands at `applied` has applied what stands at `position`.
pub(super) fn has_applied(applied: Position, position: Position) -> bool {
    applied.epoch == position.epoch && applied.seq >= position.seq
}

/// Milliseconds of Redis's clock at which a record was appended.
pub(super) fn millis(position: Position) -> u64 {
    position.seq >> COUNTER_BITS
}

/// The edges on the roll at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// That moment, in milliseconds of Redis's clock.
    now: u64,
    edges: BTreeMap<String, Presence>,
}

impl Roll {
    /// From a time and the fields of the hash.
    pub(super) fn new(now: u64, fields: &[Value]) -> Roll {
        let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
        let (pairs, _) = fields.as_chunks::<2>();
        let edges = pairs.iter().filter_map(|[instance, presence]| {
            let read = text(instance).zip(text(presence).as_deref().and_then(to_presence));
            if read.is_none() {
                warn_once();
            }
            read
        });
        Roll {
            now,
            edges: edges.collect(),
        }
    }

    /// What `instance` says of itself.
    pub(super) fn find(&self, instance: &str) -> Option<&Presence> {
        self.edges.get(instance)
    }

    /// All edges that are on the roll, heard lately or not.
    pub(super) fn edges(&self) -> impl Iterator<Item = (&String, &Presence)> {
        self.edges.iter()
    }

    /// Whether an edge was heard lately. Until then it may use its cache without asking anybody,
    /// and is waited for.
    pub(super) fn is_heard(&self, presence: &Presence) -> bool {
        let trust = Duration::from_millis(presence.trust).min(FORGET);
        let silent_after = (trust + SLACK).min(FORGET);
        // A server with another clock may have taken over: what lies ahead is no word of now.
        u128::from(self.now.abs_diff(presence.heard)) <= silent_after.as_millis()
    }
}

/// A roll that was called while a record was appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub(super) roll: Roll,
    /// The last acknowledgement before the record: whoever has applied it says so later.
    pub(super) last_ack: String,
}

/// One acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub id: String,
    pub instance: String,
    pub position: Position,
}

impl Ack {
    /// When it was written, in milliseconds of Redis's clock.
    pub fn millis(&self) -> u64 {
        let (millis, _) = self.id.split_once('-').unwrap_or_default();
        millis.parse().unwrap_or_default()
    }
}

impl Stream {
    /// Says that `instance` is there, and with `acknowledges` what it has applied. Returns when
    /// that was, in milliseconds of Redis's clock, and what was said under that name before.
    pub(super) async fn answer(
        &self,
        connection: &mut MultiplexedConnection,
        instance: &str,
        presence: &Presence,
        acknowledges: bool,
    ) -> Result<(u64, Option<Presence>), RedisError> {
        let position = if acknowledges {
            &*presence.position
        } else {
            ""
        };
        let script = Script::new(ANSWER);
        let mut call = script.key(&self.edges);
        call.key(&self.acks).arg(instance).arg(presence.to_json());
        call.arg(position).arg(MAX_ACKS);
        let (now, before): (u64, Value) = call.invoke_async(connection).await?;
        let before = redis::from_redis_value::<String>(before).ok();
        Ok((now, before.as_deref().and_then(to_presence)))
    }

    /// Takes `instance` off the roll.
    pub(super) async fn leave(
        &self,
        connection: &mut MultiplexedConnection,
        instance: &str,
    ) -> Result<(), RedisError> {
        let mut command = redis::cmd("HDEL");
        command.arg(&self.edges).arg(instance);
        command.exec_async(connection).await
    }

    /// Takes those off the roll that nobody has heard for long.
    pub(super) async fn strike(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let script = Script::new(STRIKE);
        let mut call = script.key(&self.edges);
        call.arg(u64::try_from(FORGET.as_millis()).unwrap_or(u64::MAX));
        let _: Value = call.invoke_async(connection).await?;
        Ok(())
    }

    /// The roll as it is now.
    pub(super) async fn roll(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Roll, RedisError> {
        let mut asked = redis::pipe();
        asked.cmd("TIME").cmd("HGETALL").arg(&self.edges);
        let ((seconds, micros), fields): ((u64, u64), Value) =
            asked.query_async(connection).await?;
        let fields = match fields {
            Value::Map(pairs) => pairs.into_iter().flat_map(|(a, b)| [a, b]).collect(),
            Value::Array(fields) => fields,
            _ => Vec::new(),
        };
        Ok(Roll::new(seconds * 1_000 + micros / 1_000, &fields))
    }

    /// Acknowledgements after the one named `after`, waiting up to `block` for the first, and the
    /// name of the last.
    pub(super) async fn acks_after(
        &self,
        connection: &mut MultiplexedConnection,
        after: &str,
        block: Duration,
    ) -> Result<(Vec<Ack>, Option<String>), RedisError> {
        let mut command = redis::cmd("XREAD");
        // To block for zero milliseconds is to block for ever.
        let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        command.arg("COUNT").arg(ACKS).arg("BLOCK").arg(block);
        command.arg("STREAMS").arg(&self.acks).arg(after);
        let answer: Option<StreamReadReply> = command.query_async(connection).await?;
        let entries = answer.unwrap_or_default().keys;
        let entries: Vec<StreamId> = entries.into_iter().flat_map(|key| key.ids).collect();
        let last = entries.last().map(|entry| entry.id.clone());
        Ok((entries.iter().filter_map(to_ack).collect(), last))
    }

    /// Up to [`ACKS`] acknowledgements before the one named `before` ("+" for the last), newest
    /// first, and the name of the oldest if there may be more.
    pub(super) async fn acks_before(
        &self,
        connection: &mut MultiplexedConnection,
        before: &str,
    ) -> Result<(Vec<Ack>, Option<String>), RedisError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.acks).arg(before).arg("-");
        command.arg("COUNT").arg(ACKS);
        let answer: StreamRangeReply = command.query_async(connection).await?;
        let oldest = answer.ids.last().filter(|_| answer.ids.len() == ACKS);
        let oldest = oldest.map(|entry| format!("({}", entry.id));
        Ok((answer.ids.iter().filter_map(to_ack).collect(), oldest))
    }
}

fn to_presence(json: &str) -> Option<Presence> {
    serde_json::from_str(json).ok()
}

fn to_ack(entry: &StreamId) -> Option<Ack> {
    let ack = entry.get::<String>("i").zip(entry.get::<String>("p"));
    let ack = ack.and_then(|(instance, position)| {
        Some(Ack {
            id: entry.id.clone(),
            instance,
            position: to_position(&position)?,
        })
    });
    if ack.is_none() {
        warn_once();
    }
    ack
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

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn what_cannot_be_read_on_the_roll_is_passed_over() {
        let good = r#"{"region":"fra","position":"00000000000000ff:7-1","trust":2000,"process":"a","heard":5,"new":[]}"#;
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
            process: "p".to_owned(),
            heard: 0,
        };
        let stored = format!("{}1700000000000}}", said.to_json());
        let heard = 1_700_000_000_000;
        assert_eq!(to_presence(&stored), Some(Presence { heard, ..said }));
    }

    #[test]
    fn an_edge_is_heard_for_as_long_as_it_may_trust_its_cache() {
        const NOW: u64 = 1_700_000_000_000;
        for (trust, ago, expected) in [
            (0, 2_000, true),
            (0, 2_001, false),
            (2_000, 4_000, true),
            (2_000, 4_001, false),
            (u64::MAX, 3_600_000, true),
            (u64::MAX, 3_600_001, false),
            (2_000, -4_001, false),
            (2_000, -1, true),
        ] {
            let presence = Presence {
                region: String::new(),
                position: String::new(),
                trust,
                process: String::new(),
                heard: NOW.saturating_add_signed(-ago),
            };
            let roll = Roll {
                now: NOW,
                edges: BTreeMap::new(),
            };
            assert_eq!(roll.is_heard(&presence), expected, "{trust} {ago}");
        }
    }

    #[test]
    fn an_acknowledgement_that_is_none_is_passed_over() {
        let of = |id: &str, fields: &[(&str, &str)]| StreamId {
            id: id.to_owned(),
            map: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), text(value)))
                .collect(),
            ..StreamId::default()
        };
        let position = "00000000000000ff:7-1";
        let ack = to_ack(&of("12-3", &[("i", "a"), ("p", position)])).expect("one of ours");
        assert_eq!((&*ack.instance, ack.millis()), ("a", 12));
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
