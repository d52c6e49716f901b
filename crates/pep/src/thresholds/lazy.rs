//! Adam on the logits of rows, at the cost of the rows touched.
//!
//! Weight decay moves every logit on every step, touched or not. All logits start at the same `s₀`, so those
//! without a data gradient follow one path `c(t)`: Adam with coupled weight decay from `s₀`. It is one scalar
//! with its moments, stepped once a step. An entry keeps what sets it apart: `δ = s − c`, and the differences
//! `Δm`, `Δv` of its moments from those of the path. All are 0 until its first data gradient, so an entry
//! that never had one is on the path to the last bit.
//!
//! With data gradient `g`, weight decay `λ`, `G = λ·c` and `e = g + λ·δ` a step is Adam's, written in
//! differences: `Δm ← β₁Δm + (1−β₁)·e`, `Δv ← β₂Δv + (1−β₂)·e·(e + 2G)`, and `δ` absorbs the entry's own
//! step less that of the path. While every row is touched on every step, this is dense Adam.
//!
//! Idle steps are what is approximated. For `n` of them the entry keeps its `δ`: it moves with the path, and
//! neither along the momentum of its last data gradients nor slower for its larger second moment, as dense
//! Adam would. Its moments catch up when it is next touched: `Δm ← β₁ⁿΔm + (1−β₁ⁿ)·λδ`, which is exact for a
//! constant `δ`, and `Δv ← β₂ⁿΔv + (1−β₂ⁿ)·λδ(λδ + 2G)`, which besides takes the `G` of now for the whole
//! time.

use rayon::prelude::*;
use slimbed_embedding::{BatchIndex, EmbeddingError, SavedState, StateTensor, Table};

use crate::PepSettings;
use crate::adam::Vector;

/// Rows one task updates.
const ROWS_PER_TASK: usize = 1024;

/// The path in common, and what sets entries apart from it besides their logits.
#[derive(Debug)]
pub struct Lazy {
    path: Vector,
    rule: Rule,
    fields: Vec<Field>,
}

/// State of the rows of one field.
#[derive(Debug)]
struct Field {
    /// `Δm` and `Δv`, `[n_rows, 2 · width]`.
    moments: Table,
    /// The step a row was last touched at, `[n_rows, 1]`.
    last: Table<u32>,
}

/// Adam's constants.
#[derive(Clone, Copy, Debug)]
struct Rule {
    betas: [f64; 2],
    eps: f32,
    decay: f32,
}

impl Lazy {
    /// For logits `[n_rows, width]` a field.
    pub fn new(logits: &[Table], settings: &PepSettings) -> Result<Self, EmbeddingError> {
        let field = |table: &Table| {
            Ok(Field {
                moments: Table::zeros(table.n_rows(), 2 * table.dim())?,
                last: Table::zeros(table.n_rows(), 1)?,
            })
        };
        Ok(Self {
            path: Vector::new("threshold-path", 1, settings.start, settings),
            rule: Rule {
                betas: [settings.beta1, settings.beta2],
                eps: settings.eps as f32,
                decay: settings.threshold_weight_decay as f32,
            },
            fields: logits.iter().map(field).collect::<Result<_, _>>()?,
        })
    }

    /// The logit `c` of all entries that never had a data gradient.
    #[inline]
    pub fn base(&self) -> f32 {
        self.path.values[0]
    }

    /// Whether a row was never touched.
    #[inline]
    pub fn is_on_path(&self, f: usize, row: usize) -> bool {
        self.fields[f].last.values()[row] == 0
    }

