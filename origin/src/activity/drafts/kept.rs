//! Drafts as Redis has them: a hash for each, and one set of those that the table does not have yet, by revision.
//!
//! A hash has the `data` and their `revision`, and the `last` revision that was given out, which is higher when the draft
//! ended or was about to. It has no lifetime while the table lacks it, so that a server that makes room leaves it alone.
//! `is_new` stands in it until it is written: then nothing was known of a last revision when it was saved, as after a
//! loss of Redis's memory, and the table may have a higher one although the save is newer.

use std::sync::LazyLock;

use redis::Script;
use serde_json::Value;

use crate::redis::client::{Away, Redis};

/// How long a draft that nobody changes stays in Redis once it is written, in seconds.
const LIFETIME: u32 = 3_600;
/// How many drafts may wait to be written.
const MOST: u32 = 10_000;
/// Drafts that the table does not have yet, by revision.
const DIRTY: &str = "{tidegate-origin:drafts}:dirty";

static SAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) and not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
             return 0
         end
         local now, last = redis.call('TIME'), redis.call('HGET', KEYS[1], 'last')
         local revision = now[1] * 1000000 + now[2]
         if last and revision <= tonumber(last) then revision = last + 1 end
         revision = string.format('%.0f', revision)
         if not last then redis.call('HSET', KEYS[1], 'is_new', 1) end
         redis.call('HSET', KEYS[1], 'last', revision, 'revision', revision, 'data', ARGV[2])
         redis.call('PERSIST', KEYS[1])
         redis.call('ZADD', KEYS[2], revision, ARGV[1])
         return revision",
    )
});

/// Gives out a revision, unless the draft has another one than is expected.
static RESERVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local of = redis.call('HMGET', KEYS[1], 'revision', 'last')
         if ARGV[1] ~= 'any' and (of[1] or '') ~= ARGV[1] then return 0 end
         local now = redis.call('TIME')
         local revision = math.max(now[1] * 1000000 + now[2], (of[2] or 0) + 1, ARGV[2] + 1)
         revision = string.format('%.0f', revision)
         redis.call('HSET', KEYS[1], 'last', revision)
         if not of[1] then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
         return revision",
    )
});

/// Forgets what was saved before a revision, and remembers that one for a while.
static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local revision = redis.call('HGET', KEYS[1], 'revision')
         if not revision or tonumber(revision) > tonumber(ARGV[2]) then return 0 end
         redis.call('HDEL', KEYS[1], 'revision', 'data', 'is_new')
         redis.call('EXPIRE', KEYS[1], ARGV[3])
         redis.call('ZREM', KEYS[2], ARGV[1])
         return 1",
    )
});

/// Takes drafts from those that are to be written, unless they have changed since. Where the table has a newer revision,
/// the draft has ended, or was newer than what Redis remembers: it is forgotten here. A new one is given a higher number
/// instead, and is to be written again, unless the table's is one that was given out here: then it is the draft's end.
static WRITTEN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 2, #KEYS do
             local member, seen, has = ARGV[3 * i - 4], ARGV[3 * i - 3], tonumber(ARGV[3 * i - 2])
             local of = redis.call('HMGET', KEYS[i], 'revision', 'last', 'is_new')
             if not of[1] then
                 redis.call('ZREM', KEYS[1], member)
             elseif of[1] == seen then
                 if has > tonumber(seen) and of[3] and has > tonumber(of[2] or 0) then
                     local revision = string.format('%.0f', math.max(has, of[2] or 0) + 1)
                     redis.call('HSET', KEYS[i], 'last', revision, 'revision', revision)
                     redis.call('HDEL', KEYS[i], 'is_new')
                     redis.call('ZADD', KEYS[1], revision, member)
                 else
                     if has > tonumber(seen) then
                         redis.call('HDEL', KEYS[i], 'revision', 'data')
                         redis.call('HSET', KEYS[i], 'last', string.format('%.0f', math.max(has, of[2] or 0)))
                     end
                     redis.call('HDEL', KEYS[i], 'is_new')
                     redis.call('EXPIRE', KEYS[i], ARGV[1])
                     redis.call('ZREM', KEYS[1], member)
                 end
             end
         end
         return 1",
    )
});

