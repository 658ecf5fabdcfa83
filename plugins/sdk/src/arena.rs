//! An allocator for instances that live for one exchange.
//!
//! Memory is handed out from the front and taken back all at once, when nothing is alive. There is
//! nothing to set up and, for most filters, no `memory.grow`: measured, a fresh instance with it
//! costs half of one with the standard allocator. An instance that keeps things and serves many
//! exchanges would only ever grow; it should turn the feature `arena` off.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;

/// Bytes that are there from the start, as zeroed memory and not as part of the module.
const FIRST: usize = 32 << 10;
/// The least number of bytes asked of the edge when those are used up.
const GROWTH: usize = 64 << 10;

/// The allocator. On `wasm32` with the feature `arena` it is the global one.
pub struct Arena {
    first: UnsafeCell<[u8; FIRST]>,
    state: UnsafeCell<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// The next free address; 0 before the first allocation.
    next: usize,
    /// The end of the block that `next` lies in.
    end: usize,
    /// How many allocations have not been given back.
    live: usize,
}

// SAFETY: it is only ever shared in a module without threads, where nothing runs concurrently.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of which nothing is used.
    pub const fn new() -> Arena {
        Arena {
            first: UnsafeCell::new([0; FIRST]),
            state: UnsafeCell::new(State {
                next: 0,
                end: 0,
                live: 0,
            }),
        }
    }

    fn start(&self) -> usize {
        self.first.get() as usize
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

// SAFETY: blocks come from `first` or from memory that the edge has added for this call, never
// overlap (`next` only moves forward while anything is alive), and are aligned by `align_up`.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference to the state exists while this one does.
        let state = unsafe { &mut *self.state.get() };
        if state.next == 0 {
            state.next = self.start();
            state.end = self.start() + FIRST;
        }
        let mut start = align_up(state.next, layout.align());
        if start
            .checked_add(layout.size())
            .is_none_or(|end| end > state.end)
        {
            let Some(wanted) = layout.size().checked_add(layout.align()) else {
                return core::ptr::null_mut();
            };
            let Some((block, size)) = grow(wanted.max(GROWTH)) else {
                return core::ptr::null_mut();
            };
            start = align_up(block, layout.align());
            state.end = block + size;
        }
        state.next = start + layout.size();
        state.live += 1;
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *self.state.get() };
        state.live -= 1;
        // Back to the front, but only within the block that is already there: what has been grown
        // stays the current block, since it is the larger one.
        if state.live == 0 && state.end == self.start() + FIRST {
            state.next = self.start();
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *self.state.get() };
        let start = pointer as usize;
        let is_last = start + layout.size() == state.next;
        if is_last && start.checked_add(size).is_some_and(|end| end <= state.end) {
            state.next = start + size;
            return pointer;
        }
        if size <= layout.size() {
            return pointer;
        }
        // SAFETY: the caller vouches for `size`; the new block cannot overlap the old, live one.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                core::ptr::copy_nonoverlapping(pointer, moved, layout.size());
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

fn align_up(address: usize, align: usize) -> usize {
    (address + align - 1) & !(align - 1)
}

/// Asks for at least `size` more bytes: the first address and the number of bytes.
#[cfg(target_arch = "wasm32")]
fn grow(size: usize) -> Option<(usize, usize)> {
    const PAGE: usize = 64 << 10;
    let pages = size.div_ceil(PAGE);
    let before = core::arch::wasm32::memory_grow::<0>(pages);
    (before != usize::MAX).then_some((before * PAGE, pages * PAGE))
}

/// Natively the arena is only tested, and does not grow.
#[cfg(not(target_arch = "wasm32"))]
fn grow(_: usize) -> Option<(usize, usize)> {
    None
}

#[cfg(all(feature = "arena", target_arch = "wasm32"))]
#[global_allocator]
static ARENA: Arena = Arena::new();

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Arena, FIRST};
    use core::alloc::{GlobalAlloc, Layout};

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn allocations_are_aligned_and_apart() {
        let arena = Box::new(Arena::new());
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 1), (16, 16), (0, 1), (5, 4)] {
            // SAFETY: the memory is only compared, and outlived by the arena.
            let start = unsafe { arena.alloc(layout(size, align)) } as usize;
            assert_eq!(start % align, 0);
            assert!(start >= end);
            end = start + size;
        }
    }

    #[test]
    fn the_last_allocation_grows_in_place_and_keeps_its_bytes() {
        let arena = Box::new(Arena::new());
        // SAFETY: writes stay within the sizes asked for.
        unsafe {
            let first = arena.alloc(layout(4, 1));
            first.write(7);
            assert_eq!(arena.realloc(first, layout(4, 1), 64), first);
            let second = arena.alloc(layout(4, 1));
            let moved = arena.realloc(first, layout(64, 1), 128);
            assert!(moved as usize > second as usize);
            assert_eq!(moved.read(), 7);
        }
    }

    #[test]
    fn all_is_free_again_when_nothing_is_alive() {
        let arena = Box::new(Arena::new());
        for _ in 0..10 {
            // SAFETY: the memory is not touched.
            unsafe {
                let all = arena.alloc(layout(FIRST, 1));
                assert!(!all.is_null());
                assert!(arena.alloc(layout(1, 1)).is_null());
                arena.dealloc(all, layout(FIRST, 1));
            }
        }
    }
}
