//! Operands rounded to bf16 and laid out for the micro-kernel.

use std::arch::x86_64::*;

use super::super::LANES;
use super::super::kernel::{Arithmetic, Columns, Dot, Fma, Layout, Rows};
use super::{Part, first, transpose};

/// How the words of rounded pairs are stored.
pub(in super::super) trait Words: Arithmetic + Sized {
    /// Stores pairs of bf16 as words: the word for the odd ones [`Layout::ODD`] after the even ones.
    ///
    /// # Safety
    /// The processor has AVX-512 F and BF16, and registers can be stored at those places.
    unsafe fn store(to: *mut u32, odd: usize, pairs: __m512i);
}

impl Words for Fma {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn store(to: *mut u32, odd: usize, pairs: __m512i) {
        let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        // SAFETY: the caller's promise.
        unsafe {
            _mm512_storeu_si512(to.cast(), _mm512_slli_epi32::<16>(pairs));
            _mm512_storeu_si512(to.add(odd).cast(), _mm512_and_si512(pairs, high));
        }
    }
}

impl Words for Dot {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn store(to: *mut u32, _: usize, pairs: __m512i) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), pairs) }
    }
}

/// Packs rows that have their `k` side by side, row after row.
///
/// # Safety
/// The processor has AVX-512 F, BW and BF16, `part` is readable, its `k_stride` is 1, and `to` has
/// room for `part.n` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(in super::super) unsafe fn rows<A: Words>(to: *mut u32, part: Part) {
    for i in 0..part.n {
        for pair in (0..part.k.div_ceil(2)).step_by(LANES) {
            // SAFETY: the row and its run of pairs lie in the part and in the room.
            unsafe {
                let pairs = load_pairs(part.values.add(i * part.stride), pair, part.k);
                A::store(to.add(i * Rows::<A>::ROW + pair), Rows::<A>::ODD, pairs);
            }
        }
    }
}

/// Packs up to [`LANES`] rows or columns as a panel, pair after pair.
///
/// # Safety
/// The processor has AVX-512 F, BW and BF16, `part` is readable, one of its strides is 1, and `to` has
/// room for a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(in super::super) unsafe fn panel<A: Words>(to: *mut u32, part: Part) {
    // SAFETY: the caller's promise.
    unsafe {
        if part.stride == 1 {
            side_by_side::<A>(to, part);
        } else {
            transposed::<A>(to, part);
        }
    }
}

/// # Safety
/// As for [`panel`], and `part.stride` is 1.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn side_by_side<A: Words>(to: *mut u32, part: Part) {
    let mask = first(part.n);
    let interleaved = interleaved();
    for k in (0..part.k).step_by(2) {
        // SAFETY: the masks leave out what lies outside the part.
        let pairs = unsafe {
            let even = part.values.add(k * part.k_stride);
            let odd_mask = if k + 1 < part.k { mask } else { 0 };
            let odd = _mm512_maskz_loadu_ps(odd_mask, even.wrapping_add(part.k_stride));
            round(odd, _mm512_maskz_loadu_ps(mask, even))
        };
        let pairs = _mm512_permutexvar_epi16(interleaved, pairs);
        // SAFETY: the pair lies in the panel.
        unsafe { A::store(to.add(k / 2 * Columns::<A>::STEP), Columns::<A>::ODD, pairs) };
    }
}

/// # Safety
/// As for [`panel`], and `part.k_stride` is 1.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn transposed<A: Words>(to: *mut u32, part: Part) {
    let n_pairs = part.k.div_ceil(2);
    for pair in (0..n_pairs).step_by(LANES) {
        let mut square = [_mm512_setzero_si512(); LANES];
        for (j, row) in square.iter_mut().take(part.n).enumerate() {
            // SAFETY: the column lies in the part.
            *row = unsafe { load_pairs(part.values.add(j * part.stride), pair, part.k) };
        }
        let square = transpose(square);
        for (i, &row) in square.iter().take(n_pairs - pair).enumerate() {
            // SAFETY: the pair lies in the panel.
            unsafe {
                A::store(
                    to.add((pair + i) * Columns::<A>::STEP),
                    Columns::<A>::ODD,
                    row,
                )
            };
        }
    }
}

/// Rounds [`LANES`] pairs of values that lie side by side; zeros from `k` on.
///
/// # Safety
/// The processor has AVX-512 F, BW and BF16, and `from` has `k` values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn load_pairs(from: *const f32, pair: usize, k: usize) -> __m512i {
    let left = k - 2 * pair;
    let from = from.wrapping_add(2 * pair);
    // SAFETY: the masks leave out what lies behind `k` values.
    unsafe {
        let low = _mm512_maskz_loadu_ps(first(left), from);
        let rest = first(left.saturating_sub(LANES));
        round(_mm512_maskz_loadu_ps(rest, from.wrapping_add(LANES)), low)
    }
}

/// The bf16 of `low`, then those of `high`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn round(high: __m512, low: __m512) -> __m512i {
    // SAFETY: both types are 64 bytes without invalid values.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// The permutation that brings halves of 16 together as pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved() -> __m512i {
    // Lane `i` of 32 bits gets the halves `i` and `16 + i`.
    let step = _mm512_set1_epi32(0x0001_0001);
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let both = _mm512_mullo_epi16(_mm512_or_si512(lanes, _mm512_slli_epi32::<16>(lanes)), step);
    _mm512_add_epi16(both, _mm512_set1_epi32(0x0010_0000))
}
