//! L2: the regional tier in Redis. Slow or absent, it is a miss.
//!
//! What stands there carries its fence, and is judged by whoever reads it with their own index:
//! an edge that lags behind the purge log cannot bring back what was purged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_semantics::{Timestamp, Vary, has_validator};
use tidegate_stored::{Encoded, decode, encode, encode_varies};

use super::entry::Entry;
use super::key::KeyParts;
use crate::purge::Index;
use crate::redis::{Redis, Unavailable};

/// The regional tier as one worker reaches it.
#[derive(Clone)]
pub struct Regional {
    redis: Arc<Redis>,
    prefix: Arc<str>,
    max_entry: usize,
}

impl Regional {
    /// A tier that keeps bodies of at most `max_entry` bytes under keys that begin with `prefix`.
    pub fn new(redis: Arc<Redis>, prefix: &str, max_entry: usize) -> Regional {
        Regional {
            redis,
            prefix: prefix.into(),
            max_entry,
        }
    }

    /// The stored response that this request selects, if there is one.
    ///
    /// # Errors
    /// When Redis does not answer in time; the caller goes on without.
    pub async fn get(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Result<Option<Arc<Entry>>, Unavailable> {
        let names = match self.read(&parts.shared(b"")).await? {
            Some(Encoded::Varies(names)) => names,
            other => return Ok(selected(other, request, index)),
        };
        let variant = Vary::select(&names, request).variant();
        let found = self.read(&parts.shared(&variant)).await?;
        Ok(selected(found, request, index))
    }

    /// Stores a response for as long as it can be of use.
    ///
    /// # Errors
    /// As [`Regional::get`].
    pub async fn put(
        &self,
        parts: &KeyParts<'_>,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let useful = entry
            .terms
            .useless_after(has_validator(&entry.headers))
            .since(now);
        if entry.content.len() > self.max_entry || useful < Duration::from_secs(1) {
            return Ok(());
        }
        // Parts of a representation stay here.
        let Some(encoded) = encode(entry, entry.marks.url()) else {
            return Ok(());
        };
        if entry.vary.is_empty() {
            return self.write(&parts.shared(b""), &encoded, useful).await;
        }
        let names = encode_varies(entry.vary.names());
        let variant = entry.vary.variant();
        self.write(&parts.shared(&variant), &encoded, useful)
            .await?;
        self.write(&parts.shared(b""), &names, useful).await
    }

    async fn read(&self, key: &str) -> Result<Option<Encoded>, Unavailable> {
        let command = redis::Cmd::get(self.name(key));
        let bytes: Option<Vec<u8>> = self.redis.query(&command).await?;
        Ok(bytes.and_then(|bytes| decode(&Bytes::from(bytes))))
    }

    async fn write(&self, key: &str, value: &[u8], keep: Duration) -> Result<(), Unavailable> {
        let millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        self.redis
            .query(&redis::Cmd::pset_ex(self.name(key), value, millis))
            .await
    }

    fn name(&self, key: &str) -> String {
        format!("{}:c:{key}", self.prefix)
    }
}

fn selected(encoded: Option<Encoded>, request: &HeaderMap, index: &Index) -> Option<Arc<Entry>> {
    match encoded {
        Some(Encoded::Response(stored, url)) if stored.vary.matches(request) => {
            Some(Arc::new(Entry::new(*stored, &url, index)))
        }
        _ => None,
    }
}
