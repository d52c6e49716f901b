//! The lookup kernel for `positions`: every kept value is added at its column.

use super::isa::Work;
use super::lanes::Lanes;
use crate::bags::{Bags, Output, Pooling};
use crate::structure::{Positions, Run};

/// Ids between two stages: asking for the index, for the unary numbers, for the values, adding.
const AHEAD: usize = 8;

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
        let (bags, positions) = (self.bags, self.positions);
        let n_ids = bags.ids.len();
        for p in 0..n_ids.min(AHEAD) {
            positions.prefetch_index(bags.ids[p]);
        }
        for p in 0..n_ids.min(AHEAD) {
            self.stage(p);
        }
        for b in 0..bags.n() {
            let range = bags.range(b);
            let scale = match self.pooling {
                Pooling::Sum => self.unit,
                Pooling::Mean => self.unit / range.len().max(1) as f32,
            };
            self.out.row(b, self.dim).fill(0.0);
            for p in range {
                self.stage(p + AHEAD);
                let weight = bags.weights.map_or(1.0, |weights| weights[p]);
                // SAFETY: ids have been checked, and the caller's processor has the instructions.
                let run = unsafe { positions.locate::<L>(bags.ids[p]) };
                self.add(b, run, weight);
            }
            self.out
                .row(b, self.dim)
                .iter_mut()
                .for_each(|x| *x *= scale);
        }
    }
}

impl Scatter<'_, '_> {
    /// Asks for the unary numbers of id `p`, and for the index of one that comes later.
    #[inline(always)]
    fn stage(&self, p: usize) {
        if let Some(&id) = self.bags.ids.get(p + AHEAD) {
            self.positions.prefetch_index(id);
        }
        if let Some(&id) = self.bags.ids.get(p) {
            self.positions.prefetch_rows(id);
        }
    }

    #[inline(always)]
    fn add(&mut self, b: usize, run: Run, weight: f32) {
        self.positions.prefetch_values(run);
        let row = self.out.row(b, self.dim);
        for i in run.first..run.first + run.kept {
            let x = self.positions.value(i, run.affine);
            // A damaged file may name a column that is none.
            if let Some(sum) = row.get_mut(self.positions.column(i)) {
                *sum = x.mul_add(weight, *sum);
            }
        }
    }
}
