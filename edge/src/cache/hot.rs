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
/// Where there is no room, one in so many takes the place of the coldest: what is asked for often comes
/// in soon, what is asked for once mostly pushes nothing out.
const ADMIT_EVERY: u32 = 8;

/// An entry with the head that answers it, as it was made for one second.
struct Hot {
    entry: Arc<Entry>,
    weight: usize,
    touches: u32,
    /// The second in which it was asked for last.
    asked: u64,
    /// The second for which `head` was made.
    second: u64,
    head: HeaderMap,
}

struct Tier {
    entries: LruCache<Key, Hot, KeyState>,
    weight: usize,
    /// How many came when there was no room.
    came: u32,
}

thread_local! {
    // A worker is one thread and serves one edge.
    static TIER: RefCell<Tier> = RefCell::new(Tier {
        entries: LruCache::with_hasher(
            NonZeroUsize::new(MAX_ENTRIES).expect("not zero"),
            KeyState::default(),
        ),
        weight: 0,
        came: 0,
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

/// The head made for `second`, or the one that `render` makes now. It is kept when it is made for the
/// second time in one second: most hot entries are not asked for that often.
pub fn head(
    key: Key,
    entry: &Arc<Entry>,
    second: u64,
    render: impl FnOnce() -> HeaderMap,
) -> HeaderMap {
    TIER.with_borrow_mut(|tier| match tier.entries.peek_mut(&key) {
        Some(hot) if Arc::ptr_eq(&hot.entry, entry) => {
            if hot.second == second {
                return hot.head.clone();
            }
            if hot.asked != second {
                hot.asked = second;
                return render();
            }
            hot.head = render();
            hot.second = second;
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
        match tier.entries.peek(&key) {
            Some(hot) if Arc::ptr_eq(&hot.entry, entry) => return,
            Some(_) => {}
            None if tier.entries.len() == MAX_ENTRIES || tier.weight + weight > budget => {
                tier.came = tier.came.wrapping_add(1);
                if tier.came % ADMIT_EVERY != 0 {
                    return;
                }
            }
            None => {}
        }
        let hot = Hot {
            entry: Arc::clone(entry),
            weight,
            touches: 0,
            asked: u64::MAX,
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use bytes::Bytes;
    use http::StatusCode;
    use tidegate_semantics::{Basis, Terms, Timestamp, Vary};
    use tidegate_stored::{Content, Fields, Position, Stored};

    use super::*;
    use crate::cache::KeyParts;
    use crate::purge::Index;

    fn key(number: u32) -> Key {
        let parts = KeyParts {
            scheme: "http",
            authority: "a.example",
            path_and_query: format!("/{number}").into(),
            extra: "",
            selection: Vec::new(),
        };
        parts.key((1, 2))
    }

    fn entry() -> Arc<Entry> {
        let none = HeaderMap::new();
        let stored = Stored {
            status: StatusCode::OK,
            fields: Fields::new::<&str>(&none, &none, &[]),
            given: None,
            content: Content::Whole(Bytes::from_static(b"body")),
            terms: Terms {
                born: Timestamp(0),
                lifetime: Duration::ZERO,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                must_revalidate: false,
                always_validate: false,
                basis: Basis::Nothing,
            },
            vary: Vary::default(),
            fence: Position::default(),
            fetched_at: Timestamp(0),
        };
        Arc::new(Entry::new(stored, "a.example/", &Index::new(4, (1, 2))))
    }

    #[test]
    fn a_head_is_kept_when_it_is_made_twice_in_a_second() {
        let entry = entry();
        insert(key(0), &entry, 1 << 20);
        let made = Cell::new(0);
        let ask = |second| {
            head(key(0), &entry, second, || {
                made.set(made.get() + 1);
                HeaderMap::new()
            });
            made.get()
        };
        assert_eq!([ask(7), ask(7), ask(7), ask(7)], [1, 2, 2, 2]);
        assert_eq!([ask(8), ask(9), ask(9), ask(9)], [3, 4, 5, 5]);
    }

    #[test]
    fn where_there_is_no_room_one_in_some_takes_the_place_of_the_coldest() {
        let room = 16;
        let budget = entry().weight() * room as usize;
        let insert = |number| insert(key(number), &entry(), budget);
        let is_here = |number: &u32| get(key(*number)).is_some();
        (0..room).for_each(insert);
        assert_eq!((0..room).filter(is_here).count(), room as usize);
        (room..room + ADMIT_EVERY).for_each(insert);
        assert_eq!((room..room + ADMIT_EVERY).filter(is_here).count(), 1);
        assert!(!is_here(&0));
        // A newer one under a key takes the place of the older at once.
        let (renewed, hot) = (entry(), get(key(1)).expect("it is hot").0);
        super::insert(key(1), &renewed, budget);
        let now = get(key(1)).expect("it is hot").0;
        assert!(Arc::ptr_eq(&now, &renewed) && !Arc::ptr_eq(&now, &hot));
    }
}
