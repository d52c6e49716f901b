//! AVX-512 with byte and half-word instructions and counts of ones: masked loads read no byte too many.

use std::arch::x86_64::*;

use super::{LANES, Ladder, Lanes, Weighed};
use crate::structure::{RING, Records};

/// A 512-bit register.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(__m512);

/// The low `n` bits, `n` at most 31.
#[inline(always)]
fn low(n: usize) -> u32 {
    (1 << n) - 1
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

/// [`Lanes::weigh`] of at most 7 planes behind a word, in half a line: a wide load would wait for the next line.
///
/// # Safety
/// The processor has AVX-512; there are `n` planes and weights behind one word each.
#[inline(always)]
unsafe fn weigh_few(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32) {
    // SAFETY: masked to the words that are there.
    unsafe {
        let words = (low(n) << 1) as u8;
        let planes = _mm256_maskz_loadu_epi32(words, planes.cast());
        let weights = _mm256_maskz_loadu_epi32(words, weights.cast());
        let bit = _mm256_set1_epi32((1_u32 << at) as i32);
        let below = _mm256_set1_epi32(((1_u32 << at) - 1) as i32);
        let ones = _mm256_popcnt_epi32(_mm256_and_si256(planes, below));
        let products = _mm256_mullo_epi32(ones, weights);
        let sums = _mm_add_epi32(
            _mm256_castsi256_si128(products),
            _mm256_extracti128_si256::<1>(products),
        );
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b1110>(sums));
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<1>(sums));
        let bits = _mm256_test_epi32_mask(planes, bit);
        (_mm_cvtsi128_si32(sums) as u32, u32::from(bits >> 1))
    }
}

/// The range of each row, in the lowest 4 bits: comparisons that each halve the ranges, for all rows at once.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn steps(ladder: &Ladder, row: __m512i) -> __m512i {
    // SAFETY: said above.
    unsafe {
        let bounds = _mm512_loadu_epi32(ladder.bounds.as_ptr().cast());
        let behind = |first: usize| {
            let bound = _mm512_set1_epi32(ladder.bounds[first - 1] as i32);
            _mm512_cmple_epu32_mask(bound, row)
        };
        let quarter = _mm512_maskz_set1_epi32(behind(4), 4);
        let quarter = _mm512_mask_mov_epi32(quarter, behind(8), _mm512_set1_epi32(8));
        let quarter = _mm512_mask_mov_epi32(quarter, behind(12), _mm512_set1_epi32(12));
        let behind =
            |bounds| _mm512_cmple_epu32_mask(_mm512_permutexvar_epi32(quarter, bounds), row);
        let [first, second, third] = [
            behind(bounds),
            behind(_mm512_alignr_epi32::<1>(bounds, bounds)),
            behind(_mm512_alignr_epi32::<2>(bounds, bounds)),
        ];
        // Bit 4 means nothing: adding 1 alone would be compiled to more.
        let step = _mm512_mask_or_epi32(quarter, first, quarter, _mm512_set1_epi32(16 + 1));
        let step = _mm512_mask_add_epi32(step, second, step, _mm512_set1_epi32(16 + 1));
        _mm512_mask_add_epi32(step, third, step, _mm512_set1_epi32(16 + 1))
    }
}

/// The blocks of row `i` of 16 and of the one 8 behind it.
///
/// # Safety
/// The processor has AVX-512; there is a block for every row, 32 rows to each.
#[inline(always)]
unsafe fn pair(blocks: *const [u32; 8], rows: &[u32; LANES], i: usize) -> __m512i {
    // SAFETY: said above.
    unsafe {
        let low = _mm256_loadu_epi32(blocks.add(rows[i] as usize / 32).cast());
        let high = _mm256_loadu_epi32(blocks.add(rows[i + 8] as usize / 32).cast());
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    }
}

/// Words 0 and 4, 1 and 5, 2 and 6, 3 and 7 of four pairs from `i` on.
///
/// # Safety
/// As [`pair`].
#[inline(always)]
unsafe fn quads(blocks: *const [u32; 8], rows: &[u32; LANES], i: usize) -> [__m512i; 4] {
    // SAFETY: said above.
    unsafe {
        let (a, b) = (pair(blocks, rows, i), pair(blocks, rows, i + 1));
        let (c, d) = (pair(blocks, rows, i + 2), pair(blocks, rows, i + 3));
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    }
}

