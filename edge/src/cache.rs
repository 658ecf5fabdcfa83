//! The tiers, from the nearest to the farthest: a worker's own hot entries, the memory of the
//! process, Redis in the region. And the fetches under way, which many requests share.
//!
//! The room stores and finds; whether what is found may be used is decided by
//! `tidegate-semantics` and the purge log.

mod encodings;
mod entry;
mod filling;
mod flight;
mod hot;
mod key;
mod lease;
mod memory;
mod policy;
mod recoding;
mod redis;
mod search;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_semantics::{Coding, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use encodings::{Encoded, Joined, Making};
pub use entry::Entry;
pub use filling::Filling;
pub use flight::{Follow, Head, Landing, Lead, Role};
pub use key::{Key, KeyParts, OwnedKeyParts};
pub use lease::{Claim, Claimed, Lease};
pub use memory::Memory;
pub use policy::KeyPolicy;
pub use recoding::{Recoding, Shared};
pub use redis::Regional;
pub use tidegate_stored::{Content, Fields, Gap, Given, Parts, Stored};

use crate::purge::{Index, Verdict};
use crate::redis::Unavailable;
use encodings::Makings;
use flight::Flights;
use recoding::Recodings;
use search::Searches;

/// Where a stored response was found; the name reaches `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    Hot,
    Memory,
    Regional,
}

impl Tier {
    /// The name in `Cache-Status`, log and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Hot => "hot",
            Tier::Memory => "memory",
            Tier::Regional => "redis",
        }
    }
}

/// What a key holds for a request, as far as this process knows.
pub enum Found {
    Entry(Arc<Entry>, Tier),
    /// Something is stored, but for other values of the fields it varies on.
    OtherVariant,
    Nothing,
}

/// Requests of this process that wait at once for fetches of other edges; one more does not. They
/// look for them some twenty times a second each.
const MAX_WAITING: usize = 256;

/// The tiers as one worker sees them.
#[derive(Clone)]
pub struct Cache {
    keys: (u64, u64),
    memory: Memory,
    searches: Searches,
    flights: Flights,
    makings: Makings,
    recodings: Recodings,
    hot_budget: usize,
    regional: Option<Regional>,
    waiting: Arc<Semaphore>,
}

