//! The contract between a model and the training loop.

use candle_core::Tensor;
use slimbed_rng::Seed;

use crate::{NnError, Params};

/// Whether a forward pass trains or scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Training step `step`: dropout is on, its masks a function of seed, step and layer alone.
    Train {
        /// Seed of the run.
        seed: Seed,
        /// Number of the optimisation step, from 0.
        step: u64,
    },
    /// Scoring: nothing is random.
    Eval,
}

/// The dense part of a CTR model: it maps dense features and embeddings to logits.
///
/// It knows neither where the embeddings come from nor how they are stored.
pub trait Model: Send {
    /// Logits `[batch]` of `dense` `[batch, n_dense]` and `embeddings` `[batch, n_fields, dim]`.
    ///
    /// # Errors
    /// When a shape does not fit the model.
    fn forward(&self, dense: &Tensor, embeddings: &Tensor, mode: Mode) -> Result<Tensor, NnError>;

    /// The trainable tensors.
    fn params(&self) -> &Params;
}