/// Word `w` of the blocks of 16 rows, for each of the 8 words.
///
/// # Safety
/// As [`pair`].
#[inline(always)]
unsafe fn words(blocks: *const [u32; 8], rows: &[u32; LANES]) -> [__m512i; 8] {
    // SAFETY: said above.
    unsafe {
        let (first, second) = (quads(blocks, rows, 0), quads(blocks, rows, 4));
        let low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
        let high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
        let mut words = [_mm512_setzero_si512(); 8];
        for w in 0..4 {
            words[w] = _mm512_permutex2var_epi64(first[w], low, second[w]);
            words[w + 4] = _mm512_permutex2var_epi64(first[w], high, second[w]);
        }
        words
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
    unsafe fn load_f32_in_line(line: *const u8, mask: u16) -> Self {
        // SAFETY: the caller has 64 bytes.
        unsafe { Self(_mm512_maskz_compress_ps(mask, _mm512_loadu_ps(line.cast()))) }
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
        // A load that expands is slower.
        // SAFETY: the caller has 64 bytes.
        Self(unsafe { _mm512_maskz_expand_ps(mask, _mm512_loadu_ps(at.cast())) })
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
            return unsafe { weigh_few(planes.sub(1), weights.sub(1), n, at) };
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
        // SAFETY: the caller has a block for every row.
        unsafe {
            let words = words(blocks, rows);
            let row = _mm512_loadu_epi32(rows.as_ptr().cast());
            let last = _mm512_set1_epi32(31);
            // Moves the bit of the row to the top, those below it behind it.
            let up = _mm512_andnot_epi32(row, last);
            let zero = _mm512_setzero_si512();
            let (mut sum, mut number) = (zero, zero);
            for p in [7, 6, 5, 4, 3, 2, 1] {
                if p > n {
                    continue;
                }
                let bits = _mm512_sllv_epi32(words[p], up);
                let bit = _mm512_srli_epi32::<31>(bits);
                number = _mm512_add_epi32(_mm512_add_epi32(number, number), bit);
                let ones = _mm512_popcnt_epi32(_mm512_add_epi32(bits, bits));
                let weight = _mm512_set1_epi32(weights[p] as i32);
                sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(ones, weight));
            }
            let mut weighed = Weighed::default();
            _mm512_storeu_epi32(weighed.first.as_mut_ptr().cast(), words[0]);
            _mm512_storeu_epi32(weighed.sum.as_mut_ptr().cast(), sum);
            _mm512_storeu_epi32(weighed.number.as_mut_ptr().cast(), number);
            weighed
        }
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
        let first = first % RING;
        // SAFETY: as above; there are 16 records from `first` on.
        unsafe {
            let row = _mm512_loadu_epi32(rows.as_ptr().cast());
            let step = steps(ladder, row);
            let of_step = |values: &[u32; LANES]| {
                _mm512_permutexvar_epi32(step, _mm512_loadu_epi32(values.as_ptr().cast()))
            };
            let bytes = of_step(&ladder.row_bytes);
            let kept = records.kept.as_mut_ptr().add(first);
            _mm512_storeu_epi32(kept.cast(), of_step(&ladder.kept));
            let halves = |x| {
                let high = _mm512_extracti64x4_epi64::<1>(x);
                [_mm512_castsi512_si256(x), high].map(|x| _mm512_cvtepu32_epi64(x))
            };
            let both = |values: &[u64; LANES], step| {
                let at = values.as_ptr().cast::<i64>();
                let [low, high] = [0, 8].map(|i| _mm512_loadu_epi64(at.add(i)));
                _mm512_permutex2var_epi64(low, step, high)
            };
            let in_line = _mm512_set1_epi64(ladder.in_line as i64);
            let parts = halves(row).into_iter().zip(halves(bytes)).zip(halves(step));
            for (i, ((row, bytes), step)) in parts.enumerate() {
                let before = _mm512_mul_epu32(row, bytes);
                let start = _mm512_add_epi64(both(&ladder.origins, step), before);
                let skip = _mm512_and_si512(start, in_line);
                let lanes = both(&ladder.lanes, step);
                let lanes = _mm512_sllv_epi64(lanes, _mm512_srli_epi64::<2>(skip));
                let at = first + 8 * i;
                let to = records.start.as_mut_ptr().add(at);
                _mm512_storeu_epi64(to.cast(), _mm512_sub_epi64(start, skip));
                _mm512_storeu_epi64(records.lanes.as_mut_ptr().add(at).cast(), lanes);
            }
        }
    }

    #[inline(always)]
    unsafe fn find_lines(
        ladder: &Ladder,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        let first = first % RING;
        // SAFETY: as above; there are 16 records from `first` on.
        unsafe {
            let row = _mm512_loadu_epi32(rows.as_ptr().cast());
            let step = steps(ladder, row);
            let of_step = |values: &[u32; LANES]| {
                _mm512_permutexvar_epi32(step, _mm512_loadu_epi32(values.as_ptr().cast()))
            };
            let before = _mm512_mullo_epi32(row, of_step(&ladder.row_words));
            let word = _mm512_add_epi32(of_step(&ladder.origin_words), before);
            let skip = _mm512_and_si512(word, _mm512_set1_epi32(15));
            let line = _mm512_sub_epi32(word, skip);
            _mm512_storeu_epi32(records.line.as_mut_ptr().add(first).cast(), line);
            let lanes = _mm512_sllv_epi32(of_step(&ladder.line_lanes), skip);
            _mm512_storeu_epi32(records.in_line.as_mut_ptr().add(first).cast(), lanes);
        }
    }

    #[inline(always)]
    unsafe fn merge(
        rows: &[u32; LANES],
        mask: u16,
        (start, row_bytes): (usize, usize),
        others: &[usize; LANES],
        to: &mut [usize; LANES],
    ) {
        // SAFETY: as above; all of `others` and `to` are there.
        unsafe {
            let row = _mm512_loadu_epi32(rows.as_ptr().cast());
            let high = _mm512_extracti64x4_epi64::<1>(row);
            let address = |rows| {
                let row_bytes = _mm512_set1_epi64(row_bytes as i64);
                let before = _mm512_mul_epu32(_mm512_cvtepu32_epi64(rows), row_bytes);
                _mm512_add_epi64(before, _mm512_set1_epi64(start as i64))
            };
            let low = address(_mm512_castsi512_si256(row));
            let high = address(high);
            let is_other = !mask as u8;
            let n = is_other.count_ones() as usize;
            let first = _mm512_loadu_epi64(others.as_ptr().cast());
            let low = _mm512_mask_expand_epi64(low, is_other, first);
            let is_other = (!mask >> 8) as u8;
            let next = _mm512_loadu_epi64(others.as_ptr().add(n).cast());
            let high = _mm512_mask_expand_epi64(high, is_other, next);
            _mm512_storeu_epi64(to.as_mut_ptr().cast(), low);
            _mm512_storeu_epi64(to.as_mut_ptr().add(8).cast(), high);
        }
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
