//! One run of a kernel, and the choice of it.

use std::marker::PhantomData;

use super::format::{self, Format};
use super::isa::{Isa, Work};
use super::kernel::{Kernel, MAX_VECTORS, Several, Shape, Single, Weighted};
use super::lanes::LANES;
use crate::Values;
use crate::bags::Output;
use crate::structure::{Core, Storage};

/// Bags of ids of stored rows that stand in one place.
#[derive(Clone, Copy)]
pub struct PassBags<'k> {
    pub ids: &'k [u32],
    /// How many of them, the last ones, are in no bag: their rows are only asked for.
    pub n_next: usize,
    /// How many of them, the first ones, have been asked for.
    pub n_asked: usize,
    /// Where the ids of each bag end; `None`: one id each.
    pub ends: Option<&'k [u32]>,
    /// What each row is multiplied with; `None`: 1.
    pub weights: Option<&'k [f32]>,
    /// Of which sample each bag is; `None`: bag `i` of sample `i`.
    pub places: Option<&'k [u32]>,
}

/// What rows are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Zeros,
    /// What the output holds.
    Output,
}

/// How rows become sums.
#[derive(Clone, Copy, Debug)]
pub struct Sums<'k> {
    pub begin: Begin,
    /// What sums are multiplied with.
    pub unit: f32,
    /// For means: offsets of the bags whose lengths sums are divided by.
    pub lengths: Option<&'k [u32]>,
}

/// One run of a kernel over checked ids.
pub struct Pass<'k, 'o> {
    pub bags: PassBags<'k>,
    pub out: Output<'o>,
    pub sums: Sums<'k>,
    pub setup: Setup,
}

/// What all passes of a lookup have in common.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub dim: usize,
    pub values: Values,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
    pub isa: Isa,
}

impl<'k> PassBags<'k> {
    /// Each id a bag.
    pub fn of(ids: &'k [u32]) -> Self {
        Self {
            ids,
            n_next: 0,
            n_asked: 0,
            ends: None,
            weights: None,
            places: None,
        }
    }

    /// Number of bags.
    #[inline(always)]
    pub fn n(&self) -> usize {
        let n_ids = self.ids.len() - self.n_next;
        self.ends.map_or(n_ids, <[u32]>::len)
    }

    /// The sample of bag `i`.
    ///
    /// # Safety
    /// There is a bag `i`.
    #[inline(always)]
    pub unsafe fn place(&self, i: usize) -> usize {
        // SAFETY: every bag has a place.
        let place = |places: &[u32]| unsafe { *places.get_unchecked(i) };
        self.places.map_or(i, |places| place(places) as usize)
    }

    /// Where the ids of bag `i` end.
    ///
    /// # Safety
    /// There is a bag `i`.
    #[inline(always)]
    pub unsafe fn end(&self, i: usize) -> usize {
        // SAFETY: every bag has an end.
        let end = |ends: &[u32]| unsafe { *ends.get_unchecked(i) };
        self.ends.map_or(i + 1, |ends| end(ends) as usize)
    }

    /// The weight of the id at `p`.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    pub unsafe fn weight(&self, p: usize) -> f32 {
        // SAFETY: there are as many weights as ids.
        let weight = |weights: &[f32]| unsafe { *weights.get_unchecked(p) };
        self.weights.map_or(1.0, weight)
    }
}

impl Sums<'_> {
    /// What the sum of bag `i` is multiplied with.
    ///
    /// # Safety
    /// There is a bag `i`.
    #[inline(always)]
    pub unsafe fn scale(&self, i: usize) -> f32 {
        match self.lengths {
            None => self.unit,
            // SAFETY: there is one offset more than bags.
            Some(offsets) => unsafe {
                let length = offsets.get_unchecked(i + 1) - offsets.get_unchecked(i);
                self.unit / length.max(1) as f32
            },
        }
    }
}

impl Pass<'_, '_> {
    /// Runs the kernel of a structure; `positions` has its own.
    ///
    /// # Safety
    /// Ids are rows of the structure behind its head; ends, places and weights fit them, `lengths` the bags,
    /// and the output has room for every place.
    pub unsafe fn run(self, core: &Core<'_>) {
        // SAFETY: said above.
        unsafe {
            match core {
                Core::Dense(dense) => self.run_stored(*dense),
                Core::Lines(lines) => self.run_stored(*lines),
                Core::Steps(steps) => self.run_stored(*steps),
                Core::Prefix(ragged) => self.run_stored(*ragged),
                Core::Bitmap(ragged) => self.run_stored(*ragged),
                Core::List(ragged) => self.run_stored(*ragged),
                Core::Positions(_) => {}
            }
        }
    }

    /// The same for one structure, or for the head of one.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    pub unsafe fn run_stored<S: Storage>(self, storage: S) {
        // SAFETY: said above.
        unsafe {
            match self.setup.values {
                Values::F32 => self.by_width::<S, format::F32>(storage),
                Values::F16 => self.by_width::<S, format::F16>(storage),
                Values::Int8 => self.by_width::<S, format::Int8>(storage),
                Values::Int4 => self.by_width::<S, format::Int4>(storage),
            }
        }
    }

    /// The same for values of a type.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    pub unsafe fn by_width<S: Storage, F: Format>(mut self, storage: S) {
        let n_vectors = self.setup.dim.div_ceil(LANES);
        for first in (0..n_vectors).step_by(MAX_VECTORS) {
            let pass = self.reborrow();
            // SAFETY: said by the caller.
            unsafe {
                match n_vectors {
                    1 => pass.by_shape::<S, F, 1>(storage, first),
                    2 => pass.by_shape::<S, F, 2>(storage, first),
                    3..=4 => pass.by_shape::<S, F, 4>(storage, first),
                    _ => pass.by_shape::<S, F, MAX_VECTORS>(storage, first),
                }
            }
        }
    }

    unsafe fn by_shape<S: Storage, F: Format, const N: usize>(self, storage: S, first: usize) {
        let PassBags { ends, weights, .. } = self.bags;
        // SAFETY: said by the caller.
        unsafe {
            if weights.is_some() {
                self.kernel::<S, F, Weighted, N>(storage, first);
            } else if ends.is_none() && self.sums.begin == Begin::Zeros {
                self.kernel::<S, F, Single, N>(storage, first);
            } else {
                self.kernel::<S, F, Several, N>(storage, first);
            }
        }
    }

    unsafe fn kernel<S: Storage, F: Format, B: Shape, const N: usize>(
        self,
        storage: S,
        first_vector: usize,
    ) {
        let isa = self.setup.isa;
        let kernel = Kernel::<S, F, B, N> {
            storage,
            kind: PhantomData,
            pass: self,
            first_vector,
        };
        kernel.run_on(isa);
    }

    fn reborrow(&mut self) -> Pass<'_, '_> {
        Pass {
            out: self.out.reborrow(),
            ..*self
        }
    }
}
