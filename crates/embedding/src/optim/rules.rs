//! The update of one row.

use crate::{EmbeddingError, SparseRule, StateTensor, Table};

/// What all rows of one step share.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub rule: SparseRule,
    /// Number of the step, from 1.
    pub step: u32,
    pub lr: f32,
    pub scale: f32,
    /// `Σ ln(1 − lr·λ)` up to and including this step.
    pub decay_log: f64,
}

/// The state of one table; a slot exists only when the rule needs it.
#[derive(Debug)]
pub struct Slots {
    /// Adagrad: squared gradients, `[n_rows, dim]`; row-wise `[n_rows, 1]`.
    sum: Option<Table>,
    /// Adam: moments, first and second next to each other, `[n_rows, 2·dim]`.
    moments: Option<Table>,
    /// Adam: the step a row was last touched at, `[n_rows, 1]`.
    last: Option<Table<u32>>,
    /// Weight decay: `Σ ln(1 − lr·λ)` a row has had, an f64 in two halves, `[n_rows, 2]`.
    decayed: Option<Table<u32>>,
}

impl Slots {
    pub fn new(
        rule: SparseRule,
        decays: bool,
        n_rows: usize,
        dim: usize,
    ) -> Result<Self, EmbeddingError> {
        let mut slots = Self {
            sum: None,
            moments: None,
            last: None,
            decayed: None,
        };
        match rule {
            SparseRule::Sgd => {}
            SparseRule::Adagrad { .. } => slots.sum = Some(Table::zeros(n_rows, dim)?),
            SparseRule::RowWiseAdagrad { .. } => slots.sum = Some(Table::zeros(n_rows, 1)?),
            SparseRule::LazyAdam { .. } => {
                slots.moments = Some(Table::zeros(n_rows, 2 * dim)?);
                slots.last = Some(Table::zeros(n_rows, 1)?);
            }
        }
        if decays {
            slots.decayed = Some(Table::zeros(n_rows, 2)?);
        }
        Ok(slots)
    }

    /// One step of one row.
    pub fn update(&mut self, now: &Now, table: &mut Table, row: u32, gradient: &[f32]) {
        if let Some(decayed) = &mut self.decayed {
            decay(decayed.row_mut(row), table.row_mut(row), now.decay_log);
        }
        let w = table.row_mut(row);
        let (lr, scale) = (now.lr, now.scale);
        match (now.rule, &mut self.sum, &mut self.moments, &mut self.last) {
            (SparseRule::Adagrad { eps }, Some(sum), ..) => {
                adagrad(w, gradient, sum.row_mut(row), lr, scale, eps);
            }
            (SparseRule::RowWiseAdagrad { eps }, Some(sum), ..) => {
                row_wise_adagrad(w, gradient, &mut sum.row_mut(row)[0], lr, scale, eps);
            }
            (SparseRule::LazyAdam { beta1, beta2, eps }, _, Some(moments), Some(last)) => {
                let last = &mut last.row_mut(row)[0];
                let idle = now.step - *last - 1;
                *last = now.step;
                let adam = Adam::new(beta1, beta2, eps, now, idle);
                adam.update(w, gradient, moments.row_mut(row), scale);
            }
            _ => sgd(w, gradient, lr, scale),
        }
    }

    /// Applies to every row the weight decay it still owes.
    pub fn settle(&mut self, table: &mut Table, decay_log: f64) {
        if let Some(decayed) = &mut self.decayed {
            for row in 0..table.n_rows() as u32 {
                decay(decayed.row_mut(row), table.row_mut(row), decay_log);
            }
        }
    }

