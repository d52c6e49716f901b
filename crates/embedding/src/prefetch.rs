//! Asking for memory before it is needed.

/// Rows between the one in use and the one asked for.
pub const AHEAD: usize = 16;

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks the processor for the cache lines of `values[start..start + len]`, which may lie outside of
/// `values`. Does nothing where there is no such instruction.
#[inline(always)]
pub fn prefetch<T>(values: &[T], start: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = values.as_ptr().wrapping_add(start).cast::<i8>();
        let last = (len * size_of::<T>()).saturating_sub(1);
        let mut offset = 0;
        // Plain loop: with a constant length it becomes a few instructions.
        while offset < last {
            // SAFETY: a prefetch reads nothing and never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(offset)) };
            offset += LINE;
        }
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(last)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, start, len);
}
