//! AVX-512 with byte and half-word instructions and counts of ones: masked loads read no byte too many.

mod finding;

use std::arch::asm;
use std::arch::x86_64::*;

use super::{LANES, Ladder, Lanes, Weighed};
use crate::structure::Records;

/// A 512-bit register.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(__m512);

/// The low `n` bits, `n` at most 31.
#[inline(always)]
fn low(n: usize) -> u32 {
    (1 << n) - 1
}

/// `x`, in a register: what is expanded from memory in one instruction now and then takes 150 cycles each time on a
/// Zen 5, and the compiler makes one of a load and an expansion.
///
/// # Safety
/// The processor has AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn in_register(mut x: __m512i) -> __m512i {
    // SAFETY: nothing is done.
    unsafe {
        asm!("/* {0} */", inout(zmm_reg) x, options(pure, nomem, nostack, preserves_flags));
    }
    x
}

/// The first `n` half bytes, low halves first, as floats; 0 in the other lanes.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn halves_to_floats(halves: __m128i, n: usize) -> Avx512 {
    // SAFETY: said above.
    unsafe {
        let low_half = _mm_set1_epi8(15);
        let even = _mm_and_si128(halves, low_half);
        let odd = _mm_and_si128(_mm_srli_epi16::<4>(halves), low_half);
        let bytes = _mm_maskz_mov_epi8(low(n) as u16, _mm_unpacklo_epi8(even, odd));
        Avx512(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
    }
}

