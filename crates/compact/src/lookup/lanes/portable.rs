//! Any processor: arrays that the compiler may vectorise.

use super::{LANES, Lanes};
use crate::values::read_f16;

/// An array.
#[derive(Clone, Copy, Debug)]
pub struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn from_fn(n: usize, mut f: impl FnMut(usize) -> f32) -> Self {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            *lane = f(i);
        }
        Self(lanes)
    }
}

/// The bytes at `at`.
///
/// # Safety
/// There are `n` of them.
#[inline(always)]
unsafe fn bytes<'a>(at: *const u8, n: usize) -> &'a [u8] {
    // SAFETY: said above.
    unsafe { std::slice::from_raw_parts(at, n) }
}

// SAFETY: every slice is as long as the values that were asked for.
unsafe impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8, n: usize) -> Self {
        // SAFETY: the caller has `n` values.
        let bytes = unsafe { bytes(at, 4 * n) };
        let values = bytes.as_chunks().0;
        Self::from_fn(n, |i| f32::from_le_bytes(values[i]))
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8, n: usize) -> Self {
        // SAFETY: the caller has `n` values.
        let bytes = unsafe { bytes(at, 2 * n) };
        Self::from_fn(n, |i| read_f16(&bytes[2 * i..]))
    }

    #[inline(always)]
    unsafe fn load_u8(at: *const u8, n: usize) -> Self {
        // SAFETY: the caller has `n` values.
        let bytes = unsafe { bytes(at, n) };
        Self::from_fn(n, |i| bytes[i].into())
    }

    #[inline(always)]
    unsafe fn load_u4(at: *const u8, first: usize, n: usize) -> Self {
        // SAFETY: the caller has `n` values from `first` on.
        let bytes = unsafe { bytes(at, (first + n).div_ceil(2)) };
        let half = |i: usize| bytes[i / 2] >> (4 * (i % 2)) & 15;
        Self::from_fn(n, |i| half(first + i).into())
    }

    #[inline(always)]
    unsafe fn splat_f16(at: *const u8) -> Self {
        // SAFETY: the caller has one value.
        Self([read_f16(unsafe { bytes(at, 2) }); LANES])
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self::from_fn(LANES, |i| self.0[i].mul_add(b.0[i], c.0[i]))
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self::from_fn(LANES, |i| self.0[i] + b.0[i])
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Self::from_fn(LANES, |i| self.0[i] * b.0[i])
    }

    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        Self::from_fn(n, |i| self.0[i])
    }

    #[inline(always)]
    unsafe fn expand(self, mask: u16) -> Self {
        let mut next = 0;
        Self::from_fn(LANES, |i| {
            if mask >> i & 1 == 0 {
                return 0.0;
            }
            next += 1;
            self.0[next - 1]
        })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, n: usize) {
        // SAFETY: the caller has room for `n` values.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), at, n) };
    }

    #[inline(always)]
    unsafe fn weigh(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32) {
        // SAFETY: the caller has `n` of each.
        unsafe { weigh(planes, weights, n, at) }
    }

    #[inline(always)]
    unsafe fn below(values: &[u32; LANES], bound: u32) -> u16 {
        let bits = values.iter().enumerate();
        bits.fold(0, |mask, (i, &x)| mask | u16::from(x < bound) << i)
    }

    #[inline(always)]
    unsafe fn compress(values: &[u32; LANES], mask: u16, to: *mut u32) {
        let mut n = 0;
        for (i, &x) in values.iter().enumerate() {
            // SAFETY: the caller has room for 16; each is written, and stays if its bit is set.
            unsafe { *to.add(n) = x };
            n += usize::from(mask >> i & 1);
        }
    }

    #[inline(always)]
    unsafe fn columns(at: *const u8, n: usize, words: &mut [u64]) {
        for i in 0..n {
            // SAFETY: the caller has `n` bytes.
            let column = usize::from(unsafe { *at.add(i) });
            if let Some(word) = words.get_mut(column / 64) {
                *word |= 1 << (column % 64);
            }
        }
    }

    #[inline(always)]
    unsafe fn select(mut word: u64, n: usize) -> usize {
        for _ in 0..n.min(64) {
            word &= word.wrapping_sub(1);
        }
        word.trailing_zeros() as usize
    }
}

/// Plane after plane; see [`Lanes::weigh`].
///
/// # Safety
/// There are `n` planes and weights.
#[inline(always)]
pub unsafe fn weigh(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32) {
    let below = (1 << at) - 1;
    let (mut sum, mut number) = (0_u32, 0);
    for p in 0..n {
        // SAFETY: said above.
        let (plane, weight) = unsafe { (*planes.add(p), *weights.add(p)) };
        sum = sum.wrapping_add((plane & below).count_ones().wrapping_mul(weight));
        number |= (plane >> at & 1) << p;
    }
    (sum, number)
}
