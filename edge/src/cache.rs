//! The tiers, from the nearest to the farthest: a worker's own hot entries, the memory of the
//! process, Redis in the region. And the fetches under way, which many requests share.
//!
//! The room stores and finds; whether what is found may be used is decided by
//! `tidegate-semantics` and the purge log.

mod entry;
mod filling;
mod flight;
mod hot;
mod key;
mod memory;
mod policy;
mod redis;
mod search;

use std::sync::Arc;

use http::HeaderMap;
use tidegate_semantics::Timestamp;

pub use entry::Entry;
pub use filling::Filling;
pub use flight::{Follow, Head, Landing, Lead, Role};
pub use key::{Key, KeyParts, OwnedKeyParts};
pub use memory::Memory;
pub use policy::KeyPolicy;
pub use redis::Regional;
pub use tidegate_stored::{Content, Gap, Parts, Stored};

use crate::purge::{Index, Verdict};
use crate::redis::Unavailable;
use flight::Flights;
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

/// The tiers as one worker sees them.
#[derive(Clone)]
pub struct Cache {
    keys: (u64, u64),
    memory: Memory,
    searches: Searches,
    flights: Flights,
    hot_budget: usize,
    regional: Option<Regional>,
}

impl Cache {
    /// The tiers of a process, without Redis. `keys` are secret, and the same for all its workers.
    pub fn new(keys: (u64, u64), memory: Memory, hot_budget: usize) -> Cache {
        Cache {
            keys,
            memory,
            searches: Searches::new(),
            flights: Flights::default(),
            hot_budget,
            regional: None,
        }
    }

    /// The same tiers, with a worker's own way to the regional one.
    pub fn with_regional(&self, regional: Option<Regional>) -> Cache {
        Cache {
            regional,
            ..self.clone()
        }
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

    /// Looks in the region only.
    ///
    /// # Errors
    /// When Redis does not answer in time.
    pub async fn peek_in_region(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Result<Option<Arc<Entry>>, Unavailable> {
        match &self.regional {
            Some(regional) => regional.get(parts, request, index).await,
            None => Ok(None),
        }
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

    /// Stores an entry in memory: for its own URL, or for all whose queries it says are equivalent.
    pub fn keep(&self, parts: &KeyParts<'_>, entry: Arc<Entry>) {
        let own = self.key(parts);
        let Some(variance) = &entry.variance else {
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

    /// Stores an entry in the region.
    ///
    /// # Errors
    /// When Redis does not answer in time.
    pub async fn insert_in_region(
        &self,
        parts: &KeyParts<'_>,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        match &self.regional {
            Some(regional) => regional.put(parts, entry, now).await,
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

    /// See [`Memory::remember_pass`].
    pub fn remember_pass(&self, key: Key, now: Timestamp) {
        self.memory.remember_pass(key, now);
    }

    /// See [`Memory::passes`].
    pub fn passes(&self, key: Key, now: Timestamp) -> bool {
        self.memory.passes(key, now)
    }
}
