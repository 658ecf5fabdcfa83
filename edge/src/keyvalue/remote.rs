//! Keys and values in Redis.
//!
//! A value is a string of its own, `PREFIX:kv:v:LENGTH:NAMESPACE:KEY`, so that Redis ends its
//! lifetime. Which keys there are stands in a sorted set beside them, `PREFIX:kv:k:LENGTH:NAMESPACE`,
//! by the moment at which each ends: looking through all keys of a server to list a few would be
//! another's load. The set may name what is gone; it leaves out what is there only where Redis, out of
//! memory, dropped the set itself. The length is the namespace's, in bytes: it says where that ends.

use std::sync::LazyLock;

use bytes::Bytes;
use redis::{RedisError, Script};

use super::KeyValueError;
use crate::redis::{Redis, Unavailable};

/// What the scripts begin with: the time, and a few names less that have ended.
const BEGIN: &str = r#"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16)
if #ended > 0 then redis.call('ZREM', KEYS[1], unpack(ended)) end
local function note(key, lifetime)
  if lifetime == '' then
    redis.call('ZADD', KEYS[1], '+inf', key)
  else
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(lifetime)), key)
  end
end
"#;

const SET: &str = r#"
if ARGV[3] == '' then
  redis.call('SET', KEYS[2], ARGV[2])
else
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
note(ARGV[1], ARGV[3])
return 1
"#;

/// The sum is read back as text: Lua's numbers are not whole beyond 2^53.
const INCREMENT: &str = r#"
local is_new = redis.call('EXISTS', KEYS[2]) == 0
local sum = redis.pcall('INCRBY', KEYS[2], ARGV[2])
if type(sum) == 'table' and sum.err then return false end
if is_new then
  if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
  note(ARGV[1], ARGV[3])
end
return redis.call('GET', KEYS[2])
"#;

const DELETE: &str = r#"
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"#;

/// Redis may have dropped values before their end, by its own `maxmemory`.
const KEYS: &str = r#"
local named = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'LIMIT', 0, ARGV[2])
local there, gone = {}, {}
for _, key in ipairs(named) do
  local list = redis.call('EXISTS', ARGV[1] .. key) == 1 and there or gone
  list[#list + 1] = key
end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
return there
"#;

static SET_SCRIPT: LazyLock<Script> = LazyLock::new(|| script(SET));
static INCREMENT_SCRIPT: LazyLock<Script> = LazyLock::new(|| script(INCREMENT));
static DELETE_SCRIPT: LazyLock<Script> = LazyLock::new(|| script(DELETE));
static KEYS_SCRIPT: LazyLock<Script> = LazyLock::new(|| script(KEYS));

fn script(what: &str) -> Script {
    Script::new(&format!("{BEGIN}{what}"))
}

/// A store in Redis.
pub(super) struct Remote {
    redis: Redis,
    prefix: String,
}

impl Remote {
    pub(super) fn new(redis: Redis, prefix: &str) -> Remote {
        Remote {
            redis,
            prefix: prefix.to_owned(),
        }
    }

    pub(super) async fn get(
        &self,
        namespace: &str,
        key: &str,
    ) -> Result<Option<Bytes>, KeyValueError> {
        let mut command = redis::cmd("GET");
        command.arg(self.value(namespace, key));
        let value: Option<Vec<u8>> = self.redis.query(&command).await?;
        Ok(value.map(Bytes::from))
    }

    pub(super) async fn exists(&self, namespace: &str, key: &str) -> Result<bool, KeyValueError> {
        let mut command = redis::cmd("EXISTS");
        command.arg(self.value(namespace, key));
        Ok(self.redis.query(&command).await?)
    }

    pub(super) async fn set(
        &self,
        namespace: &str,
        key: &str,
        value: &[u8],
        lifetime: Option<u64>,
    ) -> Result<(), KeyValueError> {
        let mut call = SET_SCRIPT.key(self.names(namespace));
        call.key(self.value(namespace, key))
            .arg(key)
            .arg(value)
            .arg(argument(lifetime));
        Ok(self.redis.script::<()>(&call).await?)
    }

    pub(super) async fn increment(
        &self,
        namespace: &str,
        key: &str,
        by: i64,
        lifetime: Option<u64>,
    ) -> Result<i64, KeyValueError> {
        let mut call = INCREMENT_SCRIPT.key(self.names(namespace));
        call.key(self.value(namespace, key))
            .arg(key)
            .arg(by)
            .arg(argument(lifetime));
        let sum: Option<i64> = self.redis.script(&call).await?;
        sum.ok_or(KeyValueError::NoNumber)
    }

    pub(super) async fn delete(&self, namespace: &str, key: &str) -> Result<(), KeyValueError> {
        let mut call = DELETE_SCRIPT.key(self.names(namespace));
        call.key(self.value(namespace, key)).arg(key);
        Ok(self.redis.script::<()>(&call).await?)
    }

    pub(super) async fn keys(
        &self,
        namespace: &str,
        most: usize,
    ) -> Result<Vec<String>, KeyValueError> {
        let mut call = KEYS_SCRIPT.key(self.names(namespace));
        call.arg(self.value(namespace, "")).arg(most);
        Ok(self.redis.script(&call).await?)
    }

    /// Where a value stands.
    fn value(&self, namespace: &str, key: &str) -> String {
        let length = namespace.len();
        format!("{}:kv:v:{length}:{namespace}:{key}", self.prefix)
    }

    /// Where the names of a namespace stand.
    fn names(&self, namespace: &str) -> String {
        format!("{}:kv:k:{}:{namespace}", self.prefix, namespace.len())
    }
}

/// A lifetime as the scripts take it.
fn argument(lifetime: Option<u64>) -> String {
    lifetime
        .map(|lifetime| lifetime.to_string())
        .unwrap_or_default()
}

impl From<RedisError> for KeyValueError {
    fn from(error: RedisError) -> KeyValueError {
        KeyValueError::Unavailable(Unavailable::Server(error))
    }
}
