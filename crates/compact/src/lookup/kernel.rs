//! The lookup kernel for structures in which a row is one record.
//!
//! A loop over ids asks for the index of the id that comes a while later, finds the record of one that comes
//! sooner and asks for it, and adds the row of the current one to vectors in registers. So the latencies of
//! index and record overlap with work on other rows. It knows only ids of stored rows that stand in one
//! place; who has others sorts them first. One short loop is all that hundreds of combinations of structure,
//! value type, width and processor can each have without the compiler taking minutes.

use std::marker::PhantomData;

use super::ahead::Ahead;
use super::format::Format;
use super::isa::Work;
#[cfg(target_arch = "x86_64")]
use super::isa::run_avx2;
use super::lanes::{LANES, Lanes, Portable};
use super::pass::{Begin, Pass};
use super::row::Row;
use crate::structure::Storage;

/// Vectors that a kernel keeps in registers; longer rows take several.
pub const MAX_VECTORS: usize = 8;

/// What a bag is.
pub trait Shape: Copy + 'static {
    /// Whether every bag is one id.
    const SINGLE: bool;
    /// Whether ids have weights other than 1.
    const WEIGHTED: bool;
}

#[derive(Clone, Copy)]
pub struct Single;
#[derive(Clone, Copy)]
pub struct Several;
#[derive(Clone, Copy)]
pub struct Weighted;

impl Shape for Single {
    const SINGLE: bool = true;
    const WEIGHTED: bool = false;
}

impl Shape for Several {
    const SINGLE: bool = false;
    const WEIGHTED: bool = false;
}

impl Shape for Weighted {
    const SINGLE: bool = false;
    const WEIGHTED: bool = true;
}

/// Pools columns `16 · first_vector..` of the bags of a pass, at most `16 · N` of them.
///
/// Ids, bags and output have been checked against the table and each other.
pub struct Kernel<'k, 'o, S, F, B, const N: usize> {
    pub storage: S,
    pub kind: PhantomData<(F, B)>,
    pub pass: Pass<'k, 'o>,
    pub first_vector: usize,
}

impl<S: Storage, F: Format, B: Shape, const N: usize> Work for Kernel<'_, '_, S, F, B, N> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: said by the caller.
        unsafe {
            if may_be_lined::<S, F>() && self.storage.lined() {
                self.pool::<L, true>();
            } else {
                self.pool::<L, false>();
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

/// Whether rows of such tables can have [lanes](crate::structure::Record::lanes).
const fn may_be_lined<S: Storage, F: Format>() -> bool {
    S::LINED && F::BITS == 32
}

impl<S: Storage, F: Format, B: Shape, const N: usize> Kernel<'_, '_, S, F, B, N> {
    /// Pools all bags, of records in lines if they are `LINED`.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn pool<L: Lanes, const LINED: bool>(self) {
        let bags = &self.pass.bags;
        let (ids, n_columns) = (bags.ids, self.n_columns());
        let mut ahead = Ahead::new(ids);
        let mut p = 0;
        // SAFETY: all that is asked for has been checked; the processor has the instructions of `L`.
        unsafe {
            let dim = self.pass.setup.dim;
            let mut row = Row::<L, S, F, N, LINED>::new(self.storage, dim, self.first_vector());
            ahead.begin(&row, bags.n_asked);
            if B::SINGLE {
                while p < bags.n() {
                    let stop = ahead.advance(&row, p, bags.n());
                    while p < stop {
                        row.clear();
                        row.add(ahead.found(&row, p), None);
                        let out = self.out(bags.place(p));
                        row.store(out, n_columns, self.pass.sums.unit);
                        p += 1;
                    }
                }
                return;
            }
            for i in 0..bags.n() {
                let out = self.out(bags.place(i));
                match self.pass.sums.begin {
                    Begin::Zeros => row.clear(),
                    Begin::Output => row.load(out, n_columns),
                }
                let end = bags.end(i);
                while p < end {
                    let stop = ahead.advance(&row, p, end);
                    while p < stop {
                        let weight = B::WEIGHTED.then(|| bags.weight(p));
                        row.add(ahead.found(&row, p), weight);
                        p += 1;
                    }
                }
                row.store(out, n_columns, self.pass.sums.scale(i));
            }
        }
    }
}

impl<'k, 'o, S, F, B, const N: usize> Kernel<'k, 'o, S, F, B, N> {
    /// The same for any bags and up to `M` vectors.
    fn widened<const M: usize>(self) -> Kernel<'k, 'o, S, F, Weighted, M> {
        Kernel {
            storage: self.storage,
            kind: PhantomData,
            pass: self.pass,
            first_vector: self.first_vector,
        }
    }

    /// The first vector of this kernel: rows of fewer than [`MAX_VECTORS`] have but one.
    #[inline(always)]
    fn first_vector(&self) -> usize {
        if N < MAX_VECTORS {
            0
        } else {
            self.first_vector
        }
    }

    /// Where the pooled vector of sample `b` goes, from the first column of this kernel on.
    #[inline(always)]
    fn out(&self, b: usize) -> *mut f32 {
        let out = &self.pass.out;
        let at = out.start + b * out.stride + self.first_vector() * LANES;
        out.values.as_ptr().cast_mut().wrapping_add(at)
    }

    /// Columns from the first one of this kernel on.
    #[inline(always)]
    fn n_columns(&self) -> usize {
        self.pass.setup.dim - self.first_vector() * LANES
    }
}
