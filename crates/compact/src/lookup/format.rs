//! Value types as kernels see them: packed values become lanes in registers.

use super::lanes::{LANES, Lanes};
use crate::values::{AFFINE_BYTES, Affine};

/// How a record of one value type is read.
///
/// # Safety
/// `load` asks for the instructions of `L` and for `n` values from `first` on, at most 16.
pub unsafe trait Format: Copy + 'static {
    /// Bytes of scale and bias in front of the values.
    const FIXED: usize;

    /// Kept values `first..first + n`, in units of the table.
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, affine: Affine) -> L;
}

#[derive(Clone, Copy)]
pub struct F32;
#[derive(Clone, Copy)]
pub struct F16;
#[derive(Clone, Copy)]
pub struct Int8;
#[derive(Clone, Copy)]
pub struct Int4;

// SAFETY: exactly the values asked for are read; so in the others.
unsafe impl Format for F32 {
    const FIXED: usize = 0;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, _: Affine) -> L {
        // SAFETY: said above.
        unsafe { L::load_f32(values.add(4 * first), n) }
    }
}

// SAFETY: as above.
unsafe impl Format for F16 {
    const FIXED: usize = 0;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, _: Affine) -> L {
        // SAFETY: said above.
        unsafe { L::load_f16(values.add(2 * first), n) }
    }
}

// SAFETY: as above.
unsafe impl Format for Int8 {
    const FIXED: usize = AFFINE_BYTES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, affine: Affine) -> L {
        // SAFETY: said above.
        unsafe { apply(L::load_u8(values.add(first), n), n, affine) }
    }
}

// SAFETY: as above.
unsafe impl Format for Int4 {
    const FIXED: usize = AFFINE_BYTES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, affine: Affine) -> L {
        // SAFETY: said above.
        unsafe { apply(L::load_u4(values, first, n), n, affine) }
    }
}

/// `scale · q + bias` in the first `n` lanes.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn apply<L: Lanes>(q: L, n: usize, affine: Affine) -> L {
    // SAFETY: said above.
    unsafe {
        let x = q.mul_add(L::splat(affine.scale), L::splat(affine.bias));
        if n == LANES { x } else { x.first(n) }
    }
}
