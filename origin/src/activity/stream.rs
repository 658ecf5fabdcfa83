//! The stream of accepted events in Redis: a queue from which nothing is taken before the table has it.
//!
//! An event is an entry with one field, `event`. Any number of processes read it as one consumer group, so that each entry
//! is with one of them; an entry that one has had for too long (it crashed, it hangs) goes to another. An entry leaves when
//! its reader says that it is inserted; one that cannot be inserted moves to a stream of dead letters, where it stays until
//! someone looks. Entries are deleted as they are done with, so the stream's length is the number of those that wait.
//! Both streams are bounded: of events that wait by their number and by the memory that they take, where no more are
//! taken; of dead letters by their number, where those that come after wait in the stream of events until that is full.
//!
//! What Redis has answered for is as safe as its configuration says. With `appendonly yes` and `appendfsync always`
//! neither a crash of Redis nor one of its machine loses an answered event; with `appendfsync everysec` either may lose
//! the last second or two; without the append-only file all that waits is lost.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{
    RedisError, Script, Value,
    aio::MultiplexedConnection,
    streams::{StreamAutoClaimReply, StreamId, StreamReadReply},
};

use crate::redis::client::{Away, Redis};

/// The names share a part in braces, so that a cluster keeps them on one server.
const STREAM: &str = "{tidegate-origin:events}";
const DEAD: &str = "{tidegate-origin:events}:dead";
const GROUP: &str = "table";
const FIELD: &str = "event";
/// How often entries have been refused that wait for another try: a hash of numbers by entry.
const FAILURES: &str = "{tidegate-origin:events}:failures";
/// How many dead letters there may be.
const LETTERS: u32 = 10_000;
/// How long a reader waits for an entry before it looks at other things.
const WAIT: Duration = Duration::from_secs(1);
/// After so many milliseconds without a word, a consumer that holds nothing is forgotten.
const GONE: u64 = 3_600_000;

/// All or nothing: the stream is looked at and the entries are added without anyone in between. How much memory it takes
/// is estimated from some of its nodes; a server that does not tell has no bound but the number.
static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('XLEN', KEYS[1]) + #ARGV - 2 > tonumber(ARGV[1]) then return 0 end
         local memory = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', '3')
         if type(memory) == 'number' and memory > tonumber(ARGV[2]) then return 0 end
         for i = 3, #ARGV do redis.call('XADD', KEYS[1], '*', 'event', ARGV[i]) end
         return 1",
    )
});

/// Counts a failure of an entry, and moves it to the dead letters when it has failed often enough: 1; or 2 where those have
/// no room, so that it stays where it is. It may be with somebody else by now, or gone. How often it was delivered says
/// nothing: a reader may have been killed, or have waited for the database.
static FAIL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
         if not pending then return 0 end
         local failures = redis.call('HINCRBY', KEYS[3], ARGV[2], 1)
         redis.call('EXPIRE', KEYS[3], 604800)
         if failures < tonumber(ARGV[3]) then return 0 end
         if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[5]) then return 2 end
         local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
         if entry then
             local letter = entry[2]
             for _, word in ipairs({'entry', ARGV[2], 'tries', failures, 'error', ARGV[4]}) do
                 letter[#letter + 1] = word
             end
             redis.call('XADD', KEYS[2], '*', unpack(letter))
         end
         redis.call('HDEL', KEYS[3], ARGV[2])
         redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
         redis.call('XDEL', KEYS[1], ARGV[2])
         return 1",
    )
});

/// How many wait, how many of them are with a reader, for how many milliseconds the oldest has waited, dead letters.
static STATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local oldest, lag = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1], 0
         if oldest then
             local now = redis.call('TIME')
             lag = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(oldest[1], '^%d+'))
         end
         local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
         return {redis.call('XLEN', KEYS[1]), pending.err and 0 or pending[1], lag, redis.call('XLEN', KEYS[2])}",
    )
});

