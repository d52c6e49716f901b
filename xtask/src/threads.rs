//! How many threads the libraries below may start.

use std::num::NonZeroUsize;

/// Fixes the size of rayon's and candle's pools: `threads`, else `RAYON_NUM_THREADS`, else all cores.
///
/// Both pools read their variable when they are first used, so this comes before any work.
pub fn configure(threads: Option<NonZeroUsize>) {
    let n_threads = threads.or_else(from_environment).unwrap_or_else(all_cores);
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: the process has one thread here: `main` calls this before any pool exists, and
        // parsing the command line starts none, so nothing reads the environment meanwhile.
        unsafe { std::env::set_var(variable, n_threads.to_string()) };
    }
}

fn from_environment() -> Option<NonZeroUsize> {
    std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok()
}

fn all_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
