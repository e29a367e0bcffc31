//! An allocator that counts.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

/// Of all threads; the test harness has one of its own, which allocates now and then.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OF_THREAD: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        OF_THREAD.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// What this thread allocates in `f`.
pub fn allocations(f: impl FnOnce()) -> usize {
    let before = OF_THREAD.get();
    f();
    OF_THREAD.get() - before
}

/// What all threads allocate in `f`: the least of ten times, since the harness' thread counts too.
#[cfg(feature = "rayon")]
pub fn allocations_of_all(mut f: impl FnMut()) -> usize {
    allocations_of_all_with(|| (), |()| f())
}

/// The same, each time with what `make` makes anew, which does not count.
#[cfg(feature = "rayon")]
pub fn allocations_of_all_with<T>(mut make: impl FnMut() -> T, mut f: impl FnMut(&mut T)) -> usize {
    let mut once = || {
        let mut made = make();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        f(&mut made);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..10).map(|_| once()).min().unwrap_or(usize::MAX)
}
