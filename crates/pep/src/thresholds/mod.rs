//! The thresholds of all values: shared by many, or those of rows.

mod dense;
mod lazy;
mod rows;
mod shared;

use slimbed_embedding::{BatchIndex, EmbeddingError, SavedState, StateTensor, TrainedRows};

pub use dense::Dense;
use rows::RowThresholds;
use shared::SharedThresholds;

use crate::{Granularity, PepSettings};

/// The gradients of the unique rows of a batch, and what these rows became in the forward pass; `[U, dim]`.
#[derive(Clone, Copy)]
pub struct Gradients<'a> {
    pub index: &'a BatchIndex,
    pub dim: usize,
    pub hats: &'a [f32],
    /// Masked: 0 for pruned values.
    pub values: &'a [f32],
}

impl Gradients<'_> {
    /// The gradient of unique row `u` and what the row became.
    #[inline]
    pub fn row(&self, u: usize) -> (&[f32], &[f32]) {
        let span = u * self.dim..(u + 1) * self.dim;
        (&self.values[span.clone()], &self.hats[span])
    }
}

/// The thresholds of all values with their logits and optimiser.
#[derive(Debug)]
pub enum Thresholds {
    Shared(SharedThresholds),
    Rows(RowThresholds),
}

impl Thresholds {
    pub fn new(rows: &TrainedRows, settings: &PepSettings) -> Result<Self, EmbeddingError> {
        Ok(match settings.granularity {
            Granularity::Id => Self::Rows(RowThresholds::new(rows, 1, settings)?),
            Granularity::IdDimension => Self::Rows(RowThresholds::new(rows, rows.dim(), settings)?),
            _ => Self::Shared(SharedThresholds::new(rows, settings)),
        })
    }

    /// Brings the thresholds of the unique rows of a batch, for [`of`](Self::of).
    pub fn gather(&mut self, index: &BatchIndex) -> Result<(), EmbeddingError> {
        match self {
            Self::Shared(_) => Ok(()),
            Self::Rows(rows) => rows.gather(index),
        }
    }

    /// Those of unique row `u`, which is one of field `f`: `[dim]`, or one for the whole row.
    #[inline]
    pub fn of(&self, f: usize, u: usize) -> &[f32] {
        match self {
            Self::Shared(shared) => shared.of(f),
            Self::Rows(rows) => rows.of(u),
        }
    }

    /// Writes those of any row of field `f` to `out`, `[dim]`.
    #[inline]
    pub fn write(&self, f: usize, row: usize, out: &mut [f32]) {
        match self {
            Self::Shared(shared) => out.copy_from_slice(shared.of(f)),
            Self::Rows(rows) => rows.write(f, row, out),
        }
    }

    /// Sums the gradient of every logit.
    pub fn backward(&mut self, gradients: Gradients<'_>) {
        match self {
            Self::Shared(shared) => shared.backward(gradients),
            Self::Rows(rows) => rows.backward(gradients),
        }
    }

    /// Sum of squares of the gradients of the logits.
    pub fn norm_squared(&self, index: &BatchIndex) -> f64 {
        match self {
            Self::Shared(shared) => shared.norm_squared(),
            Self::Rows(rows) => rows.norm_squared(index),
        }
    }

    /// One step of all logits, with learning rate `lr` and the gradients times `scale`.
    pub fn step(&mut self, index: &BatchIndex, lr: f64, scale: f32) {
        match self {
            Self::Shared(shared) => shared.step(lr, scale),
            Self::Rows(rows) => rows.step(index, lr, scale),
        }
    }

    /// The mean threshold; of row thresholds in the lazy mode, that of a row which is never looked up.
    pub fn typical(&self) -> f64 {
        match self {
            Self::Shared(shared) => shared.mean(),
            Self::Rows(rows) => rows.typical(),
        }
    }

    pub fn state<'a>(&'a self, names: &[String]) -> Vec<StateTensor<'a>> {
        match self {
            Self::Shared(shared) => shared.state(),
            Self::Rows(rows) => rows.state(names),
        }
    }

    pub fn restore(
        &mut self,
        names: &[String],
        saved: &dyn SavedState,
    ) -> Result<(), EmbeddingError> {
        match self {
            Self::Shared(shared) => shared.restore(saved),
            Self::Rows(rows) => rows.restore(names, saved),
        }
    }
}