    /// One step of everything; the rows of `index` have `gradients` `[U, width]` times `scale`.
    pub fn step(
        &mut self,
        deviations: &mut [Table],
        index: &BatchIndex,
        gradients: &[f32],
        lr: f64,
        scale: f32,
    ) {
        let pull = self.rule.decay * self.base();
        self.path.step(&[0.0], lr, scale);
        let step = Step::new(self.rule, &self.path, pull, lr, scale);
        let fields = deviations.par_iter_mut().zip(&mut self.fields).enumerate();
        fields.with_max_len(1).for_each(|(f, (deviations, field))| {
            let (span, width) = (index.span(f), deviations.dim());
            let part = Part {
                first: 0,
                width,
                deviations: deviations.values_mut(),
                moments: field.moments.values_mut(),
                last: field.last.values_mut(),
            };
            let gradients = &gradients[span.start * width..span.end * width];
            step.run(part, index.rows(f), gradients);
        });
    }

    /// `threshold-path` with its optimiser, `<field>/threshold-moments` and `<field>/threshold-last`.
    pub fn state<'a>(&'a self, names: &[String]) -> impl Iterator<Item = StateTensor<'a>> {
        let fields = self.fields.iter().zip(names);
        let fields = fields.flat_map(|(field, name)| {
            let moments = field.moments.state(format!("{name}/threshold-moments"));
            [moments, field.last.state(format!("{name}/threshold-last"))]
        });
        self.path.state().chain(fields)
    }

    pub fn restore(
        &mut self,
        names: &[String],
        saved: &dyn SavedState,
    ) -> Result<(), EmbeddingError> {
        self.path.restore(saved)?;
        for (field, name) in self.fields.iter_mut().zip(names) {
            let moments = format!("{name}/threshold-moments");
            field.moments.restore(&moments, saved)?;
            field
                .last
                .restore(&format!("{name}/threshold-last"), saved)?;
        }
        Ok(())
    }
}

/// One step; what all entries share.
#[derive(Clone, Copy)]
struct Step {
    rule: Rule,
    /// β₁ and β₂, and `1 − β` taken in f64.
    betas: [f32; 2],
    rests: [f32; 2],
    /// `1 / (1 − βᵗ)`.
    corrections: [f32; 2],
    /// Number of the step, from 1.
    number: u32,
    lr: f32,
    scale: f32,
    /// `G`, the gradient of the path.
    pull: f32,
    /// Both moments of the path after the step.
    moments: [f32; 2],
    /// How far the path goes down.
    path: f32,
}

/// How much of a moment is left after the idle steps of a row, and how much of the idle gradient has come in.
#[derive(Clone, Copy)]
struct Idle {
    left: [f32; 2],
    come: [f32; 2],
}

/// Some rows of one field from `first` on.
struct Part<'a> {
    first: u32,
    width: usize,
    deviations: &'a mut [f32],
    moments: &'a mut [f32],
    last: &'a mut [u32],
}

impl Step {
    fn new(rule: Rule, path: &Vector, pull: f32, lr: f64, scale: f32) -> Self {
        let number = path.adam.n_steps();
        let correction = |beta| (1.0 / (1.0 - power(beta, number))) as f32;
        let mut step = Self {
            rule,
            betas: rule.betas.map(|beta| beta as f32),
            rests: rule.betas.map(|beta| (1.0 - beta) as f32),
            corrections: rule.betas.map(correction),
            number,
            lr: lr as f32,
            scale,
            pull,
            moments: path.adam.moments().map(|moment| moment[0]),
            path: 0.0,
        };
        step.path = step.length([0.0; 2]);
        step
    }

    /// How far down an entry goes whose moments differ from the path's by `apart`.
    #[inline(always)]
    fn length(&self, apart: [f32; 2]) -> f32 {
        let m = (self.moments[0] + apart[0]) * self.corrections[0];
        // A second moment is not negative, but a rounded difference can make it so.
        let v = (self.moments[1] + apart[1]).max(0.0) * self.corrections[1];
        self.lr * (m / (v.sqrt() + self.rule.eps))
    }

