//! The lookup kernel for structures in which a row is one record.
//!
//! A loop over ids asks for the index of the id that comes a while later, finds the record of one that comes
//! sooner and asks for it, and adds the row of the current one to vectors in registers. So the latencies of
//! index and record overlap with work on other rows. Where rows may stand in a head, in a tail, or nowhere,
//! ids are sorted first: a branch that depends on the row would be mispredicted all the time.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

use super::ahead::Ahead;
use super::format::Format;
use super::isa::Work;
#[cfg(target_arch = "x86_64")]
use super::isa::run_avx2;
use super::lanes::{LANES, Lanes, Portable};
use super::row::Row;
use super::sorted::{List, SORTED, Sorted};
use crate::bags::{Bags, Output, Pooling};
use crate::structure::{Head, Storage};

/// Vectors that a pass keeps in registers; longer rows take several passes.
pub const MAX_VECTORS: usize = 8;

/// What a bag is.
pub trait Shape: Copy + 'static {
    /// Whether every bag is one id of weight 1.
    const SINGLE: bool;
}

#[derive(Clone, Copy)]
pub struct Single;
#[derive(Clone, Copy)]
pub struct Several;

impl Shape for Single {
    const SINGLE: bool = true;
}

impl Shape for Several {
    const SINGLE: bool = false;
}

/// Pools columns `16 · first_vector..` of all bags, at most `16 · N` of them.
///
/// Bags and output have been checked against the table and each other.
pub struct Kernel<'k, 'o, S, F, B, const N: usize> {
    pub storage: S,
    pub kind: PhantomData<(F, B)>,
    pub bags: &'k Bags<'k>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub dim: usize,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
    pub first_vector: usize,
    /// Room for sorted ids.
    pub sorted: Cell<Option<&'k mut Sorted>>,
}

impl<S: Storage, F: Format, B: Shape, const N: usize> Work for Kernel<'_, '_, S, F, B, N> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: ids, bags and output have been checked; the processor has the instructions of `L`.
        unsafe {
            match (self.storage.head(), self.sorted.take()) {
                _ if self.bags.n() == 0 => {}
                (Some(head), Some(sorted)) if B::SINGLE => self.run_single::<L>(head, sorted),
                (Some(head), Some(sorted)) => self.run_groups::<L>(head, sorted),
                _ => self.run_in_order::<L>(0..self.bags.n()),
            }
        }
    }

    // One kernel for all lengths of rows, and one for all bags: hundreds of kernels for processors that few
    // have would take minutes to compile.
    fn run_portable(self) {
        // SAFETY: any processor has those instructions.
        unsafe { self.widened::<MAX_VECTORS>().run::<Portable>() }
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn run_avx2(self) {
        // SAFETY: said by the caller.
        unsafe { run_avx2(self.widened::<N>()) }
    }
}

impl<'k, 'o, S, F, B, const N: usize> Kernel<'k, 'o, S, F, B, N> {
    /// The same for any bags and up to `M` vectors.
    fn widened<const M: usize>(self) -> Kernel<'k, 'o, S, F, Several, M> {
        Kernel {
            storage: self.storage,
            kind: PhantomData,
            bags: self.bags,
            pooling: self.pooling,
            out: self.out,
            dim: self.dim,
            unit: self.unit,
            first_vector: self.first_vector,
            sorted: self.sorted,
        }
    }
}

