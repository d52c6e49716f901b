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

mod rules;

use rayon::prelude::*;

use crate::{BatchIndex, EmbeddingError, StateTensor, Table};
use rules::{Now, Slots};

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
        let slots = shapes
            .map(|(n_rows, dim)| Slots::new(rule, weight_decay > 0.0, n_rows, dim))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rule,
            weight_decay,
            clock: Table::zeros(1, 3)?,
            slots,
        })
    }

    /// Updates the rows of `index` with `gradients` `[U, dim]` times `scale`.
    ///
    /// Fields go to different threads; every row is updated by one of them, so the bits do not depend on
    /// their number.
    pub fn step(
        &mut self,
        tables: &mut [Table],
        index: &BatchIndex,
        gradients: &[f32],
        lr: f32,
        scale: f32,
    ) {
        let now = self.tick(lr, scale);
        self.slots
            .par_iter_mut()
            .zip(tables)
            .enumerate()
            .for_each(|(f, (slots, table))| {
                let dim = table.dim();
                let span = index.span(f);
                let gradients = &gradients[span.start * dim..span.end * dim];
                for (&row, gradient) in index.rows(f).iter().zip(gradients.chunks_exact(dim)) {
                    slots.update(&now, table, row, gradient);
                }
            });
    }

    /// Applies the weight decay that untouched rows still owe.
    pub fn settle(&mut self, tables: &mut [Table]) {
        if self.weight_decay > 0.0 {
            let decay_log = self.decay_log();
            self.slots
                .par_iter_mut()
                .zip(tables)
                .for_each(|(slots, table)| slots.settle(table, decay_log));
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
        saved: &[StateTensor<'_>],
    ) -> Result<(), EmbeddingError> {
        self.clock.restore("clock", saved)?;
        self.slots
            .iter_mut()
            .zip(names)
            .try_for_each(|(slots, name)| slots.restore(name, saved))
    }

    fn decay_log(&self) -> f64 {
        rules::from_halves(&self.clock.values()[1..])
    }

    /// Advances the clock by one step.
    fn tick(&mut self, lr: f32, scale: f32) -> Now {
        let before = self.decay_log();
        let after = before + (-f64::from(lr) * f64::from(self.weight_decay)).ln_1p();
        let clock = self.clock.values_mut();
        clock[0] += 1;
        clock[1..].copy_from_slice(&rules::to_halves(after));
        Now {
            rule: self.rule,
            step: clock[0],
            lr,
            scale,
            decay_log: after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bags, IdBatch, Pooling};

    const RULES: [SparseRule; 4] = [
        SparseRule::Sgd,
        SparseRule::ADAGRAD,
        SparseRule::ROW_WISE_ADAGRAD,
        SparseRule::LAZY_ADAM,
    ];

    /// One table of 4 rows, one field; each step touches the given rows with gradient `sin(row + step)`.
    struct Bench {
        tables: Vec<Table>,
        optimizer: SparseOptimizer,
        step: usize,
    }

    impl Bench {
        fn new(rule: SparseRule, weight_decay: f32) -> Self {
            let mut table = Table::zeros(4, 2).unwrap();
            table
                .values_mut()
                .copy_from_slice(&[1.0, -1.0, 0.5, 0.25, 2.0, -2.0, 0.1, 0.2]);
            let optimizer =
                SparseOptimizer::new(rule, weight_decay, std::iter::once((4, 2))).unwrap();
            Self {
                tables: vec![table],
                optimizer,
                step: 0,
            }
        }

        fn touch(&mut self, ids: &[u32], lr: f32) {
            let batch = IdBatch {
                n: ids.len(),
                fields: vec![Bags { ids, offsets: None }],
            };
            let index = BatchIndex::new(&batch, &[Pooling::Sum]).unwrap();
            let gradients: Vec<f32> = index
                .rows(0)
                .iter()
                .flat_map(|&row| [0, 1].map(|j| gradient(row, self.step, j)))
                .collect();
            self.optimizer
                .step(&mut self.tables, &index, &gradients, lr, 1.0);
            self.step += 1;
        }

        fn values(&mut self) -> Vec<f32> {
            self.optimizer.settle(&mut self.tables);
            self.tables[0].values().to_vec()
        }
    }

    fn gradient(row: u32, step: usize, j: usize) -> f32 {
        (row as f32 + 0.3 * step as f32 + j as f32).sin()
    }

    #[test]
    fn untouched_rows_stay_without_weight_decay() {
        for rule in RULES {
            let mut bench = Bench::new(rule, 0.0);
            let start = bench.values();
            bench.touch(&[1, 3], 0.1);
            let end = bench.values();
            assert_eq!((&start[0..2], &start[4..6]), (&end[0..2], &end[4..6]));
            assert!(start[2] != end[2] && start[6] != end[6]);
        }
    }

    #[test]
    fn formulas_in_f64_for_a_row_touched_on_every_step() {
        for rule in RULES {
            let mut bench = Bench::new(rule, 0.0);
            (0..5).for_each(|_| bench.touch(&[2], 0.05));
            let found = bench.values();
            let expected = reference(rule, [2.0, -2.0], 2, &[0, 1, 2, 3, 4], 5);
            for j in 0..2 {
                assert!(
                    (f64::from(found[4 + j]) - expected[j]).abs() < 1e-5,
                    "{rule:?}"
                );
            }
        }
    }

    #[test]
    fn adam_catches_its_moments_up() {
        let mut bench = Bench::new(SparseRule::LAZY_ADAM, 0.0);
        for ids in [&[0u32][..], &[1], &[1], &[0], &[1], &[0]] {
            bench.touch(ids, 0.05);
        }
        let expected = reference(SparseRule::LAZY_ADAM, [1.0, -1.0], 0, &[0, 3, 5], 6);
        let found = bench.values();
        assert!(
            (f64::from(found[0]) - expected[0]).abs() < 1e-5,
            "{} {}",
            found[0],
            expected[0]
        );
    }

    /// The rule in f64 over `n_steps`, the row being touched on the steps in `touched` only.
    fn reference(
        rule: SparseRule,
        mut w: [f64; 2],
        row: u32,
        touched: &[usize],
        n_steps: usize,
    ) -> [f64; 2] {
        let (mut a, mut m, mut v) = ([0f64; 2], [0f64; 2], [0f64; 2]);
        let lr = 0.05;
        for step in 0..n_steps {
            let on = touched.contains(&step);
            let g = [0, 1].map(|j| {
                if on {
                    f64::from(gradient(row, step, j))
                } else {
                    0.0
                }
            });
            let mean = (g[0] * g[0] + g[1] * g[1]) / 2.0;
            let t = step as i32 + 1;
            for j in 0..2 {
                m[j] = 0.9 * m[j] + 0.1 * g[j];
                v[j] = 0.999 * v[j] + 0.001 * g[j] * g[j];
                let moved = match rule {
                    SparseRule::Sgd => g[j],
                    SparseRule::Adagrad { .. } => {
                        a[j] += g[j] * g[j];
                        g[j] / (a[j].sqrt() + 1e-10)
                    }
                    SparseRule::RowWiseAdagrad { .. } => {
                        a[j] += mean;
                        g[j] / (a[j].sqrt() + 1e-10)
                    }
                    SparseRule::LazyAdam { .. } => {
                        let (m, v) = (
                            m[j] / (1.0 - 0.9f64.powi(t)),
                            v[j] / (1.0 - 0.999f64.powi(t)),
                        );
                        m / (v.sqrt() + 1e-8)
                    }
                };
                w[j] -= if on { lr * moved } else { 0.0 };
            }
        }
        w
    }

    #[test]
    fn lazy_weight_decay_equals_decay_on_every_step() {
        let rates = [0.1f32, 0.2, 0.05, 0.3];
        let mut bench = Bench::new(SparseRule::Sgd, 0.5);
        for (i, &lr) in rates.iter().enumerate() {
            bench.touch(if i == 2 { &[0] } else { &[1] }, lr);
        }
        let decay: f64 = rates.iter().map(|&lr| 1.0 - 0.5 * f64::from(lr)).product();
        let values = bench.values();
        assert!(
            (f64::from(values[4]) - 2.0 * decay).abs() < 1e-6,
            "never touched"
        );
        let mut w = 1.0;
        for (i, &lr) in rates.iter().enumerate() {
            w *= 1.0 - 0.5 * f64::from(lr);
            w -= if i == 2 {
                f64::from(lr * gradient(0, 2, 0))
            } else {
                0.0
            };
        }
        assert!((f64::from(values[0]) - w).abs() < 1e-6, "touched once");
        assert_eq!(values, bench.values(), "settling twice owes nothing");
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        let names = ["C1".to_owned()];
        for rule in RULES {
            let mut whole = Bench::new(rule, 0.01);
            whole.touch(&[0, 2], 0.1);
            whole.touch(&[2, 3], 0.1);
            let mut resumed = Bench::new(rule, 0.01);
            resumed.tables[0]
                .values_mut()
                .copy_from_slice(whole.tables[0].values());
            resumed.step = 2;
            resumed
                .optimizer
                .restore(&names, &whole.optimizer.state(&names))
                .unwrap();
            for bench in [&mut whole, &mut resumed] {
                bench.touch(&[0, 3], 0.2);
            }
            assert_eq!(whole.values(), resumed.values(), "{rule:?}");
        }
    }

    #[test]
    fn a_state_of_another_shape_is_refused() {
        let mut bench = Bench::new(SparseRule::ADAGRAD, 0.0);
        let other =
            SparseOptimizer::new(SparseRule::ADAGRAD, 0.0, std::iter::once((3, 2))).unwrap();
        let names = ["C1".to_owned()];
        let error = bench
            .optimizer
            .restore(&names, &other.state(&names))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("C1/sum") && error.contains("(3, 2)"),
            "{error}"
        );
    }
}
