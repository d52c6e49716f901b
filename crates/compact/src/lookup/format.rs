//! Value types as kernels see them: packed values become lanes in registers.

use super::lanes::Lanes;
use crate::values::AFFINE_BYTES;

/// How a record of one value type is read.
///
/// # Safety
/// The functions ask for the instructions of `L`; `affine` for a record that keeps values, `load` for `n`
/// values from `first` on, at most 16.
pub unsafe trait Format: Copy + 'static {
    /// Bytes of scale and bias in front of the values.
    const FIXED: usize;
    /// Bits of a value.
    const BITS: usize;

    /// Scale and bias in all lanes; of floats they mean nothing.
    #[inline(always)]
    unsafe fn affine<L: Lanes>(record: *const u8) -> [L; 2] {
        // SAFETY: said above.
        unsafe {
            if Self::FIXED == 0 {
                return [L::splat(0.0); 2];
            }
            [L::splat_f16(record), L::splat_f16(record.add(2))]
        }
    }

    /// Kept values `first..first + n`, in units of the table.
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, affine: [L; 2]) -> L;

    /// Kept values from `first` on, in the lanes whose bit is set; 0 in the others.
    #[inline(always)]
    unsafe fn expand<L: Lanes>(values: *const u8, first: usize, mask: u16, affine: [L; 2]) -> L {
        // SAFETY: said above.
        unsafe { Self::load::<L>(values, first, mask.count_ones() as usize, affine).expand(mask) }
    }
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
    const BITS: usize = 32;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, _: [L; 2]) -> L {
        // SAFETY: said above.
        unsafe { L::load_f32(values.wrapping_add(4 * first), n) }
    }

    #[inline(always)]
    unsafe fn expand<L: Lanes>(values: *const u8, first: usize, mask: u16, _: [L; 2]) -> L {
        // SAFETY: said above.
        unsafe { L::expand_f32(values.wrapping_add(4 * first), mask) }
    }
}

// SAFETY: as above.
unsafe impl Format for F16 {
    const FIXED: usize = 0;
    const BITS: usize = 16;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, _: [L; 2]) -> L {
        // SAFETY: said above.
        unsafe { L::load_f16(values.wrapping_add(2 * first), n) }
    }
}

// SAFETY: as above.
unsafe impl Format for Int8 {
    const FIXED: usize = AFFINE_BYTES;
    const BITS: usize = 8;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, affine: [L; 2]) -> L {
        // SAFETY: said above.
        unsafe { apply(L::load_u8(values.wrapping_add(first), n), n, affine) }
    }
}

// SAFETY: as above.
unsafe impl Format for Int4 {
    const FIXED: usize = AFFINE_BYTES;
    const BITS: usize = 4;

    #[inline(always)]
    unsafe fn load<L: Lanes>(values: *const u8, first: usize, n: usize, affine: [L; 2]) -> L {
        // SAFETY: said above.
        unsafe { apply(L::load_u4(values, first, n), n, affine) }
    }
}

/// `scale · q + bias` in the first `n` lanes.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn apply<L: Lanes>(q: L, n: usize, [scale, bias]: [L; 2]) -> L {
    // SAFETY: said above.
    unsafe { q.mul_add(scale, bias).first(n) }
}