impl Cache {
    /// The tiers of a process, without Redis. `keys` are secret, and the same for all its workers.
    pub fn new(keys: (u64, u64), memory: Memory, hot_budget: usize) -> Cache {
        Cache {
            keys,
            memory,
            searches: Searches::new(),
            flights: Flights::default(),
            makings: Makings::default(),
            recodings: Recodings::default(),
            hot_budget,
            regional: None,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// The same tiers, with a worker's own way to the regional one.
    pub fn with_regional(&self, regional: Option<Regional>) -> Cache {
        Cache {
            regional,
            ..self.clone()
        }
    }

    /// Whether there is a tier beyond this process.
    pub fn has_region(&self) -> bool {
        self.regional.is_some()
    }

    /// The key of a request in this process.
    pub fn key(&self, parts: &KeyParts<'_>) -> Key {
        parts.key(self.keys)
    }

    /// The key under which stored responses for equivalent queries are, where a response to this
    /// path has said which those are.
    pub fn search_key(&self, parts: &KeyParts<'_>) -> Option<Key> {
        if self.searches.is_empty() {
            return None;
        }
        self.searches.key(parts, self.keys)
    }

    /// Looks where no waiting is needed.
    pub fn find_here(&self, key: Key, request: &HeaderMap) -> Found {
        if let Some((entry, is_due)) = hot::get(key)
            && entry.vary.matches(request)
        {
            if is_due {
                self.memory.touch(key);
            }
            return Found::Entry(entry, Tier::Hot);
        }
        let Some(object) = self.memory.get(key) else {
            return Found::Nothing;
        };
        match object.select(request) {
            Some(entry) => {
                hot::insert(key, entry, self.hot_budget);
                Found::Entry(Arc::clone(entry), Tier::Memory)
            }
            None => Found::OtherVariant,
        }
    }

    /// Looks into memory, and makes nothing hot by it.
    pub fn peek(&self, key: Key, request: &HeaderMap) -> Found {
        let Some(object) = self.memory.get(key) else {
            return Found::Nothing;
        };
        match object.select(request) {
            Some(entry) => Found::Entry(Arc::clone(entry), Tier::Memory),
            None => Found::OtherVariant,
        }
    }

    /// Looks in the region only, for what is not older than what is here.
    ///
    /// # Errors
    /// When Redis does not answer in time.
    pub async fn peek_in_region(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Result<Option<Arc<Entry>>, Unavailable> {
        let Some(regional) = &self.regional else {
            return Ok(None);
        };
        let found = regional.get(parts, request, index).await?;
        Ok(found.filter(|entry| !self.has_newer(parts, request, entry, index)))
    }

    /// Whether what is here is newer than a copy from the region, which then is of no use: whoever
    /// saw the one must not see the other after it.
    fn has_newer(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        copy: &Entry,
        index: &Index,
    ) -> bool {
        let is_newer = |key| {
            let Found::Entry(here, _) = self.peek(key, request) else {
                return false;
            };
            // Of different logs, the one that is followed is the newer.
            let epoch = index.position().epoch;
            let is_of_newer_log = here.fence.epoch == epoch && copy.fence.epoch != epoch;
            is_of_newer_log || here.is_newer_than(copy)
        };
        is_newer(self.key(parts)) || self.search_key(parts).is_some_and(is_newer)
    }

    /// Looks in the region, and brings what it finds into memory.
    ///
    /// # Errors
    /// When Redis does not answer in time.
    pub async fn find_in_region(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Result<Option<Arc<Entry>>, Unavailable> {
        let found = self.peek_in_region(parts, request, index).await?;
        if let Some(entry) = &found
            && entry.judge(index) != Verdict::Purged
        {
            self.keep(parts, Arc::clone(entry));
        }
        Ok(found)
    }

    /// Brings a copy from the region into memory; whether it is not older than what is here.
    pub fn bring(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        copy: &Arc<Entry>,
        index: &Index,
    ) -> bool {
        let is_of_use = !self.has_newer(parts, request, copy, index);
        if is_of_use {
            self.keep(parts, Arc::clone(copy));
        }
        is_of_use
    }

    /// See [`Regional::claim`]; `None` without a region, too.
    pub fn claim(&self, parts: &KeyParts<'_>) -> Option<Claim> {
        self.regional.as_ref()?.claim(parts)
    }

    /// A place among those who wait for fetches of other edges, if there is room.
    pub fn wait_in_region(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// Stores an entry in memory: for its own URL, or for all whose queries it says are equivalent.
    pub fn keep(&self, parts: &KeyParts<'_>, entry: Arc<Entry>) {
        let own = self.key(parts);
        let Some(variance) = entry.variance() else {
            return self.insert(own, entry);
        };
        let key = self.searches.remember(parts, variance, self.keys);
        self.insert(key, entry);
        // What an earlier response left under its own URL would hide this one.
        self.memory.forget_pass(own);
        self.memory.remove(own);
    }

    /// Stores an entry in memory under a key.
    pub fn insert(&self, key: Key, entry: Arc<Entry>) {
        self.memory.forget_pass(key);
        self.memory.insert(key, entry);
    }

    /// Stores an entry in the region, and gives back the lease under which it was fetched.
    ///
    /// # Errors
    /// When Redis does not answer in time.
    pub async fn insert_in_region(
        &self,
        parts: &KeyParts<'_>,
        entry: &Entry,
        now: Timestamp,
        lease: Option<Lease>,
    ) -> Result<(), Unavailable> {
        match &self.regional {
            Some(regional) => regional.put(parts, entry, now, lease).await,
            None => Ok(()),
        }
    }

    /// The head that answers from `entry` in this second.
    pub fn head(
        &self,
        key: Key,
        entry: &Arc<Entry>,
        tier: Tier,
        second: u64,
        render: impl FnOnce() -> HeaderMap,
    ) -> HeaderMap {
        match tier {
            Tier::Hot => hot::head(key, entry, second, render),
            Tier::Memory | Tier::Regional => render(),
        }
    }

    /// Joins the fetch of a key, or begins it.
    pub fn join(&self, key: Key) -> Role {
        self.flights.join(key)
    }

    /// Joins the making of an encoded form of a body that is stored under `key`, or begins it.
    /// Whether the entry may be used is for the caller to judge.
    pub fn join_encoding(&self, key: Key, body: &Bytes, coding: Coding) -> Joined {
        self.makings.join(&self.memory, key, body, coding)
    }

    /// Joins the encoding of a response that is being fetched, or begins it. At most `limit` bytes
    /// are held for those who come late.
    pub fn share_encoding(&self, head: &Arc<Head>, coding: Coding, limit: usize) -> Shared {
        self.recodings.join(head, coding, limit)
    }

    /// See [`Memory::remember_pass`].
    pub fn remember_pass(&self, key: Key, now: Timestamp) {
        self.memory.remember_pass(key, now);
    }

    /// See [`Memory::passes`].
    pub fn passes(&self, key: Key, now: Timestamp) -> bool {
        self.memory.passes(key, now)
    }
}
