//! One optimisation step.

use slimbed_data::Batch;
use slimbed_embedding::{Bags, EmbeddingLayer, IdBatch, PlainEmbedding, StepSize};
use slimbed_fused::{Inputs, Mode, Network};
use slimbed_rng::Seed;

use crate::{DenseNetwork, TrainError};

/// A network, its embeddings and their optimisers.
pub struct Learner {
    /// The dense part.
    pub dense: Box<dyn DenseNetwork>,
    /// The embeddings.
    pub embedding: Box<dyn EmbeddingLayer>,
    /// The first-order weights of the ids, a field each, where the network takes some.
    pub first_order: Option<PlainEmbedding>,
    /// Seed of the run.
    pub seed: Seed,
    /// Largest norm of all gradients together; 0: no clipping.
    clip_norm: f64,
    /// What was looked up for the batch.
    rows: RowValues,
    /// Its gradient.
    gradient: RowValues,
    ones: Ones,
}

/// What tables give for a batch; the buffers are kept.
#[derive(Debug, Default)]
pub(crate) struct RowValues {
    /// `[n, n_fields · dim]`.
    pub embeddings: Vec<f32>,
    /// `[n, n_fields]`; empty without first-order weights.
    pub first_order: Vec<f32>,
}

/// The dense feature of samples that have none, for a network that takes a constant then.
#[derive(Debug)]
pub enum Ones {
    /// It takes a constant.
    Filled(Vec<f32>),
    /// It takes nothing.
    Never,
}

impl Ones {
    /// What this network takes.
    pub(crate) fn of(network: &Network) -> Self {
        match network.n_dense() {
            0 => Self::Never,
            _ => Self::default(),
        }
    }

    /// As many as a batch has samples, if it has no dense features.
    fn fill(&mut self, batch: &Batch) -> &[f32] {
        match self {
            Self::Never => &[],
            Self::Filled(ones) => {
                ones.resize(batch.n, 1.0);
                ones
            }
        }
    }
}

impl Default for Ones {
    fn default() -> Self {
        Self::Filled(Vec::new())
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
            ones: Ones::of(dense.network()),
            dense,
            embedding,
            first_order: None,
            seed,
            clip_norm,
            rows: RowValues::default(),
            gradient: RowValues::default(),
        }
    }

    /// The same with first-order weights, for a network that takes them.
    pub fn with_first_order(self, weights: PlainEmbedding) -> Self {
        let first_order = Some(weights);
        Self {
            first_order,
            ..self
        }
    }

    /// Applies what lazy updates still owe to rows; before scoring, saving the result or exporting.
    pub fn settle(&mut self) {
        self.embedding.settle();
        if let Some(weights) = &mut self.first_order {
            weights.settle();
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
        self.backward()?;
        let mut scale = 1.0;
        if self.clip_norm > 0.0 {
            let norm = self.gradient_norm()?;
            result.gradient_norm = Some(norm);
            if !norm.is_finite() {
                return Ok(result);
            }
            scale = (self.clip_norm / norm).min(1.0);
        }
        let size = StepSize {
            lr: rates.embedding as f32,
            factor: rates.factor as f32,
            scale: scale as f32,
        };
        let Self {
            dense,
            embedding,
            first_order,
            ..
        } = self;
        let rows = || {
            embedding.step(size)?;
            first_order
                .as_mut()
                .map_or(Ok(()), |layer| layer.step(size))
        };
        let (dense, rows) = rayon::join(|| dense.step(rates.dense, scale), rows);
        dense?;
        rows?;
        Ok(result)
    }

    /// Writes the logits of a batch as scoring sees them, `[n]`; call [`settle`](Self::settle) before. A loss
    /// that waits for its step is forgotten.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<(), TrainError> {
        let (ids, rows) = (id_batch(batch), &mut self.rows);
        let n_values = batch.n * self.embedding.n_fields();
        rows.embeddings.resize(n_values * self.embedding.dim(), 0.0);
        self.embedding.lookup(&ids, &mut rows.embeddings)?;
        if let Some(weights) = &mut self.first_order {
            rows.first_order.resize(n_values, 0.0);
            weights.lookup(&ids, &mut rows.first_order)?;
        }
        self.dense.logits(rows.inputs(batch, &mut self.ones), out)
    }

    /// Loss of a batch, forward and backward through the dense part.
    fn loss(&mut self, batch: &Batch, step: u64) -> Result<f64, TrainError> {
        let Self {
            embedding,
            first_order,
            rows,
            gradient,
            ..
        } = self;
        let ids = id_batch(batch);
        let n_weights = first_order
            .as_ref()
            .map_or(0, |_| batch.n * embedding.n_fields());
        for values in [&mut *rows, &mut *gradient] {
            let n_values = batch.n * embedding.n_fields() * embedding.dim();
            values.embeddings.resize(n_values, 0.0);
            values.first_order.resize(n_weights, 0.0);
        }
        embedding.forward(&ids, &mut rows.embeddings)?;
        if let Some(weights) = first_order {
            weights.forward(&ids, &mut rows.first_order)?;
        }
        let mode = Mode::Train {
            seed: self.seed,
            step,
        };
        let inputs = rows.inputs(batch, &mut self.ones);
        let d_embeddings = &mut gradient.embeddings;
        self.dense.loss(inputs, &batch.labels, mode, d_embeddings)
    }

    /// Sums the gradients of the rows.
    fn backward(&mut self) -> Result<(), TrainError> {
        self.embedding.backward(&self.gradient.embeddings)?;
        if let Some(weights) = &mut self.first_order {
            let gradient = &mut self.gradient.first_order;
            self.dense.first_order_gradient(gradient)?;
            weights.backward(gradient)?;
        }
        Ok(())
    }

    fn gradient_norm(&self) -> Result<f64, TrainError> {
        let dense = self.dense.gradient_norm_squared()?;
        let weights = self.first_order.as_ref();
        let weights = weights.map_or(Ok(0.0), EmbeddingLayer::gradient_norm_squared)?;
        Ok((dense + self.embedding.gradient_norm_squared()? + weights).sqrt())
    }
}

impl RowValues {
    /// What the dense part gets of a batch.
    pub fn inputs<'a>(&'a self, batch: &'a Batch, ones: &'a mut Ones) -> Inputs<'a> {
        Inputs {
            first_order: &self.first_order,
            ..inputs(batch, &self.embeddings, ones)
        }
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

/// What the dense part gets of a batch, without first-order weights.
pub fn inputs<'a>(batch: &'a Batch, embeddings: &'a [f32], ones: &'a mut Ones) -> Inputs<'a> {
    let dense = if batch.dense.is_empty() {
        ones.fill(batch)
    } else {
        &batch.dense
    };
    Inputs {
        n: batch.n,
        dense,
        embeddings,
        first_order: &[],
    }
}
