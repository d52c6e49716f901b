//! A vector that rows are added to.

use std::marker::PhantomData;

use super::ahead::ids_ahead;
use super::format::Format;
use super::kernel::MAX_VECTORS;
use super::lanes::{LANES, Lanes};
use crate::prefetch::prefetch_line;
use crate::structure::{Marks, Record, Storage};

const LINE: usize = 64;

/// Words for the bits of the columns of a list.
const MASK_WORDS: usize = 4;

/// A vector that rows are added to.
pub struct Row<L, S, F, const N: usize, const LINED: bool> {
    pub storage: S,
    format: PhantomData<F>,
    dim: usize,
    first_vector: usize,
    straddles: bool,
    sums: [L; N],
}

impl<L: Lanes, S: Storage, F: Format, const N: usize, const LINED: bool> Row<L, S, F, N, LINED> {
    /// A row of zeros.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn new(storage: S, dim: usize, first_vector: usize) -> Self {
        Self {
            straddles: storage.straddles(),
            storage,
            format: PhantomData,
            dim,
            first_vector,
            // SAFETY: said above.
            sums: [unsafe { L::splat(0.0) }; N],
        }
    }

    /// Forgets all rows.
    ///
    /// # Safety
    /// As [`new`](Self::new).
    #[inline(always)]
    pub unsafe fn clear(&mut self) {
        // SAFETY: said above.
        self.sums = [unsafe { L::splat(0.0) }; N];
    }

    /// Begins with sums that were stored: the first `n_columns` of them.
    ///
    /// # Safety
    /// They are there; the processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn load(&mut self, sums: *const f32, n_columns: usize) {
        for (v, sum) in self.sums.iter_mut().enumerate() {
            let n = n_columns.saturating_sub(v * LANES).min(LANES);
            // SAFETY: said above.
            *sum = unsafe { L::load_f32(sums.wrapping_add(v * LANES).cast(), n) };
        }
    }

    /// Most cache lines of what a pass reads of a record; loads of marked values reach into one line more.
    const LINES: usize = {
        let lines = (F::FIXED + N * LANES * F::BITS / 8 + LINE - 2) / LINE + 1;
        match S::MARKS {
            Marks::None => lines,
            _ => lines + 1,
        }
    };

    /// Whether every record is in one line.
    pub const ONE_LINE: bool = LINED && N == 1;

    /// Ids between finding a record and reading it.
    #[inline(always)]
    pub fn ids_ahead(&self) -> usize {
        const {
            ids_ahead(match S::MARKS {
                Marks::None => (F::FIXED + N * LANES * F::BITS / 8).div_ceil(LINE),
                _ => Self::LINES,
            })
        }
    }

    /// Adds a row, times `weight` if there is one.
    ///
    /// # Safety
    /// The record is one of the storage; the processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn add(&mut self, record: Record, weight: Option<f32>) {
        // SAFETY: a structure's record has scale and bias, as many values as it keeps, and a mask if it
        // has its own form and is masked.
        unsafe {
            if LINED {
                self.add_lines(record, weight);
            } else if S::MARKS == Marks::None {
                self.add_first(record, weight);
            } else {
                self.add_marked(record, weight);
            }
        }
    }

    /// Adds a row that keeps its first values.
    ///
    /// # Safety
    /// As [`add`](Self::add).
    #[inline(always)]
    unsafe fn add_first(&mut self, record: Record, weight: Option<f32>) {
        // SAFETY: said above.
        unsafe {
            let affine = F::affine(record.at);
            let values = record.at.add(F::FIXED);
            let weight = weight.map(|weight| L::splat(weight));
            for (v, sum) in self.sums.iter_mut().enumerate() {
                let first = (self.first_vector + v) * LANES;
                let n = (record.kept as usize).saturating_sub(first).min(LANES);
                let row: L = F::load(values, first, n, affine);
                *sum = plus(*sum, row, weight);
            }
        }
    }

    /// Adds a row of floats in lines that keeps its first values.
    ///
    /// # Safety
    /// As [`add`](Self::add); the storage is lined.
    #[inline(always)]
    unsafe fn add_lines(&mut self, record: Record, weight: Option<f32>) {
        // SAFETY: said above.
        unsafe {
            let weight = weight.map(|weight| L::splat(weight));
            let row = L::load_f32_in_line(record.at, record.skip, record.lanes as u16);
            self.sums[0] = plus(self.sums[0], row, weight);
            for (v, sum) in self.sums.iter_mut().enumerate().skip(1) {
                let mask = record.lanes.unbounded_shr((v * LANES) as u32) as u16;
                // A load waits for its line even if it takes nothing from it: not for one far away.
                let line = if mask == 0 { 0 } else { v * LINE };
                let row = L::load_first_f32(record.at.wrapping_add(line), mask);
                *sum = plus(*sum, row, weight);
            }
        }
    }

    /// Adds a row whose marks say what it keeps.
    ///
    /// # Safety
    /// As [`add`](Self::add).
    #[inline(always)]
    unsafe fn add_marked(&mut self, record: Record, weight: Option<f32>) {
        let n_columns = record.kept as usize;
        let mut bits = [0; MASK_WORDS];
        // SAFETY: said above; a list has as many columns as values.
        unsafe {
            let mask = match S::MARKS {
                Marks::Columns => {
                    let n_words = if self.dim <= 64 { 1 } else { MASK_WORDS };
                    L::columns(record.at, n_columns, &mut bits[..n_words]);
                    bits.as_ptr().cast()
                }
                _ => record.at,
            };
            let values = record.at.add(S::MARKS.bytes(self.dim, n_columns));
            let affine = F::affine(values);
            let values = values.add(F::FIXED);
            let weight = weight.map(|weight| L::splat(weight));
            let mut first = if N < MAX_VECTORS {
                0
            } else {
                self.skipped(mask)
            };
            for v in 0..N {
                let mask = self.mask(mask, self.first_vector + v);
                let row: L = F::expand(values, first, mask, affine);
                first += mask.count_ones() as usize;
                self.sums[v] = plus(self.sums[v], row, weight);
            }
        }
    }

    /// Kept columns among `16 · v..16 · v + 16`, as bits.
    ///
    /// # Safety
    /// `mask` is that of a record, or the bits of its columns.
    #[inline(always)]
    unsafe fn mask(&self, mask: *const u8, v: usize) -> u16 {
        let n = self.dim.saturating_sub(v * LANES).min(LANES);
        // SAFETY: a pass has two bytes for every vector, whether it has columns or not.
        let bits = unsafe { mask.add(2 * v).cast::<u16>().read_unaligned() };
        u16::from_le(bits) & ((1_u32 << n) - 1) as u16
    }

    /// Number of kept values in front of the first vector.
    ///
    /// # Safety
    /// As [`mask`](Self::mask).
    #[inline(always)]
    unsafe fn skipped(&self, mask: *const u8) -> usize {
        let mut n = 0;
        for v in 0..self.first_vector {
            // SAFETY: said above.
            n += unsafe { self.mask(mask, v) }.count_ones() as usize;
        }
        n
    }

    /// Writes the sums, times `scale`: the first `n_columns` of them.
    ///
    /// # Safety
    /// There is room; the processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn store(&self, out: *mut f32, n_columns: usize, scale: f32) {
        // SAFETY: said above.
        unsafe {
            let scale = L::splat(scale);
            for (v, sum) in self.sums.iter().enumerate() {
                let n = n_columns.saturating_sub(v * LANES).min(LANES);
                sum.mul(scale).store(out.wrapping_add(v * LANES), n);
            }
        }
    }

    /// Asks for what a pass reads of a record.
    #[inline(always)]
    pub fn prefetch(&self, record: Record) {
        let skipped = self.first_vector * LANES * F::BITS / 8;
        let bytes = F::FIXED + (record.kept as usize * F::BITS).div_ceil(8);
        let (at, bytes) = match S::MARKS {
            Marks::None => (
                record.at.wrapping_add(skipped),
                bytes.saturating_sub(skipped),
            ),
            marks => (
                record.at,
                bytes + marks.bytes(self.dim, record.kept as usize) + LINE - 1,
            ),
        };
        let last = bytes.saturating_sub(1);
        prefetch_line(at);
        if N == 1 && S::MARKS == Marks::Bits && F::BITS == 32 {
            // A mask and the line of floats behind it that is read: two lines, wherever they begin.
            prefetch_line(at.wrapping_add(S::MARKS.bytes(self.dim, 0) + LINE - 1));
            return;
        }
        // The last line without a look at the length, which may be hard to predict.
        if !Self::ONE_LINE && (self.straddles || Self::LINES > 2) {
            prefetch_line(at.wrapping_add(last));
        }
        for line in 1..Self::LINES - 1 {
            prefetch_line(at.wrapping_add((line * LINE).min(last)));
        }
    }
}

/// `sum + weight · row`.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn plus<L: Lanes>(sum: L, row: L, weight: Option<L>) -> L {
    // SAFETY: said above.
    unsafe {
        match weight {
            Some(weight) => row.mul_add(weight, sum),
            None => row.add(sum),
        }
    }
}
