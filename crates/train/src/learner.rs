//! One optimisation step.

use candle_core::{Device, Tensor};
use slimbed_data::Batch;
use slimbed_embedding::{Bags, EmbeddingLayer, IdBatch};
use slimbed_nn::{DenseOptimizer, Mode, Model, bce_with_logits, gradient_norm_squared};
use slimbed_rng::Seed;

use crate::TrainError;

/// A model, its embeddings and their optimisers.
pub struct Learner {
    /// The dense part.
    pub model: Box<dyn Model>,
    /// The embeddings.
    pub embedding: Box<dyn EmbeddingLayer>,
    /// Optimiser of the dense part.
    pub optimizer: DenseOptimizer,
    /// Where the dense part lives.
    pub device: Device,
    /// Seed of the run.
    pub seed: Seed,
    /// Largest norm of all gradients together; 0: no clipping.
    pub clip_norm: f64,
}

/// The learning rates of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of the dense parameters.
    pub dense: f64,
    /// Of the tables.
    pub embedding: f64,
}

/// What one step showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Mean loss of the batch before the step.
    pub loss: f64,
    /// Norm of all gradients before clipping; only known when clipping is on.
    pub gradient_norm: Option<f64>,
}

impl Learner {
    /// Takes step number `step` (from 0) on `batch`.
    ///
    /// The result may hold a loss that is not finite; the caller decides what that means. Rows and
    /// parameters are not changed in that case.
    ///
    /// # Errors
    /// When an id is out of range, a parameter receives no gradient, or the device fails.
    pub fn step(
        &mut self,
        batch: &Batch,
        step: u64,
        rates: Rates,
    ) -> Result<StepResult, TrainError> {
        let embeddings = self.embedding.forward(&id_batch(batch), &self.device)?;
        let dense = dense_tensor(batch, &self.device)?;
        let labels = Tensor::from_slice(&batch.labels, batch.n, &self.device)?;
        let mode = Mode::Train {
            seed: self.seed,
            step,
        };
        let logits = self.model.forward(&dense, &embeddings, mode)?;
        let loss = bce_with_logits(&logits, &labels)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Ok(StepResult {
                loss: value,
                gradient_norm: None,
            });
        }
        let mut grads = loss.backward()?;
        let sparse_norm_squared = self.embedding.take_gradients(&mut grads)?;
        let (scale, gradient_norm) = if self.clip_norm > 0.0 {
            let dense = gradient_norm_squared(self.model.params(), &grads)?;
            let norm = (dense + sparse_norm_squared).sqrt();
            ((self.clip_norm / norm).min(1.0), Some(norm))
        } else {
            (1.0, None)
        };
        self.optimizer
            .step(self.model.params(), &grads, rates.dense, scale)?;
        self.embedding.step(rates.embedding as f32, scale as f32)?;
        Ok(StepResult {
            loss: value,
            gradient_norm,
        })
    }
}

/// The ids of a batch as the embeddings take them.
pub fn id_batch(batch: &Batch) -> IdBatch<'_> {
    let bags = batch.fields.iter();
    let bags = bags.map(|field| Bags {
        ids: &field.ids,
        offsets: field.offsets.as_deref(),
    });
    IdBatch {
        n: batch.n,
        fields: bags.collect(),
    }
}

/// The dense features of a batch, `[n, n_dense]`.
///
/// # Errors
/// When the device refuses the tensor.
pub fn dense_tensor(batch: &Batch, device: &Device) -> candle_core::Result<Tensor> {
    let n_dense = batch.dense.len().checked_div(batch.n).unwrap_or(0);
    Tensor::from_slice(&batch.dense, (batch.n, n_dense), device)
}
