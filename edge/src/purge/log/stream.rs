//! The log as a Redis stream: how records are written into it and read out of it.
//!
//! Every stream entry carries `e`, the epoch made with the stream, `p`, the id before it, and `r`,
//! the record as JSON; the entry that founds a log has no `r`, and in `a` the position that its
//! founder had reached in the log before. An entry whose `p` is not the
//! reader's position tells of records it missed. What is none of ours in the stream counts as a purge
//! of everything; an id that does not fit 44 + 20 bits is refused. The server must not evict it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, Script, ScriptInvocation, Value};

use crate::purge::lsn::Lsn;
use crate::purge::record::{COUNTER_BITS, Position, Record, Scope};
use crate::purge::roll::{Call, Roll};

/// Entries kept; a follower that was away for longer raises its floor.
const MAX_LENGTH: usize = 100_000;
/// Entries read at once.
pub(super) const BATCH: usize = 1_000;

/// Appends ARGV[5..] to the stream, keeping about ARGV[3] entries, and returns the epoch and the
/// last id. ARGV[1] is the epoch for a stream that holds no log. With ARGV[2] other than "" a new
/// log is founded in the stream, unless its last id is not ARGV[2] any more. ARGV[4] is what a new
/// log comes after.
///
/// The epoch is that of the last entry that has one: something else that got into the stream is
/// passed over. An id that does not fit is refused; a full counter goes on in the next millisecond.
///
/// With KEYS[2] and KEYS[3] the roll is called in the same breath: the time, the last of the
/// acknowledgements in KEYS[3] and what edges say of themselves in KEYS[2] come behind the id. No
/// append fails for what stands there.
const APPEND: &str = r"
local function fits(id)
  local millis, counter = id:match('^(%d+)-(%d+)$')
  return tonumber(millis) < 2^44 and tonumber(counter) < 2^20
end
local function epoch_of(entry)
  for at = 1, #entry[2], 2 do
    local value = entry[2][at + 1]
    if entry[2][at] == 'e' and #value == 16 and not value:find('%X') then return value end
  end
end
local function add(...)
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', ...)
  if fits(id) then return id end
  redis.call('XDEL', KEYS[1], id)
  local next = string.format('%.0f-0', tonumber(id:match('^%d+')) + 1)
  if fits(next) then return redis.call('XADD', KEYS[1], next, ...) end
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local epoch, id
if last and not fits(last[1]) then
  return redis.error_reply('ERR the stream ends with an id that does not fit: ' .. last[1])
end
if last and ARGV[2] ~= last[1] then
  id = last[1]
  epoch = epoch_of(last)
  if not epoch then
    for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
      epoch = epoch or epoch_of(entry)
    end
  end
end
if not epoch then
  epoch = ARGV[1]
  id = add('e', epoch, 'p', '0-0', 'a', ARGV[4])
end
for at = 5, #ARGV do
  id = id and add('e', epoch, 'p', id, 'r', ARGV[at])
end
if not id then return redis.error_reply('ERR the stream has no id left that fits') end
if not KEYS[2] then return {epoch, id} end
local function found(...)
  local found = redis.pcall(...)
  if found.err then return {} end
  return found
end
local time = redis.call('TIME')
local ack = found('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
return {
  epoch, id, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)),
  ack and ack[1] or '0-0', found('HGETALL', KEYS[2]),
}
";

/// Why an append failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the purge log did not take it within {0:?}")]
    Deadline(Duration),
    #[error("the purge log's redis: {0}")]
    Redis(#[from] RedisError),
    #[error("the purge log answered {0:?}, which is no position")]
    Answer(String),
}

/// Why the stream could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the purge log's redis: {0}")]
    Redis(#[from] RedisError),
    #[error("the purge log holds an entry {0}, which is no id of 44 and 20 bits")]
    OutOfBounds(String),
}

