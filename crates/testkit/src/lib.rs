//! What the tests of several crates need.
//!
//! - [`CountingAllocator`] and [`allocations_in`]: whether a piece of work allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static N_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting the calls of all threads inside [`allocations_in`].
///
/// A test has to make it its `#[global_allocator]`, and must be alone in its binary.
#[derive(Debug)]
pub struct CountingAllocator;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count() {
    if IS_COUNTING.load(Ordering::Relaxed) {
        N_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls of the [`CountingAllocator`] by all threads during `work`.
pub fn allocations_in(work: impl FnOnce()) -> usize {
    N_ALLOCATIONS.store(0, Ordering::SeqCst);
    IS_COUNTING.store(true, Ordering::SeqCst);
    work();
    IS_COUNTING.store(false, Ordering::SeqCst);
    N_ALLOCATIONS.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn allocations_of_all_threads_are_counted() {
        let mut values: Vec<Box<u32>> = Vec::with_capacity(8);
        assert_eq!(allocations_in(|| values.push(Box::new(1))), 1);
        assert_eq!(allocations_in(|| values.clear()), 0);
        let found = allocations_in(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| values.push(Box::new(2)));
            });
        });
        assert!(found > 1, "a thread's own and the one it makes: {found}");
    }
}
