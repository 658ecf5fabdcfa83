//! Keys and values that guests keep from one exchange to another.
//!
//! They stand in memory, for this process alone, or in Redis, for all edges that share it. Each
//! guest has a namespace; no key of one is a key of another, whatever bytes it has. What is kept
//! may be gone: memory forgets at a restart and past its bound, Redis by its own `maxmemory`. A
//! Redis that is slow is an error after its deadline, and what to do then is the guest's decision.

mod memory;
mod remote;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::redis::{Redis, Unavailable};
use memory::Memory;
use remote::Remote;

/// The longest key, in bytes.
pub const LONGEST_KEY: usize = 1 << 10;
/// The largest value, in bytes.
pub const LARGEST_VALUE: usize = 1 << 20;
/// The most keys that are listed.
pub const MOST_LISTED: usize = 1_000;
/// The longest lifetime: ten years of 365 days.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A store of keys and values. Cheap to clone.
#[derive(Clone)]
pub struct KeyValue(Store);

#[derive(Clone)]
enum Store {
    Memory(Arc<Memory>),
    Remote(Arc<Remote>),
}

/// Why a store did not do as it was told. It has changed nothing then, except where Redis did not
/// answer in time: that may have happened or not.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    #[error("a key of {0} bytes, over {LONGEST_KEY}")]
    KeyTooLong(usize),
    #[error("a value of {0} bytes, over {LARGEST_VALUE}")]
    ValueTooLarge(usize),
    #[error("a lifetime of {0:?}, which is not from 1 ms to {LONGEST_LIFETIME:?}")]
    Lifetime(Duration),
    #[error("more than {MOST_LISTED} keys to list")]
    TooManyKeys,
    #[error("the value is no whole number of 64 bits, or would be none afterwards")]
    NoNumber,
    #[error("{0}")]
    Unavailable(#[from] Unavailable),
}

impl KeyValue {
    /// A store in memory of `bytes` at most, keys and some overhead included. Past that, the guest
    /// that holds the most forgets what it has not used for the longest time. Lifetimes are by
    /// `clock`.
    pub fn in_memory(bytes: usize, clock: Clock) -> KeyValue {
        KeyValue(Store::Memory(Arc::new(Memory::new(bytes, clock))))
    }

    /// A store in Redis, whose keys begin with `prefix`. Lifetimes are by the clock of Redis.
    pub fn in_redis(redis: Redis, prefix: &str) -> KeyValue {
        KeyValue(Store::Remote(Arc::new(Remote::new(redis, prefix))))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn get(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        check_key(key)?;
        match &self.0 {
            Store::Memory(memory) => Ok(memory.get(namespace, key)),
            Store::Remote(remote) => remote.get(namespace, key).await,
        }
    }

    /// Gives a key a value, for so long: without a lifetime until it is deleted.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn set(
        &self,
        namespace: &str,
        key: &str,
        value: Bytes,
        lifetime: Option<Duration>,
    ) -> Result<(), KeyValueError> {
        check_key(key)?;
        if value.len() > LARGEST_VALUE {
            return Err(KeyValueError::ValueTooLarge(value.len()));
        }
        let millis = millis(lifetime)?;
        match &self.0 {
            Store::Memory(memory) => {
                memory.set(namespace, key, value, millis);
                Ok(())
            }
            Store::Remote(remote) => remote.set(namespace, key, &value, millis).await,
        }
    }

    /// Deletes a key; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn delete(&self, namespace: &str, key: &str) -> Result<(), KeyValueError> {
        check_key(key)?;
        match &self.0 {
            Store::Memory(memory) => {
                memory.delete(namespace, key);
                Ok(())
            }
            Store::Remote(remote) => remote.delete(namespace, key).await,
        }
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn exists(&self, namespace: &str, key: &str) -> Result<bool, KeyValueError> {
        check_key(key)?;
        match &self.0 {
            Store::Memory(memory) => Ok(memory.get(namespace, key).is_some()),
            Store::Remote(remote) => remote.exists(namespace, key).await,
        }
    }

    /// All keys of a namespace, sorted.
    ///
    /// # Errors
    /// [`KeyValueError`]; there is no answer that leaves some out.
    pub async fn keys(&self, namespace: &str) -> Result<Vec<String>, KeyValueError> {
        let mut keys = match &self.0 {
            Store::Memory(memory) => memory.keys(namespace, MOST_LISTED + 1),
            Store::Remote(remote) => remote.keys(namespace, MOST_LISTED + 1).await?,
        };
        if keys.len() > MOST_LISTED {
            return Err(KeyValueError::TooManyKeys);
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Adds to the number that a key has for a value, written in decimal digits, and says what it
    /// is then; a key without a value has 0. Nobody's addition is lost. `lifetime` is that of a key
    /// that had none: another keeps its own.
    ///
    /// # Errors
    /// [`KeyValueError`].
    pub async fn increment(
        &self,
        namespace: &str,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
    ) -> Result<i64, KeyValueError> {
        check_key(key)?;
        let millis = millis(lifetime)?;
        match &self.0 {
            Store::Memory(memory) => memory.increment(namespace, key, by, millis),
            Store::Remote(remote) => remote.increment(namespace, key, by, millis).await,
        }
    }
}

fn check_key(key: &str) -> Result<(), KeyValueError> {
    if key.len() > LONGEST_KEY {
        return Err(KeyValueError::KeyTooLong(key.len()));
    }
    Ok(())
}

/// A lifetime in milliseconds.
fn millis(lifetime: Option<Duration>) -> Result<Option<u64>, KeyValueError> {
    let Some(lifetime) = lifetime else {
        return Ok(None);
    };
    match u64::try_from(lifetime.as_millis()) {
        Ok(millis) if millis > 0 && lifetime <= LONGEST_LIFETIME => Ok(Some(millis)),
        _ => Err(KeyValueError::Lifetime(lifetime)),
    }
}

#[cfg(test)]
mod tests;
