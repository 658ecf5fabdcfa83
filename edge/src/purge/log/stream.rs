//! The log as a Redis stream: how records are written into it and read out of it.
//!
//! What an entry says is told in `entry`. An id that does not fit 44 + 20 bits is refused. The server
//! must not evict the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, Script, ScriptInvocation, Value};

use super::entry::{Entry, OutOfBounds, from_id, interpret, new_epoch, parse, to_epoch, to_id};
use crate::purge::record::{Position, Record};
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
const APPEND: &str = include_str!("append.lua");

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
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}

/// A stream in Redis that holds a purge log.
pub struct Stream {
    client: Client,
    key: String,
    /// What edges say of themselves, and what they have acknowledged; see `roll`.
    pub(in crate::purge) edges: String,
    pub(in crate::purge) acks: String,
    append: Script,
    /// What all appends share.
    connection: tokio::sync::Mutex<Option<Shared>>,
}

/// A connection that is shared until it fails somebody.
#[derive(Clone)]
struct Shared {
    connection: MultiplexedConnection,
    has_failed: Arc<AtomicBool>,
}

/// The use of a shared connection. One that ends without an answer, because it failed or was given
/// up waiting for, is the connection's last.
struct Use {
    has_failed: Arc<AtomicBool>,
    is_answered: bool,
}

impl Drop for Use {
    fn drop(&mut self) {
        if !self.is_answered {
            self.has_failed.store(true, Ordering::Relaxed);
        }
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
            connection: tokio::sync::Mutex::new(None),
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
        let mut shared = self.shared().await?;
        let mut in_use = Use {
            has_failed: shared.has_failed,
            is_answered: false,
        };
        let answer = call.invoke_async(&mut shared.connection).await;
        // That the server refuses is an answer too.
        in_use.is_answered = match &answer {
            Ok(_) => true,
            Err(error) => error.code().is_some(),
        };
        Ok(answer?)
    }

    /// The connection of all appends: many at once share one.
    async fn shared(&self) -> Result<Shared, RedisError> {
        let mut place = self.connection.lock().await;
        if let Some(shared) = &*place
            && !shared.has_failed.load(Ordering::Relaxed)
        {
            return Ok(shared.clone());
        }
        *place = None;
        let shared = Shared {
            connection: self.connect().await?,
            has_failed: Arc::default(),
        };
        *place = Some(shared.clone());
        Ok(shared)
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
                Err(error) if entries.is_empty() => return Err(error.into()),
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
        Ok(last.map(|entry| parse(&entry.id, &entry.map)).transpose()?)
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
}

fn position(epoch: &str, id: &str) -> Result<Position, AppendError> {
    match (to_epoch(epoch), from_id(id)) {
        (Some(epoch), Some(seq)) => Ok(Position { epoch, seq }),
        _ => Err(AppendError::Answer(format!("{epoch} {id}"))),
    }
}