    /// Updates rising rows.
    fn run(&self, mut part: Part<'_>, rows: &[u32], gradients: &[f32]) {
        if rows.len() > ROWS_PER_TASK {
            let (left_rows, right_rows) = rows.split_at(rows.len() / 2);
            let (left, right) = gradients.split_at(left_rows.len() * part.width);
            let (left_part, right_part) = part.split_at(right_rows[0]);
            rayon::join(
                || self.run(left_part, left_rows, left),
                || self.run(right_part, right_rows, right),
            );
            return;
        }
        for (&row, gradient) in rows.iter().zip(gradients.chunks_exact(part.width)) {
            let (deviations, moments, last) = part.row(row);
            let idle = self.idle(self.number.saturating_sub(*last).saturating_sub(1));
            *last = self.number;
            let (dm, dv) = moments.split_at_mut(deviations.len());
            self.update(idle, gradient, deviations, dm, dv);
        }
    }

    fn idle(&self, n_steps: u32) -> Idle {
        let left = self.rule.betas.map(|beta| power(beta, n_steps));
        Idle {
            left: left.map(|left| left as f32),
            come: left.map(|left| (1.0 - left) as f32),
        }
    }

    /// Updates one row. The slices are arguments of a call, so that the compiler knows them apart and takes
    /// several values at a time.
    #[inline(never)]
    fn update(
        &self,
        idle: Idle,
        gradient: &[f32],
        deviations: &mut [f32],
        dm: &mut [f32],
        dv: &mut [f32],
    ) {
        let step = *self;
        let moments = dm.iter_mut().zip(dv);
        for ((deviation, &g), (dm, dv)) in deviations.iter_mut().zip(gradient).zip(moments) {
            let owed = step.rule.decay * *deviation;
            let mut m = idle.left[0] * *dm + idle.come[0] * owed;
            let mut v = idle.left[1] * *dv + idle.come[1] * step.square(owed);
            let e = step.scale * g + owed;
            m = step.betas[0] * m + step.rests[0] * e;
            v = step.betas[1] * v + step.rests[1] * step.square(e);
            *deviation += step.path - step.length([m, v]);
            (*dm, *dv) = (m, v);
        }
    }

    /// `(G + e)² − G²`.
    #[inline(always)]
    fn square(&self, e: f32) -> f32 {
        e * (e + 2.0 * self.pull)
    }
}

impl Part<'_> {
    /// The rows before `row` and those from it on.
    fn split_at(&mut self, row: u32) -> (Part<'_>, Part<'_>) {
        let n_rows = (row - self.first) as usize;
        let (deviations, deviations_after) = self.deviations.split_at_mut(n_rows * self.width);
        let (moments, moments_after) = self.moments.split_at_mut(n_rows * 2 * self.width);
        let (last, last_after) = self.last.split_at_mut(n_rows);
        let before = Part {
            first: self.first,
            width: self.width,
            deviations,
            moments,
            last,
        };
        let after = Part {
            first: row,
            width: self.width,
            deviations: deviations_after,
            moments: moments_after,
            last: last_after,
        };
        (before, after)
    }

    fn row(&mut self, row: u32) -> (&mut [f32], &mut [f32], &mut u32) {
        let (row, width) = ((row - self.first) as usize, self.width);
        let deviations = &mut self.deviations[row * width..][..width];
        let moments = &mut self.moments[row * 2 * width..][..2 * width];
        (deviations, moments, &mut self.last[row])
    }
}

/// `base^n` by repeated squaring: the same bits on every machine.
fn power(mut base: f64, mut n: u32) -> f64 {
    let mut product = 1.0;
    while n > 0 {
        if n % 2 == 1 {
            product *= base;
        }
        base *= base;
        n /= 2;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_library() {
        for base in [0.9f64, 0.999, 0.5, 0.0] {
            for n in [0, 1, 2, 255, 10_000, 20_000_000, u32::MAX] {
                let expected = base.powf(f64::from(n));
                let error = (power(base, n) - expected).abs();
                assert!(error <= 1e-9 * expected, "{base}^{n}");
            }
        }
    }
}
