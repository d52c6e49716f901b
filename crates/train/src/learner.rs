//! One optimisation step.

use slimbed_data::Batch;
use slimbed_embedding::{Bags, EmbeddingLayer, IdBatch, StepSize};
use slimbed_fused::{Inputs, Mode};
use slimbed_rng::Seed;

use crate::{DenseNetwork, TrainError};

/// A network, its embeddings and their optimisers.
pub struct Learner {
    /// The dense part.
    pub dense: Box<dyn DenseNetwork>,
    /// The embeddings.
    pub embedding: Box<dyn EmbeddingLayer>,
    /// Seed of the run.
    pub seed: Seed,
    /// Largest norm of all gradients together; 0: no clipping.
    clip_norm: f64,
    /// The embeddings of the batch, `[n, n_fields · dim]`.
    embeddings: Vec<f32>,
    /// Their gradient.
    gradient: Vec<f32>,
    ones: Ones,
}

/// The dense feature of samples that have none: the network takes a constant then.
#[derive(Debug, Default)]
pub struct Ones(Vec<f32>);

impl Ones {
    /// As many as a batch has samples, if it has no dense features.
    fn of(&mut self, batch: &Batch) {
        if batch.dense.is_empty() {
            self.0.resize(batch.n, 1.0);
        }
    }
}

/// The learning rates of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of the dense parameters.
    pub dense: f64,
    /// Of the tables.
    pub embedding: f64,
    /// What the schedule has multiplied both with.
    pub factor: f64,
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
    /// A learner at step 0; `clip_norm` bounds the norm of all gradients together, 0 does not.
    pub fn new(
        dense: Box<dyn DenseNetwork>,
        embedding: Box<dyn EmbeddingLayer>,
        seed: Seed,
        clip_norm: f64,
    ) -> Self {
        Self {
            dense,
            embedding,
            seed,
            clip_norm,
            embeddings: Vec::new(),
            gradient: Vec::new(),
            ones: Ones::default(),
        }
    }

    /// Takes step number `step` (from 0) on `batch`.
    ///
    /// The result may hold a loss or a norm that is not finite; the caller decides what that means. Rows
    /// and parameters are not changed in that case. Once the largest batch has been seen, nothing is
    /// allocated (but without AVX-512 BF16, where the `gemm` crate packs its operands anew).
    ///
    /// # Errors
    /// When an id is out of range or the device fails.
    pub fn step(
        &mut self,
        batch: &Batch,
        step: u64,
        rates: Rates,
    ) -> Result<StepResult, TrainError> {
        let loss = self.loss(batch, step)?;
        let mut result = StepResult {
            loss,
            gradient_norm: None,
        };
        if !loss.is_finite() {
            return Ok(result);
        }
        self.embedding.backward(&self.gradient)?;
        let mut scale = 1.0;
        if self.clip_norm > 0.0 {
            let norm = self.gradient_norm()?;
            result.gradient_norm = Some(norm);
            if !norm.is_finite() {
                return Ok(result);
            }
            scale = (self.clip_norm / norm).min(1.0);
        }
        let Self {
            dense, embedding, ..
        } = self;
        let size = StepSize {
            lr: rates.embedding as f32,
            factor: rates.factor as f32,
            scale: scale as f32,
        };
        let (dense, rows) = rayon::join(|| dense.step(rates.dense, scale), || embedding.step(size));
        dense?;
        rows?;
        Ok(result)
    }

    /// Loss of a batch, forward and backward through the dense part.
    fn loss(&mut self, batch: &Batch, step: u64) -> Result<f64, TrainError> {
        let n_values = batch.n * self.embedding.n_fields() * self.embedding.dim();
        self.embeddings.resize(n_values, 0.0);
        self.gradient.resize(n_values, 0.0);
        self.embedding
            .forward(&id_batch(batch), &mut self.embeddings)?;
        let mode = Mode::Train {
            seed: self.seed,
            step,
        };
        let inputs = inputs(batch, &self.embeddings, &mut self.ones);
        self.dense
            .loss(inputs, &batch.labels, mode, &mut self.gradient)
    }

    fn gradient_norm(&self) -> Result<f64, TrainError> {
        let dense = self.dense.gradient_norm_squared()?;
        Ok((dense + self.embedding.gradient_norm_squared()?).sqrt())
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

/// What the dense part gets of a batch.
pub fn inputs<'a>(batch: &'a Batch, embeddings: &'a [f32], ones: &'a mut Ones) -> Inputs<'a> {
    ones.of(batch);
    let dense = if batch.dense.is_empty() {
        &ones.0
    } else {
        &batch.dense
    };
    Inputs {
        n: batch.n,
        dense,
        embeddings,
    }
}