/// A stream in Redis that holds a purge log.
pub struct Stream {
    client: Client,
    key: String,
    /// What edges say of themselves, and what they have acknowledged; see `roll`.
    pub(in crate::purge) edges: String,
    pub(in crate::purge) acks: String,
    append: Script,
    connection: Mutex<Option<MultiplexedConnection>>,
}

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

impl Stream {
    /// The stream of the deployment named `prefix` on this server. Touches no network.
    ///
    /// # Errors
    /// When `url` is no `redis://` URL.
    pub fn new(url: &str, prefix: &str) -> Result<Stream, RedisError> {
        Ok(Stream {
            client: crate::redis::client(url)?,
            key: format!("{prefix}:log"),
            edges: format!("{prefix}:edges"),
            acks: format!("{prefix}:acks"),
            append: Script::new(APPEND),
            connection: Mutex::new(None),
        })
    }

    /// Appends records in one call and returns the position of the last. Repeats are harmless.
    ///
    /// # Errors
    /// When the server cannot be reached or does not take them.
    pub async fn append(&self, records: &[Record]) -> Result<Position, AppendError> {
        self.append_after("", Position::default(), records).await
    }

    /// Finds the log, or founds it `after` another one.
    pub(super) async fn found(&self, after: Position) -> Result<Position, AppendError> {
        self.append_after("", after, &[]).await
    }

    /// The same, and who was there to hear of it at that moment.
    ///
    /// # Errors
    /// As [`Stream::append`].
    pub(super) async fn append_calling(
        &self,
        records: &[Record],
    ) -> Result<(Position, Call), AppendError> {
        let mut call = self.append.key(&self.key);
        call.key(&self.edges).key(&self.acks);
        let answer = self.run(call, "", Position::default(), records).await?;
        let (epoch, id, now, last_ack, edges): (String, String, u64, String, Vec<Value>) =
            redis::from_redis_value(answer).map_err(RedisError::from)?;
        let call = Call {
            roll: Roll::new(now, &edges),
            last_ack,
        };
        Ok((position(&epoch, &id)?, call))
    }

    /// Founds a new log in the stream, unless it has moved on from `last`: after a fail-over that
    /// lost a tail, ids may repeat, and must not be taken for those that were lost.
    pub(super) async fn refound(
        &self,
        last: u64,
        after: Position,
    ) -> Result<Position, AppendError> {
        self.append_after(&to_id(last), after, &[]).await
    }

    async fn append_after(
        &self,
        last: &str,
        after: Position,
        records: &[Record],
    ) -> Result<Position, AppendError> {
        let call = self.append.key(&self.key);
        let answer = self.run(call, last, after, records).await?;
        let (epoch, id): (String, String) =
            redis::from_redis_value(answer).map_err(RedisError::from)?;
        position(&epoch, &id)
    }

    async fn run(
        &self,
        mut call: ScriptInvocation<'_>,
        last: &str,
        after: Position,
        records: &[Record],
    ) -> Result<Value, AppendError> {
        call.arg(new_epoch()).arg(last).arg(MAX_LENGTH);
        call.arg(after.to_string());
        for record in records {
            call.arg(serde_json::to_string(record).expect("a record is plain JSON"));
        }
        // Out of its place while it is used: one that failed, or that was given up waiting for, is
        // not used again.
        let kept = self.connection().take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = call.invoke_async(&mut connection).await?;
        self.connection().replace(connection);
        Ok(answer)
    }

