//! Operands laid out for the micro-kernel.

pub(super) mod exact;
pub(super) mod rounded;

use std::arch::x86_64::*;

use super::LANES;

/// A part of an operand: `n` rows of the left one or columns of the right one, over a run of `k`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub values: *const f32,
    pub n: usize,
    pub k: usize,
    /// Values from one row or column to the next.
    pub stride: usize,
    /// Values from one `k` to the next.
    pub k_stride: usize,
}

/// The mask of the first `n` lanes.
#[inline]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n.min(LANES)) - 1) as u16
}

/// Transposes a square of 32-bit words: within fours, then among them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let zero = _mm512_setzero_si512();
    let mut fours = [zero; LANES];
    for i in (0..LANES).step_by(4) {
        let [a, b, c, d] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
        let (low, low2) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (high, high2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        fours[i] = _mm512_unpacklo_epi64(low, low2);
        fours[i + 1] = _mm512_unpackhi_epi64(low, low2);
        fours[i + 2] = _mm512_unpacklo_epi64(high, high2);
        fours[i + 3] = _mm512_unpackhi_epi64(high, high2);
    }
    // Now the four words of part `p` in `fours[4 q + r]` are column `4 p + r` of the rows from `4 q` on.
    let mut columns = [zero; LANES];
    for r in 0..4 {
        let [a, b, c, d] = [fours[r], fours[4 + r], fours[8 + r], fours[12 + r]];
        let even = _mm512_shuffle_i32x4::<0x88>(a, b);
        let even2 = _mm512_shuffle_i32x4::<0x88>(c, d);
        let odd = _mm512_shuffle_i32x4::<0xdd>(a, b);
        let odd2 = _mm512_shuffle_i32x4::<0xdd>(c, d);
        columns[r] = _mm512_shuffle_i32x4::<0x88>(even, even2);
        columns[4 + r] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
        columns[8 + r] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
        columns[12 + r] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
    }
    columns
}
