//! The lookup kernel for structures in which a row is one record.
//!
//! One loop over all ids of a batch: it asks for the index of the id that comes `2 · AHEAD` later, finds
//! the record of the one that comes `AHEAD` later and asks for it, and adds the row of the current one to
//! vectors in registers. So the latencies of index and record overlap with work on other rows.

use std::marker::PhantomData;

use super::format::Format;
use super::isa::Work;
use super::lanes::{LANES, Lanes};
use crate::bags::{Bags, Output, Pooling};
use crate::structure::{Record, Storage};
use crate::values::{AFFINE_BYTES, Affine};

/// Ids between finding a record and reading it. 16 to 32 reached the speed of memory in our benches.
const AHEAD: usize = 16;

/// Vectors that a pass keeps in registers; longer rows take several passes.
pub const MAX_VECTORS: usize = 8;

/// Pools columns `16 · first_vector..` of all bags, at most `16 · N` of them.
pub struct Kernel<'k, 'o, S, F, const N: usize> {
    pub storage: &'k S,
    pub format: PhantomData<F>,
    pub bags: &'k Bags<'k>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub dim: usize,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
    pub first_vector: usize,
}

impl<S: Storage, F: Format, const N: usize> Work for Kernel<'_, '_, S, F, N> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let mut ahead = Ahead::new(self.storage, self.bags.ids);
        for b in 0..self.bags.n() {
            // SAFETY: the caller's processor has the instructions of `L`; so below.
            unsafe {
                let mut sums = [L::splat(0.0); N];
                let range = self.bags.range(b);
                let n_ids = range.len();
                for p in range {
                    let record = ahead.next(p);
                    let weight = self.bags.weights.map_or(1.0, |weights| weights[p]);
                    self.add(record, weight, &mut sums);
                }
                self.store(b, n_ids, &sums);
            }
        }
    }
}

impl<S: Storage, F: Format, const N: usize> Kernel<'_, '_, S, F, N> {
    /// Adds a row, times `weight`.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn add<L: Lanes>(&self, record: Record, weight: f32, sums: &mut [L; N]) {
        let kept = record.kept as usize;
        let at = self.storage.bytes()[record.start..].as_ptr();
        let mask_bytes = if S::MASKED { self.dim.div_ceil(8) } else { 0 };
        // SAFETY: a structure's record has room for a mask, scale and bias, and `dim` values.
        unsafe {
            let fixed = at.add(mask_bytes);
            let affine = if F::FIXED > 0 && kept > 0 {
                Affine::read(std::slice::from_raw_parts(fixed, AFFINE_BYTES))
            } else {
                Affine::default()
            };
            let values = fixed.add(F::FIXED);
            let weight = L::splat(weight);
            let mut first = if S::MASKED { self.skipped(at, kept) } else { 0 };
            for (v, sum) in sums.iter_mut().enumerate() {
                let v = self.first_vector + v;
                let row: L = if S::MASKED {
                    let mask = self.mask(at, kept, v);
                    let n = mask.count_ones() as usize;
                    let packed: L = F::load(values, first, n, affine);
                    first += n;
                    packed.expand(mask)
                } else {
                    let n = kept.saturating_sub(v * LANES).min(LANES);
                    F::load(values, v * LANES, n, affine)
                };
                *sum = row.mul_add(weight, *sum);
            }
        }
    }

    /// Kept columns among `16 · v..16 · v + 16`, as bits.
    ///
    /// # Safety
    /// `at` is the start of a record with a mask, if `kept` is not 0, and readable if it is.
    #[inline(always)]
    unsafe fn mask(&self, at: *const u8, kept: usize, v: usize) -> u16 {
        let n = self.dim.saturating_sub(v * LANES).min(LANES);
        if n == 0 || kept == 0 {
            return 0;
        }
        // SAFETY: two bytes within the record: behind a mask stands a value.
        let mask = unsafe { at.add(2 * v).cast::<u16>().read_unaligned() };
        u16::from_le(mask) & ((1_u32 << n) - 1) as u16
    }

    /// Number of kept values in front of the first vector.
    ///
    /// # Safety
    /// As [`mask`](Self::mask).
    #[inline(always)]
    unsafe fn skipped(&self, at: *const u8, kept: usize) -> usize {
        let mut n = 0;
        for v in 0..self.first_vector {
            // SAFETY: said above.
            n += unsafe { self.mask(at, kept, v) }.count_ones() as usize;
        }
        n
    }

    /// Writes the pooled vector of sample `b`.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn store<L: Lanes>(&mut self, b: usize, n_ids: usize, sums: &[L; N]) {
        let scale = match self.pooling {
            Pooling::Sum => self.unit,
            Pooling::Mean => self.unit / n_ids.max(1) as f32,
        };
        let first = self.first_vector * LANES;
        let row = &mut self.out.row(b, self.dim)[first..];
        // SAFETY: no more lanes are written than the row has left.
        unsafe {
            let scale = L::splat(scale);
            for (v, sum) in sums.iter().enumerate() {
                let n = row.len().saturating_sub(v * LANES).min(LANES);
                let at = row.as_mut_ptr().wrapping_add(v * LANES);
                sum.mul(scale).store(at, n);
            }
        }
    }
}

/// Records found before they are needed.
struct Ahead<'k, S> {
    storage: &'k S,
    ids: &'k [u32],
    /// That of id `p` at `p % AHEAD`; unused where finding a record reads no memory.
    records: [Record; AHEAD],
}

impl<'k, S: Storage> Ahead<'k, S> {
    #[inline(always)]
    fn new(storage: &'k S, ids: &'k [u32]) -> Self {
        let mut ahead = Self {
            storage,
            ids,
            records: [Record::default(); AHEAD],
        };
        if S::INDIRECT {
            for &id in &ids[..ids.len().min(2 * AHEAD)] {
                storage.prefetch_index(id);
            }
        }
        for p in 0..ids.len().min(AHEAD) {
            ahead.find(p);
        }
        ahead
    }

    /// Finds the record of id `p` and asks for it.
    #[inline(always)]
    fn find(&mut self, p: usize) {
        let record = self.storage.locate(self.ids[p]);
        let at = self.storage.bytes().as_ptr().wrapping_add(record.start);
        crate::prefetch::prefetch_bytes(at, record.bytes as usize);
        if S::INDIRECT {
            self.records[p % AHEAD] = record;
        }
    }

    /// The record of id `p`; ids are asked for in order.
    #[inline(always)]
    fn next(&mut self, p: usize) -> Record {
        let record = if S::INDIRECT {
            self.records[p % AHEAD]
        } else {
            self.storage.locate(self.ids[p])
        };
        if S::INDIRECT && p + 2 * AHEAD < self.ids.len() {
            self.storage.prefetch_index(self.ids[p + 2 * AHEAD]);
        }
        if p + AHEAD < self.ids.len() {
            self.find(p + AHEAD);
        }
        record
    }
}