/// Forgets consumers of processes that ended long ago. One that holds entries stays: they would be forgotten with it.
static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
         if consumers.err then return 0 end
         for _, consumer in ipairs(consumers) do
             local of = {}
             for i = 1, #consumer, 2 do of[consumer[i]] = consumer[i + 1] end
             if of.pending == 0 and of.idle > tonumber(ARGV[2]) then
                 redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
             end
         end
         return 1",
    )
});

/// What became of events that were to be queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// Redis has all of them.
    Taken,
    /// None was added: too many wait already.
    Full,
}

/// What became of an entry that cannot be inserted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for another try.
    Waits,
    /// It is a dead letter.
    Dead,
    /// It would be a dead letter, and there are too many: it waits where it is.
    NoRoom,
}

/// An entry of the stream.
pub(crate) struct Entry {
    pub(crate) id: String,
    /// Nothing when somebody else wrote the entry, in another form.
    pub(crate) event: Option<Vec<u8>>,
}

/// How the stream stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) length: u64,
    pub(crate) pending: u64,
    /// For how long the oldest entry has waited.
    pub(crate) lag: Duration,
    pub(crate) dead: u64,
}

/// The stream, as those see it who put events in.
pub(crate) struct Stream {
    redis: Arc<Redis>,
    limit: u64,
    memory: u64,
}

impl Stream {
    /// A stream that takes no more once `limit` entries wait, or those that wait take more than `memory` bytes.
    pub(crate) fn new(redis: Arc<Redis>, limit: u64, memory: u64) -> Self {
        Self {
            redis,
            limit,
            memory,
        }
    }

    /// Queues events, all or none.
    pub(crate) async fn append(&self, events: &[Vec<u8>]) -> Result<Appended, Away> {
        let mut call = APPEND.key(STREAM);
        call.arg(self.limit).arg(self.memory);
        for event in events {
            call.arg(event.as_slice());
        }
        let taken: bool = self.redis.script(&call).await?;
        Ok(if taken {
            Appended::Taken
        } else {
            Appended::Full
        })
    }

    pub(crate) async fn state(&self) -> Result<State, Away> {
        let mut call = STATE.key(STREAM);
        let call = call.key(DEAD).arg(GROUP);
        let (length, pending, lag, dead): (u64, u64, i64, u64) = self.redis.script(call).await?;
        Ok(State {
            length,
            pending,
            // A clock that was set back makes no time negative.
            lag: Duration::from_millis(lag.max(0) as u64),
            dead,
        })
    }

    /// What of the server's settings lets it lose what it has answered for; nothing where it does not tell its settings.
    pub(crate) async fn weaknesses(&self) -> Result<Vec<&'static str>, Away> {
        let mut commands = redis::pipe();
        for setting in ["appendonly", "appendfsync", "maxmemory-policy"] {
            commands.cmd("CONFIG").arg("GET").arg(setting);
        }
        let settings: Vec<HashMap<String, String>> = self.redis.pipeline(&commands).await?;
        let settings: HashMap<_, _> = settings.into_iter().flatten().collect();
        let setting = |name: &str| settings.get(name).map(String::as_str);
        let mut weaknesses = Vec::new();
        match (setting("appendonly"), setting("appendfsync")) {
            (Some("no"), _) => weaknesses.push("without appendonly a crash loses all that waits"),
            (_, Some("everysec" | "no")) => {
                weaknesses.push("without appendfsync always a crash may lose the last seconds");
            }
            _ => {}
        }
        if setting("maxmemory-policy").is_some_and(|policy| policy.starts_with("allkeys-")) {
            weaknesses.push("maxmemory-policy may evict all that waits");
        }
        Ok(weaknesses)
    }

    pub(crate) async fn forget_the_gone(&self) -> Result<(), Away> {
        let mut call = FORGET.key(STREAM);
        self.redis.script(call.arg(GROUP).arg(GONE)).await
    }
}

/// One of the stream's readers.
pub(crate) struct Consumer {
    stream: Arc<Stream>,
    name: String,
    connection: Option<MultiplexedConnection>,
    /// Where the next look for abandoned entries begins.
    cursor: String,
}

