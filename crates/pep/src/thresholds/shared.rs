//! Thresholds that many rows share: a small vector that takes a step as a whole.

use rayon::prelude::*;
use slimbed_embedding::{EmbeddingError, SavedState, StateTensor, TrainedRows, sum_of_squares};

use super::Gradients;
use crate::adam::Vector;
use crate::shrink::{signed, slope};
use crate::sigmoid::sigmoid;
use crate::{Granularity, PepSettings};

/// One logit for all values, for each column, for each field or for each column of a field.
#[derive(Debug)]
pub struct SharedThresholds {
    granularity: Granularity,
    dim: usize,
    logits: Vector,
    /// `σ` of the logits, spread over `[fields, dim]`.
    tau: Vec<f32>,
    /// `Σ sign(v) · ∂L/∂v̂` over the unique rows of each field, `[fields, dim]`.
    field_sums: Vec<f64>,
    /// The same over all values that share a logit.
    sums: Vec<f64>,
    gradient: Vec<f32>,
}

impl SharedThresholds {
    pub fn new(rows: &TrainedRows, settings: &PepSettings) -> Self {
        let (n_fields, dim) = (rows.tables().len(), rows.dim());
        let n = match settings.granularity {
            Granularity::Dimension => dim,
            Granularity::Field => n_fields,
            Granularity::FieldDimension => n_fields * dim,
            Granularity::Global | Granularity::Id | Granularity::IdDimension => 1,
        };
        let mut shared = Self {
            granularity: settings.granularity,
            dim,
            logits: Vector::new("thresholds", n, settings.start, settings),
            tau: vec![0.0; n_fields * dim],
            field_sums: vec![0.0; n_fields * dim],
            sums: vec![0.0; n],
            gradient: vec![0.0; n],
        };
        shared.spread();
        shared
    }

    /// The thresholds of the rows of field `f`, `[dim]`.
    #[inline]
    pub fn of(&self, f: usize) -> &[f32] {
        &self.tau[f * self.dim..][..self.dim]
    }

    pub fn backward(&mut self, gradients: Gradients<'_>) {
        let fields = self.field_sums.par_chunks_mut(self.dim).enumerate();
        let fields = fields.with_max_len(1);
        fields.for_each(|(f, sums)| sum_field(f, gradients, sums));
        self.sums.fill(0.0);
        for i in 0..self.field_sums.len() {
            let place = self.place(i);
            self.sums[place] += self.field_sums[i];
        }
        let logits = self.logits.values.iter().zip(&self.sums);
        for (gradient, (&s, &sum)) in self.gradient.iter_mut().zip(logits) {
            *gradient = sum as f32 * slope(sigmoid(s));
        }
    }

    pub fn norm_squared(&self) -> f64 {
        sum_of_squares(&self.gradient)
    }

    pub fn step(&mut self, lr: f64, scale: f32) {
        self.logits.step(&self.gradient, lr, scale);
        self.spread();
    }

    pub fn mean(&self) -> f64 {
        let sum: f64 = self.tau.iter().map(|&tau| f64::from(tau)).sum();
        sum / self.tau.len().max(1) as f64
    }

    pub fn state(&self) -> Vec<StateTensor<'_>> {
        self.logits.state().collect()
    }

    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.logits.restore(saved)?;
        self.spread();
        Ok(())
    }

    /// The logit of value `i` of `[fields, dim]`.
    fn place(&self, i: usize) -> usize {
        match self.granularity {
            Granularity::Dimension => i % self.dim,
            Granularity::Field => i / self.dim,
            Granularity::FieldDimension => i,
            Granularity::Global | Granularity::Id | Granularity::IdDimension => 0,
        }
    }

    fn spread(&mut self) {
        for i in 0..self.tau.len() {
            self.tau[i] = sigmoid(self.logits.values[self.place(i)]);
        }
    }
}

/// Adds the unique rows of field `f` in their order.
fn sum_field(f: usize, gradients: Gradients<'_>, sums: &mut [f64]) {
    sums.fill(0.0);
    for u in gradients.index.span(f) {
        let (gradient, hat) = gradients.row(u);
        for (sum, (&g, &hat)) in sums.iter_mut().zip(gradient.iter().zip(hat)) {
            *sum += f64::from(signed(g, hat));
        }
    }
}
