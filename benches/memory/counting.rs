//! The allocator of the binary, counting what is asked of it and not given back.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicI64, Ordering};

use mimalloc::MiMalloc;

static BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);

pub(crate) struct Counting;

fn count(bytes: usize, allocations: i64) {
    let bytes = i64::try_from(bytes).expect("no allocation is that large");
    BYTES.fetch_add(bytes * allocations, Ordering::Relaxed);
    ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
}

// SAFETY: everything is mimalloc's; only sums are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

/// What is alive, as it was asked for: the allocator rounds up.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub(crate) bytes: i64,
    pub(crate) allocations: i64,
}

impl Live {
    pub(crate) fn now() -> Live {
        Live {
            bytes: BYTES.load(Ordering::Relaxed),
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
        }
    }

    /// What has been added since this was read.
    pub(crate) fn since(self) -> Live {
        let now = Live::now();
        Live {
            bytes: now.bytes - self.bytes,
            allocations: now.allocations - self.allocations,
        }
    }
}
