//! The lookup kernel for `positions`: every kept value is added at its column.

use super::isa::Work;
use super::lanes::Lanes;
use crate::bags::{Bags, Output, Pooling};
use crate::structure::{Positions, Run};

/// Ids between two stages: asking for the index; for the unary numbers; for the values; adding them.
const AHEAD: usize = 16;

/// Pools all bags.
pub struct Scatter<'k, 'o> {
    pub positions: &'k Positions<'k>,
    pub bags: &'k Bags<'k>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub dim: usize,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
}

impl Work for Scatter<'_, '_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let bags = self.bags;
        let mut runs = [Run::EMPTY; AHEAD];
        for p in 0..3 * AHEAD {
            // The stages of the ids before the first: those of negative numbers.
            // SAFETY: said by the caller.
            unsafe { self.stages::<L>(p, &mut runs) };
        }
        for b in 0..bags.n() {
            let range = bags.range(b);
            let scale = match self.pooling {
                Pooling::Sum => self.unit,
                Pooling::Mean => self.unit / range.len().max(1) as f32,
            };
            self.out.row(b, self.dim).fill(0.0);
            for p in range {
                let run = runs[p % AHEAD];
                // SAFETY: said by the caller.
                unsafe { self.stages::<L>(p + 3 * AHEAD, &mut runs) };
                let weight = bags.weights.map_or(1.0, |weights| weights[p]);
                self.add(b, run, weight);
            }
            let row = self.out.row(b, self.dim).iter_mut();
            row.for_each(|x| *x *= scale);
        }
    }
}

impl<'k> Scatter<'k, '_> {
    /// The first stage of id `p`, the second of the one `AHEAD` before it, the third of the one before
    /// that.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn stages<L: Lanes>(&self, p: usize, runs: &mut [Run<'k>; AHEAD]) {
        let id = |back: usize| p.checked_sub(back).and_then(|p| self.bags.ids.get(p));
        if let Some(&id) = id(0) {
            self.positions.prefetch_index(id);
        }
        if let Some(&id) = id(AHEAD) {
            self.positions.prefetch_rows(id);
        }
        if let Some(&id) = id(2 * AHEAD) {
            // SAFETY: said above.
            let run = unsafe { self.positions.locate::<L>(id) };
            self.positions.prefetch_values(run);
            runs[p % AHEAD] = run;
        }
    }

    #[inline(always)]
    fn add(&mut self, b: usize, run: Run<'_>, weight: f32) {
        let row = self.out.row(b, self.dim);
        self.positions.for_each(run, |column, x| {
            // A damaged file may name a column that is none.
            if let Some(sum) = row.get_mut(column) {
                *sum = x.mul_add(weight, *sum);
            }
        });
    }
}