    /// A connection of its own for a follower, whose reads block.
    pub(in crate::purge) async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(None);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Which server a connection leads to: another one after each start. `None` where it does not
    /// tell.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn server(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<String>, RedisError> {
        let mut command = redis::cmd("INFO");
        let told: Result<String, RedisError> = command.arg("server").query_async(connection).await;
        match told {
            Ok(text) => Ok(text
                .lines()
                .find_map(|line| line.strip_prefix("run_id:"))
                .map(|run| run.trim().to_owned())),
            Err(error) if error.is_io_error() || error.is_timeout() => Err(error),
            // It does not tell us, which is its right.
            Err(_) => Ok(None),
        }
    }

    /// The entries after `seq`, waiting up to `block` for the first; none when nothing came.
    ///
    /// # Errors
    /// When the server cannot be asked, or the first entry has an id that does not fit. Further
    /// ones are left for the next read.
    pub(super) async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        seq: u64,
        block: Duration,
    ) -> Result<Vec<Entry>, ReadError> {
        let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(BATCH).arg("BLOCK").arg(block);
        command.arg("STREAMS").arg(&self.key).arg(to_id(seq));
        let answer: redis::streams::StreamReadReply = command.query_async(connection).await?;
        let mut entries = Vec::new();
        for entry in answer.keys.into_iter().flat_map(|key| key.ids) {
            match parse(&entry.id, &entry.map) {
                Ok(entry) => entries.push(entry),
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(entries)
    }

    /// The last entry, if there is any.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub(super) async fn last(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Entry>, ReadError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let answer: redis::streams::StreamRangeReply = command.query_async(connection).await?;
        let last = answer.ids.first();
        last.map(|entry| parse(&entry.id, &entry.map)).transpose()
    }

    /// The last entries, newest first.
    ///
    /// # Errors
    /// When the server cannot be asked. Entries whose ids do not fit are left out.
    pub(in crate::purge) async fn newest(
        &self,
        connection: &mut MultiplexedConnection,
        count: usize,
    ) -> Result<Vec<Entry>, RedisError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-");
        command.arg("COUNT").arg(count);
        let answer: redis::streams::StreamRangeReply = command.query_async(connection).await?;
        let entries = answer.ids.iter();
        let entries = entries.filter_map(|entry| interpret(&entry.id, &entry.map).ok());
        Ok(entries.map(|(entry, _)| entry).collect())
    }

    /// Whether an entry of this log stands at this position still.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub(super) async fn holds(
        &self,
        connection: &mut MultiplexedConnection,
        position: Position,
    ) -> Result<bool, ReadError> {
        let id = to_id(position.seq);
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.key).arg(&id).arg(&id);
        let answer: redis::streams::StreamRangeReply = command.query_async(connection).await?;
        let Some(entry) = answer.ids.first() else {
            return Ok(false);
        };
        Ok(parse(&entry.id, &entry.map)?.may_be_of(position.epoch))
    }

    fn connection(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(id: &str, fields: &HashMap<String, Value>) -> Result<Entry, ReadError> {
    let (entry, is_readable) = interpret(id, fields)?;
    if !is_readable {
        tracing::error!(
            id,
            "the purge log holds what this version cannot read: purging everything"
        );
    }
    Ok(entry)
}

/// An entry, and whether it could be read.
fn interpret(id: &str, fields: &HashMap<String, Value>) -> Result<(Entry, bool), ReadError> {
    let seq = from_id(id).ok_or_else(|| ReadError::OutOfBounds(id.to_owned()))?;
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

fn position(epoch: &str, id: &str) -> Result<Position, AppendError> {
    match (to_epoch(epoch), from_id(id)) {
        (Some(epoch), Some(seq)) => Ok(Position { epoch, seq }),
        _ => Err(AppendError::Answer(format!("{epoch} {id}"))),
    }
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
fn new_epoch() -> String {
    format!("{:016x}", crate::random::word())
}

/// `None` for what is no name of a log: 16 hexadecimal digits, as the script demands too.
fn to_epoch(text: &str) -> Option<u64> {
    let is_name = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_name)
}

fn to_id(seq: u64) -> String {
    format!(
        "{}-{}",
        seq >> COUNTER_BITS,
        seq & ((1 << COUNTER_BITS) - 1)
    )
}

/// `None` for what is no id, and for one that does not fit 44 + 20 bits.
fn from_id(id: &str) -> Option<u64> {
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
