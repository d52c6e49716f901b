//! Sparse optimisers: only the rows a batch touched are read or written.
//!
//! Each unique row gets one update with its summed gradient. What a dense optimiser would have done to
//! an untouched row is either nothing (SGD, Adagrad) or caught up when the row is next touched:
//!
//! - **Adam** decays both moments of a row by `β^Δ` for the `Δ` steps it sat out, as zero gradients
//!   would have, but does not move the row on those steps (a dense Adam would go on drifting along
//!   the old moment). Bias correction uses the global step.
//! - **Weight decay** is decoupled, `w ← w·(1 − lr·λ)` on every step; a row that sat out `Δ` steps is
//!   multiplied by all of them at once, with the learning rates of those steps. Reading rows out
//!   (scoring, export) needs [`SparseOptimizer::settle`] first, which does the same for all rows.

mod decay;
mod powers;
mod rules;
mod slots;
mod step;
mod view;

use crate::error::check_length;
use crate::{BatchIndex, EmbeddingError, SavedState, StateTensor, Table};
use decay::{from_halves, to_halves};
use powers::Powers;
use rules::{Adagrad, Adam, RowWiseAdagrad, Sgd};
use slots::Slots;
use step::Step;

/// The update rule; `g` is the gradient of one row, `t` the number of the step from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SparseRule {
    /// `w ← w − lr·g`. No state.
    Sgd,
    /// `a ← a + g²`, `w ← w − lr·g / (√a + eps)`, element by element. State: one value per parameter.
    Adagrad {
        /// Added to the root.
        eps: f32,
    },
    /// `a ← a + mean(g²)`, `w ← w − lr·g / (√a + eps)` with one `a` a row (as facebookresearch/dlrm).
    /// State: one value per row.
    RowWiseAdagrad {
        /// Added to the root.
        eps: f32,
    },
    /// Adam (arXiv 1412.6980) on touched rows, see the module page. State: two values per parameter and
    /// one step per row.
    LazyAdam {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root.
        eps: f32,
    },
}

impl SparseRule {
    /// Element-wise Adagrad with eps = 1e-10.
    pub const ADAGRAD: Self = Self::Adagrad { eps: 1e-10 };
    /// Row-wise Adagrad with eps = 1e-10.
    pub const ROW_WISE_ADAGRAD: Self = Self::RowWiseAdagrad { eps: 1e-10 };
    /// Adam with β = (0.9, 0.999) and eps = 1e-8.
    pub const LAZY_ADAM: Self = Self::LazyAdam {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
    };
}

/// One optimiser over the tables of a layer.
#[derive(Debug)]
pub struct SparseOptimizer {
    rule: SparseRule,
    weight_decay: f32,
    /// One row: the step, and the bits of `Σ ln(1 − lr·λ)` over all steps.
    clock: Table<u32>,
    slots: Vec<Slots>,
    /// `(n_rows, dim)` of the tables.
    shapes: Vec<(usize, usize)>,
    /// Of Adam's β₁ and β₂; of 0 for the other rules.
    powers: [Powers; 2],
}

impl SparseOptimizer {
    /// An optimiser at step 0 for tables of the given `(n_rows, dim)`.
    ///
    /// `weight_decay` is the λ of the module page, 0 for none.
    ///
    /// # Errors
    /// When λ is negative or the system does not give the memory of the state.
    pub fn new(
        rule: SparseRule,
        weight_decay: f32,
        shapes: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Self, EmbeddingError> {
        if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
            return Err(EmbeddingError::Setting {
                what: "weight decay of the tables".into(),
                expected: "0 or a positive number",
                found: weight_decay.to_string(),
            });
        }
        let shapes: Vec<_> = shapes.collect();
        let slots = shapes
            .iter()
            .map(|&(n_rows, dim)| Slots::new(rule, weight_decay > 0.0, n_rows, dim))
            .collect::<Result<_, _>>()?;
        let betas = match rule {
            SparseRule::LazyAdam { beta1, beta2, .. } => [beta1, beta2],
            _ => [0.0; 2],
        };
        Ok(Self {
            rule,
            weight_decay,
            clock: Table::zeros(1, 3)?,
            slots,
            shapes,
            powers: betas.map(Powers::of),
        })
    }