// SAFETY: loads and stores are masked to `n` values.
unsafe impl Lanes for Avx512 {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's processor has it; so everywhere below.
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8, n: usize) -> Self {
        // SAFETY: masked to the caller's `n` values.
        Self(unsafe { _mm512_maskz_loadu_ps(low(n) as u16, at.cast()) })
    }

    // A load that reaches into the next line waits for it, though it is masked.
    #[inline(always)]
    unsafe fn load_f32_in_line(line: *const u8, skip: u32, mask: u16) -> Self {
        // SAFETY: the caller has 64 bytes.
        unsafe {
            let first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            // Of which only the lowest 4 bits count.
            let from = _mm512_add_epi32(first, _mm512_set1_epi32(skip as i32));
            let line = _mm512_loadu_ps(line.cast());
            Self(_mm512_maskz_permutexvar_ps(mask, from, line))
        }
    }

    #[inline(always)]
    unsafe fn load_first_f32(line: *const u8, mask: u16) -> Self {
        // SAFETY: masked to the caller's values.
        Self(unsafe { _mm512_maskz_loadu_ps(mask, line.cast()) })
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8, n: usize) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(low(n) as u16, at.cast())) })
    }

    #[inline(always)]
    unsafe fn load_u8(at: *const u8, n: usize) -> Self {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(low(n) as u16, at.cast());
            Self(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn load_u4(at: *const u8, first: usize, n: usize) -> Self {
        let odd = first % 2;
        let at = at.wrapping_add(first / 2);
        if odd == 0 && n == LANES {
            // No byte more: a wider load would wait for the line behind, masked or not.
            // SAFETY: the caller's 16 values are 8 bytes.
            return unsafe { halves_to_floats(_mm_loadl_epi64(at.cast()), n) };
        }
        // SAFETY: masked to the bytes that hold the caller's `n` values.
        unsafe {
            let n_bytes = (odd + n).div_ceil(2);
            let both = _mm_maskz_loadu_epi8(low(n_bytes) as u16, at.cast());
            // Drops the half byte in front; shifts by 64 give 0, so an even start needs no branch.
            let right = _mm_srl_epi64(both, _mm_cvtsi64_si128(4 * odd as i64));
            let left = _mm_cvtsi64_si128(64 - 4 * odd as i64);
            let carry = _mm_sll_epi64(_mm_bsrli_si128::<8>(both), left);
            halves_to_floats(_mm_or_si128(right, carry), n)
        }
    }

    #[inline(always)]
    unsafe fn splat_f16(at: *const u8) -> Self {
        // SAFETY: the caller has one value.
        unsafe {
            let half = _mm256_set1_epi16(at.cast::<i16>().read_unaligned());
            Self(_mm512_cvtph_ps(half))
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, b.0) })
    }

    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_mov_ps(low(n) as u16, self.0) })
    }

    #[inline(always)]
    unsafe fn expand_f32(at: *const u8, mask: u16) -> Self {
        // SAFETY: the caller has 64 bytes.
        unsafe {
            let values = in_register(_mm512_loadu_si512(at.cast()));
            Self(_mm512_maskz_expand_ps(mask, _mm512_castsi512_ps(values)))
        }
    }

    #[inline(always)]
    unsafe fn expand(self, mask: u16) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_expand_ps(mask, self.0) })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, n: usize) {
        // SAFETY: masked to the caller's `n` values.
        unsafe { _mm512_mask_storeu_ps(at, low(n) as u16, self.0) };
    }

    #[inline(always)]
    unsafe fn weigh(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32) {
        if n < LANES / 2 {
            // SAFETY: said by the caller.
            return unsafe { finding::weigh_few(planes.sub(1), weights.sub(1), n, at) };
        }
        // SAFETY: masked to the caller's `n` words.
        unsafe {
            let words = low(n) as u16;
            let planes = _mm512_maskz_loadu_epi32(words, planes.cast());
            let weights = _mm512_maskz_loadu_epi32(words, weights.cast());
            let bit = _mm512_set1_epi32((1_u32 << at) as i32);
            let below = _mm512_set1_epi32(((1_u32 << at) - 1) as i32);
            let ones = _mm512_popcnt_epi32(_mm512_and_si512(planes, below));
            let sum = _mm512_reduce_add_epi32(_mm512_mullo_epi32(ones, weights));
            (sum as u32, _mm512_test_epi32_mask(planes, bit).into())
        }
    }

    #[inline(always)]
    unsafe fn weigh_blocks(
        blocks: *const [u32; 8],
        rows: &[u32; LANES],
        weights: &[u32; 8],
        n: usize,
    ) -> Weighed {
        // SAFETY: said by the caller.
        unsafe { finding::weigh_blocks(blocks, rows, weights, n) }
    }

    #[inline(always)]
    unsafe fn below(values: &[u32; LANES], bound: u32) -> u16 {
        // SAFETY: the caller's processor has it; so everywhere below.
        unsafe {
            let values = _mm512_loadu_epi32(values.as_ptr().cast());
            _mm512_cmplt_epu32_mask(values, _mm512_set1_epi32(bound as i32))
        }
    }

    #[inline(always)]
    unsafe fn find_steps(
        ladder: &Ladder,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        // SAFETY: said by the caller.
        unsafe { finding::find_steps(ladder, rows, records, first) }
    }

    #[inline(always)]
    unsafe fn find_lines(
        ladder: &Ladder,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        // SAFETY: said by the caller.
        unsafe { finding::find_lines(ladder, rows, records, first) }
    }

    #[inline(always)]
    unsafe fn merge(
        rows: &[u32; LANES],
        mask: u16,
        (start, row_bytes): (usize, usize),
        others: &[usize; LANES],
        to: &mut [usize; LANES],
    ) {
        // SAFETY: said by the caller.
        unsafe { finding::merge(rows, mask, (start, row_bytes), others, to) }
    }

    #[inline(always)]
    unsafe fn compress(values: &[u32; LANES], mask: u16, to: *mut u32) {
        // SAFETY: the caller has room for 16. A store of all is faster than one of some.
        unsafe {
            let values = _mm512_loadu_epi32(values.as_ptr().cast());
            _mm512_storeu_epi32(to.cast(), _mm512_maskz_compress_epi32(mask, values));
        }
    }

    #[inline(always)]
    unsafe fn columns(at: *const u8, n: usize, words: &mut [u64]) {
        const BYTES: usize = 8;
        for first in (0..n).step_by(BYTES) {
            let mask = low((n - first).min(BYTES));
            // SAFETY: masked to the caller's `n` bytes.
            unsafe {
                let bytes = _mm_maskz_loadu_epi8(mask as u16, at.add(first).cast());
                let columns = _mm512_cvtepu8_epi64(bytes);
                let one = _mm512_set1_epi64(1);
                let bits = _mm512_sllv_epi64(one, _mm512_and_si512(columns, _mm512_set1_epi64(63)));
                let of = _mm512_srli_epi64::<6>(columns);
                for (w, word) in words.iter_mut().enumerate() {
                    let here = _mm512_cmpeq_epi64_mask(of, _mm512_set1_epi64(w as i64));
                    *word |= _mm512_mask_reduce_or_epi64(here & mask as u8, bits) as u64;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn select(word: u64, n: usize) -> usize {
        if n >= 64 {
            return 64;
        }
        // SAFETY: the caller's processor has BMI2.
        unsafe { _pdep_u64(1 << n, word) }.trailing_zeros() as usize
    }
}