/// What Redis has of a draft.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) revision: Option<i64>,
    /// The last revision that was given out: a higher one than that of the data is that of an end, which may have come.
    pub(super) last: Option<i64>,
    pub(super) data: Option<Value>,
}

/// A draft that is to be written.
pub(super) struct Dirty {
    pub(super) member: String,
    pub(super) revision: i64,
    /// JSON.
    pub(super) data: String,
}

/// What a draft must be for a revision to be given out.
pub(super) enum Expected {
    Any,
    /// The one of this revision; without one, that there is none.
    Revision(Option<i64>),
}

fn key(member: &str) -> String {
    format!("{{tidegate-origin:drafts}}:of:{member}")
}

/// Saves a draft and returns its revision; nothing when too many wait to be written.
pub(super) async fn save(redis: &Redis, member: &str, data: &str) -> Result<Option<i64>, Away> {
    let mut call = SAVE.key(key(member));
    let call = call.key(DIRTY).arg(member).arg(data).arg(MOST);
    let revision: i64 = redis.script(call).await?;
    Ok((revision != 0).then_some(revision))
}

pub(super) async fn look(redis: &Redis, member: &str) -> Result<Kept, Away> {
    let mut command = redis::cmd("HMGET");
    let command = command.arg(key(member)).arg(&["revision", "last", "data"]);
    let (revision, last, data): (_, _, Option<String>) = redis.query(command).await?;
    let data = data.and_then(|data| serde_json::from_str(&data).ok());
    Ok(Kept {
        revision,
        last,
        data,
    })
}

/// Gives out a revision above `floor` and all that were given out; nothing when the draft is not as expected.
pub(super) async fn reserve(
    redis: &Redis,
    member: &str,
    expected: Expected,
    floor: i64,
) -> Result<Option<i64>, Away> {
    let expected = match expected {
        Expected::Any => "any".to_owned(),
        Expected::Revision(revision) => revision
            .map(|revision| revision.to_string())
            .unwrap_or_default(),
    };
    let mut call = RESERVE.key(key(member));
    let revision: i64 = redis
        .script(call.arg(expected).arg(floor).arg(LIFETIME))
        .await?;
    Ok((revision != 0).then_some(revision))
}

/// Forgets what was saved up to a revision.
pub(super) async fn forget(redis: &Redis, member: &str, revision: i64) -> Result<(), Away> {
    let mut call = FORGET.key(key(member));
    let call = call.key(DIRTY).arg(member).arg(revision).arg(LIFETIME);
    redis.script(call).await
}

/// Forgets drafts altogether.
pub(super) async fn forget_all(redis: &Redis, members: &[String]) -> Result<(), Away> {
    if members.is_empty() {
        return Ok(());
    }
    let mut commands = redis::pipe();
    for member in members {
        commands.cmd("DEL").arg(key(member)).ignore();
        commands.cmd("ZREM").arg(DIRTY).arg(member).ignore();
    }
    redis.pipeline(&commands).await
}

/// All that are to be written, those that have waited longest first.
pub(super) async fn dirty(redis: &Redis) -> Result<Vec<String>, Away> {
    let mut command = redis::cmd("ZRANGE");
    redis.query(command.arg(DIRTY).arg(0).arg(-1)).await
}

/// What Redis has of those that are to be written, in their order; nothing of one that is gone.
pub(super) async fn read(redis: &Redis, members: &[String]) -> Result<Vec<Option<Dirty>>, Away> {
    let mut commands = redis::pipe();
    for member in members {
        let command = commands.cmd("HMGET").arg(key(member));
        command.arg("revision").arg("data");
    }
    let found: Vec<(Option<i64>, Option<String>)> = redis.pipeline(&commands).await?;
    let found = members.iter().zip(found).map(|(member, (revision, data))| {
        Some(Dirty {
            member: member.clone(),
            revision: revision?,
            data: data?,
        })
    });
    Ok(found.collect())
}

/// Says that drafts are written: of each its member, the revision that was written (0 of one that is gone), and the one
/// that the table has now.
pub(super) async fn written(redis: &Redis, drafts: &[(&str, i64, i64)]) -> Result<(), Away> {
    let mut call = WRITTEN.key(DIRTY);
    call.arg(LIFETIME);
    for (member, revision, has) in drafts {
        call.key(key(member)).arg(*member).arg(*revision).arg(*has);
    }
    redis.script(&call).await
}