    /// Updates the rows of `index` with `gradients` times `scale`: `[U_f, dim]` of each table, one after the
    /// other, which is `[U, dim]` where all tables have one dim.
    ///
    /// Every row is updated by one task, so the bits do not depend on the number of threads.
    ///
    /// # Errors
    /// When the tables do not have the rows of the index, or the gradients another length; nothing is
    /// changed then.
    pub fn step(
        &mut self,
        tables: &mut [Table],
        index: &BatchIndex,
        gradients: &[f32],
        lr: f32,
        scale: f32,
    ) -> Result<(), EmbeddingError> {
        self.check(tables, index, gradients)?;
        let (number, decay_log) = self.tick(lr);
        let step = Step { index, decay_log };
        let (sgd, slots) = (Sgd { lr, scale }, &mut self.slots[..]);
        match self.rule {
            SparseRule::Sgd => step.run(sgd, tables, slots, gradients),
            SparseRule::Adagrad { eps } => step.run(Adagrad { sgd, eps }, tables, slots, gradients),
            SparseRule::RowWiseAdagrad { eps } => {
                step.run(RowWiseAdagrad { sgd, eps }, tables, slots, gradients);
            }
            SparseRule::LazyAdam { beta1, beta2, eps } => {
                let adam = Adam::new(sgd, [beta1, beta2], eps, number, &self.powers);
                step.run(adam, tables, slots, gradients);
            }
        }
        Ok(())
    }

    /// Applies the weight decay that untouched rows still owe.
    pub fn settle(&mut self, tables: &mut [Table]) {
        let decay_log = self.decay_log();
        for (slots, table) in self.slots.iter_mut().zip(tables) {
            slots.settle(table, decay_log);
        }
    }

    /// The state: the tensor `clock`, and `<table>/<slot>` for every slot of the rule.
    pub fn state(&self, names: &[String]) -> Vec<StateTensor<'_>> {
        let slots = self
            .slots
            .iter()
            .zip(names)
            .flat_map(|(slots, name)| slots.state(name));
        std::iter::once(self.clock.state("clock".into()))
            .chain(slots)
            .collect()
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape.
    pub fn restore(
        &mut self,
        names: &[String],
        saved: &dyn SavedState,
    ) -> Result<(), EmbeddingError> {
        self.clock.restore("clock", saved)?;
        self.slots
            .iter_mut()
            .zip(names)
            .try_for_each(|(slots, name)| slots.restore(name, saved))
    }

    /// Whether a step can be taken.
    fn check(
        &self,
        tables: &[Table],
        index: &BatchIndex,
        gradients: &[f32],
    ) -> Result<(), EmbeddingError> {
        let shapes = tables.iter().map(|table| (table.n_rows(), table.dim()));
        if !shapes.eq(self.shapes.iter().copied()) {
            return Err(EmbeddingError::Setting {
                what: "tables of a step".into(),
                expected: "those the optimiser was made for",
                found: format!("{} tables", tables.len()),
            });
        }
        index.check_rows(tables.iter().map(Table::n_rows))?;
        let sizes = tables.iter().enumerate();
        let expected = sizes.map(|(f, table)| index.rows(f).len() * table.dim());
        check_length("gradients of unique rows", expected.sum(), gradients.len())
    }

    fn decay_log(&self) -> f64 {
        from_halves(&self.clock.values()[1..])
    }

    /// Advances the clock by one step; returns its number and the decay of all steps so far.
    fn tick(&mut self, lr: f32) -> (u32, f64) {
        let after = self.decay_log() + (-f64::from(lr) * f64::from(self.weight_decay)).ln_1p();
        let clock = self.clock.values_mut();
        clock[0] += 1;
        clock[1..].copy_from_slice(&to_halves(after));
        (clock[0], after)
    }
}