    pub fn state<'a>(&'a self, table: &str) -> Vec<StateTensor<'a>> {
        let name = |slot: &str| format!("{table}/{slot}");
        let sum = self.sum.iter().map(|t| t.state(name("sum")));
        let moments = self.moments.iter().map(|t| t.state(name("moments")));
        let last = self.last.iter().map(|t| t.state(name("last")));
        let decayed = self.decayed.iter().map(|t| t.state(name("decayed")));
        sum.chain(moments).chain(last).chain(decayed).collect()
    }

    pub fn restore(
        &mut self,
        table: &str,
        saved: &[StateTensor<'_>],
    ) -> Result<(), EmbeddingError> {
        let name = |slot: &str| format!("{table}/{slot}");
        for (slot, target) in [("sum", &mut self.sum), ("moments", &mut self.moments)] {
            target
                .iter_mut()
                .try_for_each(|t| t.restore(&name(slot), saved))?;
        }
        for (slot, target) in [("last", &mut self.last), ("decayed", &mut self.decayed)] {
            target
                .iter_mut()
                .try_for_each(|t| t.restore(&name(slot), saved))?;
        }
        Ok(())
    }
}

/// An f64 as two 32-bit halves, low first.
pub fn to_halves(x: f64) -> [u32; 2] {
    [x.to_bits() as u32, (x.to_bits() >> 32) as u32]
}

/// The f64 whose halves these are.
pub fn from_halves(halves: &[u32]) -> f64 {
    f64::from_bits(u64::from(halves[0]) | u64::from(halves[1]) << 32)
}

/// Brings a row from the decay it has had to `target`.
fn decay(had: &mut [u32], w: &mut [f32], target: f64) {
    let factor = (target - from_halves(had)).exp() as f32;
    had.copy_from_slice(&to_halves(target));
    w.iter_mut().for_each(|w| *w *= factor);
}

fn sgd(w: &mut [f32], gradient: &[f32], lr: f32, scale: f32) {
    for (w, g) in w.iter_mut().zip(gradient) {
        *w -= lr * (scale * g);
    }
}

fn adagrad(w: &mut [f32], gradient: &[f32], sum: &mut [f32], lr: f32, scale: f32, eps: f32) {
    for ((w, g), a) in w.iter_mut().zip(gradient).zip(sum) {
        let g = scale * g;
        *a += g * g;
        *w -= lr * g / (a.sqrt() + eps);
    }
}

fn row_wise_adagrad(w: &mut [f32], gradient: &[f32], sum: &mut f32, lr: f32, scale: f32, eps: f32) {
    let squares: f32 = gradient.iter().map(|g| (scale * g) * (scale * g)).sum();
    *sum += squares / gradient.len() as f32;
    sgd(w, gradient, lr / (sum.sqrt() + eps), scale);
}

/// Adam's constants for one row on one step.
struct Adam {
    beta1: f32,
    beta2: f32,
    eps: f32,
    /// What the moments lose for the steps sat out.
    idle1: f32,
    idle2: f32,
    /// `lr / (1 − β₁ᵗ)` and `1 / (1 − β₂ᵗ)`.
    rate: f32,
    correction2: f32,
}

impl Adam {
    fn new(beta1: f32, beta2: f32, eps: f32, now: &Now, idle: u32) -> Self {
        let power = |beta: f32, n: u32| f64::from(beta).powf(f64::from(n));
        Self {
            beta1,
            beta2,
            eps,
            idle1: power(beta1, idle) as f32,
            idle2: power(beta2, idle) as f32,
            rate: (f64::from(now.lr) / (1.0 - power(beta1, now.step))) as f32,
            correction2: (1.0 / (1.0 - power(beta2, now.step))) as f32,
        }
    }

    fn update(&self, w: &mut [f32], gradient: &[f32], moments: &mut [f32], scale: f32) {
        let (m, v) = moments.split_at_mut(gradient.len());
        for (((w, g), m), v) in w.iter_mut().zip(gradient).zip(m).zip(v) {
            let g = scale * g;
            *m = self.beta1 * (*m * self.idle1) + (1.0 - self.beta1) * g;
            *v = self.beta2 * (*v * self.idle2) + (1.0 - self.beta2) * g * g;
            *w -= self.rate * *m / ((*v * self.correction2).sqrt() + self.eps);
        }
    }
}