impl Consumer {
    /// A reader whose name no other has.
    pub(crate) fn new(stream: Arc<Stream>, name: String) -> Self {
        Self {
            stream,
            name,
            connection: None,
            cursor: "0-0".to_owned(),
        }
    }

    /// The next entries that nobody has had; waits for the first up to a second.
    pub(crate) async fn next(&mut self, count: usize) -> Result<Vec<Entry>, Away> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.name);
        command.arg("COUNT").arg(count);
        command.arg("BLOCK").arg(WAIT.as_millis() as u64);
        command.arg("STREAMS").arg(STREAM).arg(">");
        let reply: Option<StreamReadReply> = match self.ask(&command).await? {
            Some(reply) => reply,
            None => return Ok(Vec::new()),
        };
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(keys
            .into_iter()
            .flat_map(|key| key.ids)
            .map(entry)
            .collect())
    }

    /// Entries that their readers have had for longer than `idle`: they are this one's now. A part of the stream is looked
    /// through each time.
    pub(crate) async fn claim(&mut self, count: usize, idle: Duration) -> Result<Vec<Entry>, Away> {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(STREAM).arg(GROUP).arg(&self.name);
        command.arg(idle.as_millis() as u64).arg(&self.cursor);
        command.arg("COUNT").arg(count);
        let Some(reply): Option<StreamAutoClaimReply> = self.ask(&command).await? else {
            return Ok(Vec::new());
        };
        self.cursor = reply.next_stream_id;
        Ok(reply.claimed.into_iter().map(entry).collect())
    }

    /// Whether a look for abandoned entries has come to the stream's end.
    pub(crate) fn has_looked_through(&self) -> bool {
        self.cursor == "0-0"
    }

    /// Takes entries away that are inserted. Those that are gone already are in nobody's way.
    pub(crate) async fn settle(&self, entries: &[&str]) -> Result<(), Away> {
        let mut commands = redis::pipe();
        commands.atomic();
        commands
            .cmd("XACK")
            .arg(STREAM)
            .arg(GROUP)
            .arg(entries)
            .ignore();
        commands.cmd("XDEL").arg(STREAM).arg(entries).ignore();
        commands.cmd("HDEL").arg(FAILURES).arg(entries).ignore();
        self.stream.redis.pipeline(&commands).await
    }

    /// Says that an entry cannot be inserted. When that has been said `tries` times, it becomes a dead letter.
    pub(crate) async fn fail(&self, id: &str, tries: u32, reason: &str) -> Result<Fate, Away> {
        let mut call = FAIL.key(STREAM);
        let call = call.key(DEAD).key(FAILURES).arg(GROUP).arg(id).arg(tries);
        let fate: u8 = self
            .stream
            .redis
            .script(call.arg(reason).arg(LETTERS))
            .await?;
        Ok(match fate {
            0 => Fate::Waits,
            1 => Fate::Dead,
            _ => Fate::NoRoom,
        })
    }

    /// Asks over this reader's own connection; nothing when there was no group, which is then made.
    async fn ask<T: redis::FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
    ) -> Result<Option<T>, Away> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.stream.redis.waiting(WAIT).await?,
        };
        let error = match command.query_async(&mut connection).await {
            Ok(answer) => {
                self.connection = Some(connection);
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        // A new Redis, or one that has lost its memory.
        if has_no_group(&error) {
            make_group(&mut connection).await?;
            self.connection = Some(connection);
            return Ok(None);
        }
        Err(error.into())
    }
}

fn entry(read: StreamId) -> Entry {
    let StreamId { id, mut map, .. } = read;
    let event = match map.remove(FIELD) {
        Some(Value::BulkString(event)) => Some(event),
        _ => None,
    };
    Entry { id, event }
}

fn has_no_group(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP")
}

/// Makes the group before the first entry, so that it misses none. Another reader may be faster.
async fn make_group(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut command = redis::cmd("XGROUP");
    command
        .arg("CREATE")
        .arg(STREAM)
        .arg(GROUP)
        .arg("0")
        .arg("MKSTREAM");
    match command.query_async(connection).await {
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        made => made,
    }
}
