//! Asking for memory before it is needed.

/// Asks for the cache line at `at`, which may be anywhere. Does nothing where there is no such
/// instruction.
#[inline(always)]
pub fn prefetch_line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for every cache line of `len` bytes from `at`.
#[inline(always)]
pub fn prefetch_bytes(at: *const u8, len: usize) {
    const LINE: usize = 64;
    let within = at as usize % LINE;
    let first = at.wrapping_sub(within);
    let mut offset = 0;
    while offset < within + len {
        prefetch_line(first.wrapping_add(offset));
        offset += LINE;
    }
}
