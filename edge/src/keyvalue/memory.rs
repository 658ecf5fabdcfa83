//! Keys and values in this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use super::KeyValueError;
use crate::clock::Clock;

/// What a key costs beside its own bytes and its value's: about what the maps take for it.
const OVERHEAD: usize = 192;

/// A bounded store. One lock for all: it is held for a look into two maps.
pub(super) struct Memory {
    spaces: Mutex<Spaces>,
    most: usize,
    clock: Clock,
}

#[derive(Default)]
struct Spaces {
    by_name: HashMap<String, Space>,
    bytes: usize,
}

/// One guest's part, the latest used first.
struct Space {
    slots: LruCache<String, Slot>,
    bytes: usize,
}

#[derive(Clone)]
struct Slot {
    value: Bytes,
    /// The moment, in milliseconds, from which it is gone.
    until: Option<u64>,
}

impl Memory {
    /// A store of so many bytes.
    pub(super) fn new(most: usize, clock: Clock) -> Memory {
        Memory {
            spaces: Mutex::default(),
            most,
            clock,
        }
    }

    pub(super) fn get(&self, namespace: &str, key: &str) -> Option<Bytes> {
        let now = self.now();
        let slot = self.spaces().find(namespace, key, now)?;
        Some(slot.value)
    }

    pub(super) fn set(&self, namespace: &str, key: &str, value: Bytes, lifetime: Option<u64>) {
        let until = self.until(lifetime);
        let mut spaces = self.spaces();
        spaces.put(namespace, key, Slot { value, until });
        spaces.shrink(self.most);
    }

    pub(super) fn delete(&self, namespace: &str, key: &str) {
        self.spaces().remove(namespace, key);
    }

    pub(super) fn keys(&self, namespace: &str, most: usize) -> Vec<String> {
        let now = self.now();
        let mut spaces = self.spaces();
        let (mut alive, mut gone) = (Vec::new(), Vec::new());
        let slots = spaces.by_name.get(namespace).into_iter();
        for (key, slot) in slots.flat_map(|space| space.slots.iter()) {
            match slot.is_alive(now) {
                true => alive.push(key.clone()),
                false => gone.push(key.clone()),
            }
            if alive.len() == most {
                break;
            }
        }
        // So that who lists again does not walk over them again.
        for key in gone {
            spaces.remove(namespace, &key);
        }
        alive
    }

    pub(super) fn increment(
        &self,
        namespace: &str,
        key: &str,
        by: i64,
        lifetime: Option<u64>,
    ) -> Result<i64, KeyValueError> {
        let now = self.now();
        let mut spaces = self.spaces();
        let (before, until) = match spaces.find(namespace, key, now) {
            Some(slot) => (number(&slot.value), slot.until),
            None => (Some(0), self.until(lifetime)),
        };
        let after = before.and_then(|before| before.checked_add(by));
        let after = after.ok_or(KeyValueError::NoNumber)?;
        let value = Bytes::from(after.to_string());
        spaces.put(namespace, key, Slot { value, until });
        spaces.shrink(self.most);
        Ok(after)
    }

    fn until(&self, lifetime: Option<u64>) -> Option<u64> {
        lifetime.map(|lifetime| self.now().saturating_add(lifetime))
    }

    fn now(&self) -> u64 {
        self.clock.now().0
    }

    fn spaces(&self) -> MutexGuard<'_, Spaces> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_alive(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Spaces {
    /// What a key has now; what it has no more is removed.
    fn find(&mut self, namespace: &str, key: &str, now: u64) -> Option<Slot> {
        let slot = self.by_name.get_mut(namespace)?.slots.get(key)?.clone();
        if slot.is_alive(now) {
            return Some(slot);
        }
        self.remove(namespace, key);
        None
    }

    fn put(&mut self, namespace: &str, key: &str, slot: Slot) {
        self.remove(namespace, key);
        let space = self.by_name.entry(namespace.to_owned());
        let space = space.or_insert_with(|| Space {
            slots: LruCache::unbounded(),
            bytes: 0,
        });
        let bytes = weight(key, &slot);
        space.bytes += bytes;
        self.bytes += bytes;
        space.slots.put(key.to_owned(), slot);
    }

    fn remove(&mut self, namespace: &str, key: &str) {
        let Some(space) = self.by_name.get_mut(namespace) else {
            return;
        };
        if let Some((key, slot)) = space.slots.pop_entry(key) {
            let bytes = weight(&key, &slot);
            space.bytes -= bytes;
            self.bytes -= bytes;
        }
        if space.slots.is_empty() {
            self.by_name.remove(namespace);
        }
    }

    /// Forgets until what is left fits: of the largest space, so that a guest that hoards forgets
    /// its own.
    fn shrink(&mut self, most: usize) {
        while self.bytes > most {
            let largest = self.by_name.iter().max_by_key(|(_, space)| space.bytes);
            let Some((namespace, oldest)) = largest.and_then(|(namespace, space)| {
                let (key, _) = space.slots.peek_lru()?;
                Some((namespace.clone(), key.clone()))
            }) else {
                return;
            };
            self.remove(&namespace, &oldest);
        }
    }
}

fn weight(key: &str, slot: &Slot) -> usize {
    key.len() + slot.value.len() + OVERHEAD
}

/// A number as Redis reads one: without a plus, nor zeros in front.
fn number(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tidegate_semantics::Timestamp;

    use super::Memory;
    use crate::clock::Clock;

    #[test]
    fn listing_forgets_what_has_ended() {
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let memory = Memory::new(1 << 20, clock.clone());
        let value = Bytes::from_static(b"value");
        for number in 0..100 {
            memory.set("a", &format!("brief {number}"), value.clone(), Some(1_000));
        }
        memory.set("a", "lasting", value, None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(memory.keys("a", 1_000), ["lasting"]);
        let spaces = memory.spaces();
        assert_eq!(spaces.by_name["a"].slots.len(), 1);
        assert_eq!(spaces.bytes, spaces.by_name["a"].bytes);
    }
}
