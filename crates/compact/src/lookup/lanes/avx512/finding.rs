//! Finding rows with AVX-512: sixteen at a time, or the bit planes of one in a register.

use std::arch::x86_64::*;

use super::super::{LANES, Ladder, Weighed};
use super::{in_register, low};
use crate::lookup::MOST_IN_LINE;
use crate::structure::{RING, Records};

/// [`Lanes::weigh`](super::super::Lanes::weigh) of at most 7 planes behind a word, in half a line: a wide load would
/// wait for the next line.
///
/// # Safety
/// The processor has AVX-512; there are `n` planes and weights behind one word each.
#[inline(always)]
pub unsafe fn weigh_few(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32) {
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

/// The range of each row, in the lowest 4 bits: three comparisons find a quarter of the ranges, three more one of
/// its four, for all rows at once.
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

/// The range of each row, of at most [`MOST_IN_LINE`].
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn few_steps(ladder: &Ladder, row: __m512i) -> __m512i {
    let bounds = ladder.bounds[..MOST_IN_LINE - 1].iter();
    // SAFETY: said above.
    unsafe {
        bounds.fold(_mm512_setzero_si512(), |step, &bound| {
            let behind = _mm512_cmple_epu32_mask(_mm512_set1_epi32(bound as i32), row);
            _mm512_mask_add_epi32(step, behind, step, _mm512_set1_epi32(16 + 1))
        })
    }
}

/// The value of each row's range.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn of_step(step: __m512i, values: &[u32; LANES]) -> __m512i {
    // SAFETY: said above.
    unsafe { _mm512_permutexvar_epi32(step, _mm512_loadu_epi32(values.as_ptr().cast())) }
}

/// [`Lanes::find_steps`](super::super::Lanes::find_steps).
///
/// # Safety
/// As there; the processor has AVX-512.
#[inline(always)]
pub unsafe fn find_steps(
    ladder: &Ladder,
    rows: &[u32; LANES],
    records: &mut Records,
    first: usize,
) {
    let first = first % RING;
    // SAFETY: said above; there are 16 records from `first` on.
    unsafe {
        let row = _mm512_loadu_epi32(rows.as_ptr().cast());
        let step = steps(ladder, row);
        let bytes = of_step(step, &ladder.row_bytes);
        let kept = records.kept.as_mut_ptr().add(first);
        _mm512_storeu_epi32(kept.cast(), of_step(step, &ladder.kept));
        let halves = |x| {
            let high = _mm512_extracti64x4_epi64::<1>(x);
            [_mm512_castsi512_si256(x), high].map(|x| _mm512_cvtepu32_epi64(x))
        };
        let both = |values: &[u64; LANES], step| {
            let at = values.as_ptr().cast::<i64>();
            let [low, high] = [0, 8].map(|i| _mm512_loadu_epi64(at.add(i)));
            _mm512_permutex2var_epi64(low, step, high)
        };
        let parts = halves(row).into_iter().zip(halves(bytes)).zip(halves(step));
        for (i, ((row, bytes), step)) in parts.enumerate() {
            let before = _mm512_mul_epu32(row, bytes);
            let start = _mm512_add_epi64(both(&ladder.origins, step), before);
            let lanes = both(&ladder.lanes, step);
            let at = first + 8 * i;
            _mm512_storeu_epi64(records.start.as_mut_ptr().add(at).cast(), start);
            _mm512_storeu_epi64(records.lanes.as_mut_ptr().add(at).cast(), lanes);
        }
    }
}

/// [`Lanes::find_lines`](super::super::Lanes::find_lines).
///
/// # Safety
/// As there; the processor has AVX-512.
#[inline(always)]
pub unsafe fn find_lines(
    ladder: &Ladder,
    rows: &[u32; LANES],
    records: &mut Records,
    first: usize,
) {
    let first = first % RING;
    // SAFETY: said above; there are 16 records from `first` on.
    unsafe {
        let row = _mm512_loadu_epi32(rows.as_ptr().cast());
        let step = few_steps(ladder, row);
        let before = _mm512_mullo_epi32(row, of_step(step, &ladder.row_words));
        let word = _mm512_add_epi32(of_step(step, &ladder.origin_words), before);
        let line = _mm512_andnot_si512(_mm512_set1_epi32(15), word);
        _mm512_storeu_epi32(records.line.as_mut_ptr().add(first).cast(), line);
        _mm512_storeu_epi32(records.skip.as_mut_ptr().add(first).cast(), word);
        let lanes = of_step(step, &ladder.line_lanes);
        _mm512_storeu_epi32(records.in_line.as_mut_ptr().add(first).cast(), lanes);
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

/// [`Lanes::weigh_blocks`](super::super::Lanes::weigh_blocks).
///
/// # Safety
/// As there; the processor has AVX-512.
#[inline(always)]
pub unsafe fn weigh_blocks(
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

/// [`Lanes::merge`](super::super::Lanes::merge).
///
/// # Safety
/// As there; the processor has AVX-512.
#[inline(always)]
pub unsafe fn merge(
    rows: &[u32; LANES],
    mask: u16,
    (start, row_bytes): (usize, usize),
    others: &[usize; LANES],
    to: &mut [usize; LANES],
) {
    // SAFETY: said above; all of `others` and `to` are there.
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
        let first = in_register(_mm512_loadu_epi64(others.as_ptr().cast()));
        let low = _mm512_mask_expand_epi64(low, is_other, first);
        let is_other = (!mask >> 8) as u8;
        let next = in_register(_mm512_loadu_epi64(others.as_ptr().add(n).cast()));
        let high = _mm512_mask_expand_epi64(high, is_other, next);
        _mm512_storeu_epi64(to.as_mut_ptr().cast(), low);
        _mm512_storeu_epi64(to.as_mut_ptr().add(8).cast(), high);
    }
}
