//! Sixteen 32-bit floats at a time, on three kinds of processor.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

use std::hint::select_unpredictable;

use super::ladder::Ladder;
use crate::structure::Records;

/// Values in a vector.
pub const LANES: usize = 16;

/// What blocks of bit planes say of 16 rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// The first word of each block.
    pub first: [u32; LANES],
    /// See [`Lanes::weigh`].
    pub sum: [u32; LANES],
    pub number: [u32; LANES],
}

/// Sixteen floats and what lookups do with them. Lane 0 is the first in memory.
///
/// # Safety
/// All of it asks for a processor with the instructions of the implementation. `load_*` reads exactly
/// the bytes of `n` values, at most 16, and none if `n` is 0, unless it says otherwise; the lanes beyond are 0.
pub unsafe trait Lanes: Copy {
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self;

    /// `n` 32-bit floats.
    unsafe fn load_f32(at: *const u8, n: usize) -> Self;

    /// As many 32-bit floats of a line of 16 as `mask`, ones from bit 0 on, has bits, from number `skip` modulo 16
    /// on. The whole line may be read.
    #[inline(always)]
    unsafe fn load_f32_in_line(line: *const u8, skip: u32, mask: u16) -> Self {
        let skip = 4 * (skip as usize % LANES);
        // SAFETY: said by the caller.
        unsafe { Self::load_f32(line.wrapping_add(skip), mask.count_ones() as usize) }
    }

    /// The first 32-bit floats of a line: those whose bits are set.
    #[inline(always)]
    unsafe fn load_first_f32(line: *const u8, mask: u16) -> Self {
        // SAFETY: said by the caller.
        unsafe { Self::load_f32(line, mask.count_ones() as usize) }
    }

    /// `n` 16-bit floats.
    unsafe fn load_f16(at: *const u8, n: usize) -> Self;

    /// `n` bytes as floats 0 to 255.
    unsafe fn load_u8(at: *const u8, n: usize) -> Self;

    /// `n` half bytes as floats 0 to 15, from half byte `first` on, low half first.
    unsafe fn load_u4(at: *const u8, first: usize, n: usize) -> Self;

    /// All lanes the 16-bit float at `at`.
    unsafe fn splat_f16(at: *const u8) -> Self;

    /// `self · b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;

    /// `self · b`.
    unsafe fn mul(self, b: Self) -> Self;

    /// The lanes below `n`; 0 in the others.
    unsafe fn first(self, n: usize) -> Self;

    /// As many 32-bit floats as `mask` has bits, in the lanes whose bit is set; 0 in the others. 64 bytes may be
    /// read.
    #[inline(always)]
    unsafe fn expand_f32(at: *const u8, mask: u16) -> Self {
        // SAFETY: said by the caller.
        unsafe { Self::load_f32(at, mask.count_ones() as usize).expand(mask) }
    }

    /// The first lanes, moved in order to the lanes whose bit is set; 0 in the others.
    unsafe fn expand(self, mask: u16) -> Self;

    /// Writes the first `n` lanes.
    unsafe fn store(self, at: *mut f32, n: usize);

    /// Of `n` bit planes, at most 16: the sum of the ones below bit `at`, each times the plane's weight,
    /// and the number whose bit `p` is bit `at` of plane `p`. Both point to `n` words behind another one.
    unsafe fn weigh(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32);

    /// [`weigh`](Self::weigh) of 16 rows, whose blocks have 8 words: the first of them, and `n` planes.
    ///
    /// Row `r` has bit `r % 32` of block `r / 32`; `weights` are those of the 8 words.
    #[inline(always)]
    unsafe fn weigh_blocks(
        blocks: *const [u32; 8],
        rows: &[u32; LANES],
        weights: &[u32; 8],
        n: usize,
    ) -> Weighed {
        let mut weighed = Weighed::default();
        for (i, &row) in rows.iter().enumerate() {
            // SAFETY: the caller has a block for every row.
            unsafe {
                let block = blocks.add(row as usize / 32).cast::<u32>();
                weighed.first[i] = *block;
                (weighed.sum[i], weighed.number[i]) =
                    Self::weigh(block.add(1), weights.as_ptr().add(1), n, row % 32);
            }
        }
        weighed
    }

    /// The values below `bound`, as bits.
    unsafe fn below(values: &[u32; LANES], bound: u32) -> u16;

    /// What [`Ladder::find`] says of each row: records from `first`, a multiple of 16, on.
    #[inline(always)]
    unsafe fn find_steps(
        ladder: &Ladder,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        for (p, &row) in (first..).zip(rows) {
            let found = ladder.find(row);
            records.put(p, found.start, found.kept, found.lanes);
        }
    }

    /// The same of rows that are in one line each, of at most [`MOST_IN_LINE`](crate::lookup::MOST_IN_LINE)
    /// ranges.
    #[inline(always)]
    unsafe fn find_lines(
        ladder: &Ladder,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        for (p, &row) in (first..).zip(rows) {
            let found = ladder.find(row);
            records.put_line(p, found.start, found.lanes);
        }
    }

    /// Writes the address of each row: that of row `r` whose bit is set is `start + r · row_bytes` of
    /// `(start, row_bytes)`, the others' are the first of `others`, in order.
    #[inline(always)]
    unsafe fn merge(
        rows: &[u32; LANES],
        mask: u16,
        (start, row_bytes): (usize, usize),
        others: &[usize; LANES],
        to: &mut [usize; LANES],
    ) {
        let mut n = 0;
        for (i, (&row, to)) in rows.iter().zip(to).enumerate() {
            let is_set = usize::from(mask >> i & 1);
            // Without a branch, which would be hard to predict.
            let at = start.wrapping_add((row as usize).wrapping_mul(row_bytes));
            *to = select_unpredictable(is_set == 1, at, others[n % LANES]);
            n += 1 - is_set;
        }
    }

    /// Writes the values whose bits are set one after the other, and anything behind them: `to` has room
    /// for 16.
    unsafe fn compress(values: &[u32; LANES], mask: u16, to: *mut u32);

    /// Sets bit `c` of `words` for each of `n` bytes `c`; larger ones than there are bits for have none.
    unsafe fn columns(at: *const u8, n: usize, words: &mut [u64]);

    /// The place of one number `n` (from 0) of `word`; 64 if it has fewer.
    unsafe fn select(word: u64, n: usize) -> usize;
}

#[cfg(test)]
mod tests;
