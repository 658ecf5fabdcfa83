//! An allocator for instances that are made often and may live long.
//!
//! Memory is handed out from the front, and what is given back is handed out again, by size. There
//! is nothing to set up and, for most filters, no `memory.grow`: measured, a fresh instance with it
//! costs half of one with the standard allocator. An instance that serves one exchange after the
//! other needs no more memory than the largest of them needed of each size; blocks are neither
//! split nor joined.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{null_mut, with_exposed_provenance_mut};

/// Bytes that are there from the start, as zeroed memory and not as part of the module.
const FIRST: usize = 32 << 10;
/// The least number of bytes asked of the edge when those are used up.
const GROWTH: usize = 64 << 10;
/// The unit of sizes, and what every block is aligned to.
const UNIT: usize = 16;
/// How many sizes there are: four for each doubling, up to what 32 bits can address.
const SIZES: usize = 4 * 27;

/// The allocator. On `wasm32` with the feature `arena` it is the global one.
pub struct Arena {
    first: UnsafeCell<First>,
    state: UnsafeCell<State>,
}

#[repr(align(16))]
struct First(#[expect(dead_code, reason = "reached by its address")] [u8; FIRST]);

struct State {
    /// The next address that has never been handed out; 0 before the first allocation.
    next: usize,
    /// The end of the memory that `next` lies in.
    end: usize,
    /// By size, the block that was given back last; its first word is the address of the one
    /// before. 0 is none.
    free: [usize; SIZES],
}

// SAFETY: it is only ever shared in a module without threads, where nothing runs concurrently.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of which nothing is used.
    pub const fn new() -> Arena {
        Arena {
            first: UnsafeCell::new(First([0; FIRST])),
            state: UnsafeCell::new(State {
                next: 0,
                end: 0,
                free: [0; SIZES],
            }),
        }
    }

    fn start(&self) -> usize {
        self.first.get().expose_provenance()
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

impl State {
    /// A block that was never handed out; null when there is no more memory.
    fn carve(&mut self, size: usize, align: usize) -> *mut u8 {
        let align = align.max(UNIT);
        if let Some(start) = self.fit(size, align) {
            return start;
        }
        let Some(wanted) = size.checked_add(align) else {
            return null_mut();
        };
        let Some((added, bytes)) = grow(wanted.max(GROWTH)) else {
            return null_mut();
        };
        // Where the new memory does not follow the old, what is left of the old is given up.
        if added != self.end {
            self.next = added;
        }
        self.end = added + bytes;
        self.fit(size, align).unwrap_or(null_mut())
    }

    fn fit(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        let start = self.next.checked_next_multiple_of(align)?;
        let end = start.checked_add(size).filter(|end| *end <= self.end)?;
        self.next = end;
        Some(with_exposed_provenance_mut(start))
    }
}

// SAFETY: a block comes from memory that is the arena's alone, `first` or what the edge has added
// for it, and is either carved, where `next` only moves forward, or one that was given back, of the
// same size. So live blocks never overlap. Carved ones are aligned as asked; one that was given back
// is handed out only where it happens to be.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference to the state exists while this one does.
        let state = unsafe { &mut *self.state.get() };
        if state.next == 0 {
            state.next = self.start();
            state.end = self.start() + FIRST;
        }
        let Some((class, size)) = class(layout.size()) else {
            return null_mut();
        };
        let free = state.free[class];
        if free != 0 && free & (layout.align() - 1) == 0 {
            let block = with_exposed_provenance_mut::<usize>(free);
            // SAFETY: a free block is the arena's own, large enough for a word and aligned for it,
            // and `dealloc` has written this word.
            state.free[class] = unsafe { block.read() };
            return block.cast();
        }
        state.carve(size, layout.align())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *self.state.get() };
        let Some((class, size)) = class(layout.size()) else {
            return;
        };
        let start = pointer.expose_provenance();
        if start + size == state.next {
            state.next = start;
            return;
        }
        // SAFETY: the block is nobody's any more; it is large enough for a word and aligned for it.
        unsafe { pointer.cast::<usize>().write(state.free[class]) };
        state.free[class] = start;
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (Some((_, has)), Some((_, wanted))) = (class(layout.size()), class(size)) else {
            return null_mut();
        };
        if has == wanted {
            return pointer;
        }
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *self.state.get() };
        let start = pointer.expose_provenance();
        let is_last = start + has == state.next;
        if is_last
            && start
                .checked_add(wanted)
                .is_some_and(|end| end <= state.end)
        {
            state.next = start + wanted;
            return pointer;
        }
        // SAFETY: the caller vouches for `size`; the new block cannot overlap the old, live one.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                core::ptr::copy_nonoverlapping(pointer, moved, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

