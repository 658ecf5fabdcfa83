//! The roll in Redis: two keys beside the log.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{RedisError, Script, Value};

use super::ack::{Ack, to_ack};
use super::{LONGEST_TRUST, Presence, REMEMBERED_SILENT, Roll, SLACK};
use crate::purge::log::Stream;

/// Acknowledgements kept, about.
const MAX_ACKS: usize = 10_000;
/// Acknowledgements read at once.
const ACKS: usize = 1_000;

/// The longest that one read of acknowledgements waits; whoever waits for longer reads again. Redis
/// refuses what lies beyond its calendar.
const BLOCK: Duration = Duration::from_secs(1);

/// Writes what the edge at the place ARGV[1] says of itself, ARGV[2] and the time behind it, and,
/// with ARGV[3] other than "", that it has applied that position. Returns the time of that, in
/// milliseconds.
const ANSWER: &str = r"
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[3] ~= '' then
  local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'i', ARGV[1], 'p', ARGV[3])
  now = id:match('^%d+')
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. now .. '}')
return now
";

/// Strikes edges off the roll that were not heard for ARGV[1] milliseconds and their trust, which
/// counts up to ARGV[2].
const STRIKE: &str = r#"
local time = redis.call('TIME')
local now = time[1] * 1000
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do
  local heard = tonumber(fields[at + 1]:match('"heard":(%d+)'))
  local trust = tonumber(fields[at + 1]:match('"trust":(%d+)') or 0)
  if heard and math.abs(now - heard) > ARGV[1] + math.min(trust, ARGV[2]) then
    redis.call('HDEL', KEYS[1], fields[at])
  end
end
"#;

impl Stream {
    /// Says that the edge at `place` is there, and with `acknowledges` what it has applied. Returns
    /// when that was, in milliseconds of Redis's clock.
    pub(in crate::purge) async fn answer(
        &self,
        connection: &mut MultiplexedConnection,
        place: &str,
        presence: &Presence,
        acknowledges: bool,
    ) -> Result<u64, RedisError> {
        let position = if acknowledges {
            &*presence.position
        } else {
            ""
        };
        let script = Script::new(ANSWER);
        let mut call = script.key(&self.edges);
        call.key(&self.acks).arg(place).arg(presence.to_json());
        call.arg(position).arg(MAX_ACKS);
        call.invoke_async(connection).await
    }

    /// Takes the edge at `place` off the roll.
    pub(in crate::purge) async fn leave(
        &self,
        connection: &mut MultiplexedConnection,
        place: &str,
    ) -> Result<(), RedisError> {
        let mut command = redis::cmd("HDEL");
        command.arg(&self.edges).arg(place);
        command.exec_async(connection).await
    }

    /// Takes those off the roll that nobody has heard for long.
    pub(in crate::purge) async fn strike(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let script = Script::new(STRIKE);
        let mut call = script.key(&self.edges);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        call.arg(millis(SLACK + REMEMBERED_SILENT));
        call.arg(millis(LONGEST_TRUST));
        let _: Value = call.invoke_async(connection).await?;
        Ok(())
    }

    /// The roll as it is now.
    pub(in crate::purge) async fn roll(
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

    /// Acknowledgements after the one named `after`, waiting up to `block` for the first, though no
    /// longer than [`BLOCK`], and the name of the last.
    pub(in crate::purge) async fn acks_after(
        &self,
        connection: &mut MultiplexedConnection,
        after: &str,
        block: Duration,
    ) -> Result<(Vec<Ack>, Option<String>), RedisError> {
        let mut command = redis::cmd("XREAD");
        // To block for zero milliseconds is to block for ever.
        let block = u64::try_from(block.min(BLOCK).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
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
    pub(in crate::purge) async fn acks_before(
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
