//! L0: each worker's own few hottest entries, without a lock, with their heads ready to be sent.
//!
//! It never decides alone: an entry from here is judged like any other, and one that the memory
//! tier has replaced is not used. One touch in some is passed on, so that the memory tier still
//! sees what is hot.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

use http::HeaderMap;
use lru::LruCache;

use super::entry::Entry;
use super::key::{Key, KeyState};

/// An entry is looked up in the memory tier at least every so many touches.
const PASS_ON_EVERY: u32 = 64;
/// Entries at most, whatever they weigh.
const MAX_ENTRIES: usize = 4_096;

/// An entry with the head that answers it, as it was made for one second.
struct Hot {
    entry: Arc<Entry>,
    weight: usize,
    touches: u32,
    /// The second for which `head` was made.
    second: u64,
    head: HeaderMap,
}

struct Tier {
    entries: LruCache<Key, Hot, KeyState>,
    weight: usize,
}

thread_local! {
    // A worker is one thread and serves one edge.
    static TIER: RefCell<Tier> = RefCell::new(Tier {
        entries: LruCache::with_hasher(
            NonZeroUsize::new(MAX_ENTRIES).expect("not zero"),
            KeyState::default(),
        ),
        weight: 0,
    });
}

/// The entry under `key`, if this worker has it and it was not replaced; and whether this touch
/// is one to pass on.
pub fn get(key: Key) -> Option<(Arc<Entry>, bool)> {
    TIER.with_borrow_mut(|tier| {
        let hot = tier.entries.get_mut(&key)?;
        if hot.entry.is_superseded() {
            return None;
        }
        hot.touches = hot.touches.wrapping_add(1);
        Some((Arc::clone(&hot.entry), hot.touches % PASS_ON_EVERY == 0))
    })
}

/// The head made for `second`, or the one that `render` makes now.
pub fn head(
    key: Key,
    entry: &Arc<Entry>,
    second: u64,
    render: impl FnOnce() -> HeaderMap,
) -> HeaderMap {
    TIER.with_borrow_mut(|tier| match tier.entries.peek_mut(&key) {
        Some(hot) if Arc::ptr_eq(&hot.entry, entry) => {
            if hot.second != second {
                hot.head = render();
                hot.second = second;
            }
            hot.head.clone()
        }
        _ => render(),
    })
}

/// Keeps an entry, within `budget` bytes for this worker.
pub fn insert(key: Key, entry: &Arc<Entry>, budget: usize) {
    let weight = entry.weight();
    if weight > budget / 8 {
        return;
    }
    TIER.with_borrow_mut(|tier| {
        if let Some(hot) = tier.entries.peek(&key)
            && Arc::ptr_eq(&hot.entry, entry)
        {
            return;
        }
        let hot = Hot {
            entry: Arc::clone(entry),
            weight,
            touches: 0,
            second: u64::MAX,
            head: HeaderMap::new(),
        };
        tier.weight += weight;
        if let Some((_, replaced)) = tier.entries.push(key, hot) {
            tier.weight -= replaced.weight;
        }
        while tier.weight > budget
            && let Some((_, coldest)) = tier.entries.pop_lru()
        {
            tier.weight -= coldest.weight;
        }
    });
}
