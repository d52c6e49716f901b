//! What the tests of several crates need.
//!
//! - [`CountingAllocator`] and [`allocations_in`]: whether a piece of work allocates.
//! - [`in_pool`]: runs it where rayon's own allocations are over.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

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

/// Runs `work` on a thread of a rayon pool of `n_threads`, all of which have run a task before.
///
/// Work that comes from outside of a pool is queued, and a thread makes its queue when it starts, which may be
/// long after the pool was built, and an entry for collecting garbage when it looks for a task first: all of
/// these allocate. So do threads that end: a test needs one pool for all it counts, and nothing of it outside,
/// where rayon's global pool would start.
///
/// # Errors
///
/// The system gives no more threads.
pub fn in_pool<T: Send>(
    n_threads: usize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, ThreadPoolBuildError> {
    let pool = ThreadPoolBuilder::new().num_threads(n_threads).build()?;
    pool.broadcast(|_| ());
    Ok(pool.install(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    /// One test, because the count is that of the whole process.
    #[test]
    fn allocations_of_all_threads_are_counted_and_those_of_a_pool_are_over() {
        let mut values: Vec<Box<u32>> = Vec::with_capacity(8);
        assert_eq!(allocations_in(|| values.push(Box::new(1))), 1);
        assert_eq!(allocations_in(|| values.clear()), 0);
        let found = allocations_in(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| values.push(Box::new(2)));
            });
        });
        assert!(found > 1, "a thread's own and the one it makes: {found}");
        let idle = || std::thread::sleep(std::time::Duration::from_millis(20));
        // Many threads, so that one of them would start late.
        let found = in_pool(64, || allocations_in(idle));
        assert_eq!(found.expect("64 threads"), 0, "in a pool that is idle");
    }
}