impl<S: Storage, F: Format, B: Shape, const N: usize> Kernel<'_, '_, S, F, B, N> {
    /// A row of zeros.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn row<L: Lanes, T: Storage>(&self, storage: T) -> Row<L, T, F, N> {
        // SAFETY: said above.
        unsafe { Row::new(storage, self.dim, self.first_vector()) }
    }

    /// The first vector of this pass: rows of fewer than [`MAX_VECTORS`] have but one.
    #[inline(always)]
    fn first_vector(&self) -> usize {
        if N < MAX_VECTORS {
            0
        } else {
            self.first_vector
        }
    }

    /// Where the pooled vector of sample `b` goes, from the first column of this pass on.
    #[inline(always)]
    fn out(&self, b: usize) -> *mut f32 {
        let at = self.out.start + b * self.out.stride + self.first_vector() * LANES;
        self.out.values.as_ptr().cast_mut().wrapping_add(at)
    }

    /// Columns from the first one of this pass on.
    #[inline(always)]
    fn n_columns(&self) -> usize {
        self.dim - self.first_vector() * LANES
    }

    /// Bags `from..to`, one after the other.
    ///
    /// # Safety
    /// As [`run`](Work::run), and bags and output have been checked.
    #[inline(always)]
    unsafe fn run_in_order<L: Lanes>(&self, bags: Range<usize>) {
        let first = self.bags.range(bags.start).start;
        let mut ahead = Ahead::new(&self.bags.ids[first..]);
        // SAFETY: said above.
        unsafe {
            let mut row = self.row::<L, S>(self.storage);
            ahead.begin(&row);
            for b in bags {
                row.sums = [L::splat(0.0); N];
                if B::SINGLE {
                    row.add(ahead.next(&row, b - first), 1.0);
                    row.store(self.out(b), self.n_columns(), self.unit);
                    continue;
                }
                let range = self.bags.range_unchecked(b);
                let n_ids = range.len();
                for p in range {
                    row.add(ahead.next(&row, p - first), self.weight(p));
                }
                row.store(self.out(b), self.n_columns(), self.scale(n_ids));
            }
        }
    }

    /// Single ids: first those of the head, then the others, then those of rows that are absent, so that
    /// no branch depends on which rows are looked up.
    ///
    /// # Safety
    /// As [`run_in_order`](Self::run_in_order), and every bag is one id of weight 1.
    #[inline(always)]
    unsafe fn run_single<L: Lanes>(&self, head: Head<'_>, sorted: &mut Sorted) {
        for (i, ids) in self.bags.ids.chunks(SORTED).enumerate() {
            sorted.clear();
            // SAFETY: said above.
            unsafe {
                sorted.add::<L>(ids, i * SORTED, head.n_rows());
                self.pass::<L, Head<'_>>(head, &sorted.head);
                self.pass::<L, S>(self.storage, &sorted.tail);
                let zeros = self.row::<L, S>(self.storage);
                for &b in sorted.absent.places() {
                    zeros.store(self.out(b as usize), self.n_columns(), 1.0);
                }
            }
        }
    }

    /// Looks up one list of single ids.
    ///
    /// # Safety
    /// As [`run_single`](Self::run_single).
    #[inline(always)]
    unsafe fn pass<L: Lanes, T: Storage>(&self, storage: T, list: &List) {
        let mut ahead = Ahead::new(list.ids());
        // SAFETY: said above.
        unsafe {
            let mut row = self.row::<L, T>(storage);
            ahead.begin(&row);
            for (p, &b) in list.places().iter().enumerate() {
                row.sums = [L::splat(0.0); N];
                row.add(ahead.next(&row, p), 1.0);
                row.store(self.out(b as usize), self.n_columns(), self.unit);
            }
        }
    }

    /// Groups of bags: in each bag first the ids of the head, then the others.
    ///
    /// # Safety
    /// As [`run_in_order`](Self::run_in_order).
    #[inline(always)]
    unsafe fn run_groups<L: Lanes>(&self, head: Head<'_>, sorted: &mut Sorted) {
        let mut b = 0;
        while b < self.bags.n() {
            let end = self.group(b);
            // SAFETY: said above.
            unsafe {
                if end == b {
                    // A bag that no group has room for.
                    self.run_in_order::<L>(b..b + 1);
                    b += 1;
                    continue;
                }
                sorted.clear();
                for bag in b..end {
                    let range = self.bags.range(bag);
                    sorted.add::<L>(&self.bags.ids[range.clone()], range.start, head.n_rows());
                    sorted.ends[bag - b] = [sorted.head.n(), sorted.tail.n()];
                }
                self.pool_group::<L>(head, sorted, b..end);
            }
            b = end;
        }
    }

    /// The end of the bags from `b` on that fit into a group.
    #[inline(always)]
    fn group(&self, b: usize) -> usize {
        let first = self.bags.range(b).start;
        let last = self.bags.n().min(b + SORTED);
        let fits = |end: &usize| self.bags.range(*end).end - first <= SORTED;
        (b..last).take_while(fits).last().map_or(b, |last| last + 1)
    }

    /// Pools a group of bags whose ids have been sorted.
    ///
    /// # Safety
    /// As [`run_groups`](Self::run_groups).
    #[inline(always)]
    unsafe fn pool_group<L: Lanes>(&self, head: Head<'_>, sorted: &Sorted, bags: Range<usize>) {
        let mut ahead = [&sorted.head, &sorted.tail].map(|list| Ahead::new(list.ids()));
        let mut next = [0; 2];
        // SAFETY: said above; the sorted ids are those of the bags.
        unsafe {
            let mut row = self.row::<L, Head<'_>>(head);
            let mut tail = self.row::<L, S>(self.storage);
            ahead[0].begin(&row);
            ahead[1].begin(&tail);
            for (b, end) in bags.zip(&sorted.ends) {
                row.sums = [L::splat(0.0); N];
                for p in next[0]..end[0] {
                    let weight = self.weight(*sorted.head.places().get_unchecked(p) as usize);
                    row.add(ahead[0].next(&row, p), weight);
                }
                tail.sums = row.sums;
                for p in next[1]..end[1] {
                    let weight = self.weight(*sorted.tail.places().get_unchecked(p) as usize);
                    tail.add(ahead[1].next(&tail, p), weight);
                }
                next = *end;
                let n_ids = self.bags.range_unchecked(b).len();
                tail.store(self.out(b), self.n_columns(), self.scale(n_ids));
            }
        }
    }

    /// The weight of the id at `p`.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    unsafe fn weight(&self, p: usize) -> f32 {
        // SAFETY: there are as many weights as ids.
        self.bags
            .weights
            .map_or(1.0, |weights| unsafe { *weights.get_unchecked(p) })
    }

    /// What the sum of `n_ids` rows is multiplied with.
    #[inline(always)]
    fn scale(&self, n_ids: usize) -> f32 {
        match self.pooling {
            Pooling::Sum => self.unit,
            Pooling::Mean => self.unit / n_ids.max(1) as f32,
        }
    }
}