/// The place of the size that `bytes` are rounded up to, and that size: a multiple of the unit, no
/// more than a quarter too large beyond four units. None for what no memory can hold.
fn class(bytes: usize) -> Option<(usize, usize)> {
    let last = bytes.max(1) - 1;
    let doublings = (usize::BITS - last.leading_zeros()).saturating_sub(7);
    let step = 4 + doublings;
    let units = last >> step;
    // From the first doubling on, `units` is 4 to 7.
    let class = units + 4 * doublings as usize;
    (class < SIZES).then(|| (class, (units + 1) << step))
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
    use super::{Arena, FIRST, SIZES, UNIT, class};
    use core::alloc::{GlobalAlloc, Layout};

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn allocations_are_aligned_and_apart() {
        let arena = Box::new(Arena::new());
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 1), (16, 16), (0, 1), (5, 64), (1, 1)] {
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
    fn sizes_are_rounded_up_by_a_quarter_at_most_and_grow_with_their_class() {
        let mut before = (0, 0);
        for bytes in (0..5_000).chain([(64 << 10) - 1, 64 << 10, (64 << 10) + 1, 9 << 20]) {
            let (class, size) = class(bytes).unwrap();
            assert!(size >= bytes && size % UNIT == 0, "{bytes}: {size}");
            assert!(
                size <= bytes.max(4 * UNIT) * 5 / 4 + UNIT,
                "{bytes}: {size}"
            );
            assert!(class == before.0 || class > before.0 && size > before.1);
            assert_eq!(class == before.0, size == before.1 || bytes == 0);
            before = (class, size);
        }
        let most = class(u32::MAX as usize).unwrap();
        assert_eq!(most, (SIZES - 1, 1 << 32));
        assert_eq!(class(usize::MAX), None);
    }

    /// What ten thousand exchanges ask of one instance that keeps something all the while: more of
    /// it than there is memory, of sizes that differ, given back in another order.
    #[test]
    fn what_is_given_back_is_used_again_beside_what_is_kept() {
        let arena = Box::new(Arena::new());
        let mut random = 1_u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize
        };
        // SAFETY: writes stay within the sizes asked for.
        unsafe {
            let kept = arena.alloc(layout(100, 1));
            kept.write_bytes(0xAA, 100);
            for _ in 0..10_000 {
                let mut live = Vec::new();
                for mark in 0..12_u8 {
                    let layout = layout(1 + next() % 700, 1 << (next() % 4));
                    let block = arena.alloc(layout);
                    assert!(!block.is_null() && (block as usize).is_multiple_of(layout.align()));
                    block.write_bytes(mark, layout.size());
                    live.push((block, layout, mark));
                }
                while !live.is_empty() {
                    let (block, layout, mark) = live.swap_remove(next() % live.len());
                    let bytes = core::slice::from_raw_parts(block, layout.size());
                    assert!(bytes.iter().all(|byte| *byte == mark), "blocks overlap");
                    arena.dealloc(block, layout);
                }
            }
            let bytes = core::slice::from_raw_parts(kept, 100);
            assert!(bytes.iter().all(|byte| *byte == 0xAA));
        }
    }

    #[test]
    fn all_is_free_again_when_it_was_given_back() {
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
