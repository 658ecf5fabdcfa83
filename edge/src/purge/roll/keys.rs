//! The roll in Redis: two keys beside the log.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{RedisError, Script, Value};

use super::ack::{Ack, to_ack};
use super::{FORGET, Presence, Roll, to_presence};
use crate::purge::log::Stream;

/// Acknowledgements kept, about.
const MAX_ACKS: usize = 10_000;
/// Acknowledgements read at once.
const ACKS: usize = 1_000;

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

impl Stream {
    /// Says that `instance` is there, and with `acknowledges` what it has applied. Returns when
    /// that was, in milliseconds of Redis's clock, and what was said under that name before.
    pub(in crate::purge) async fn answer(
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
    pub(in crate::purge) async fn leave(
        &self,
        connection: &mut MultiplexedConnection,
        instance: &str,
    ) -> Result<(), RedisError> {
        let mut command = redis::cmd("HDEL");
        command.arg(&self.edges).arg(instance);
        command.exec_async(connection).await
    }

    /// Takes those off the roll that nobody has heard for long.
    pub(in crate::purge) async fn strike(
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

    /// Acknowledgements after the one named `after`, waiting up to `block` for the first, and the
    /// name of the last.
    pub(in crate::purge) async fn acks_after(
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
