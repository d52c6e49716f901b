//! The contract between embeddings and the training loop.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};

use crate::{EmbeddingError, IdBatch, StateTensor, TableView};

/// Embeddings of all fields of a model: what a reduction method implements.
///
/// A training step calls [`forward`](Self::forward), lets candle differentiate, hands the gradients to
/// [`take_gradients`](Self::take_gradients), and steps. No call of a step may cost time or memory that
/// grows with the number of rows.
pub trait EmbeddingLayer: Send {
    /// Number of fields.
    fn n_fields(&self) -> usize;

    /// Size of the vectors handed to the model.
    fn dim(&self) -> usize;

    /// Embeddings `[batch, fields, dim]` in candle's graph; the gathered rows are its leaves.
    ///
    /// # Errors
    /// When an id does not exist (named with field and position) or the device refuses a tensor.
    fn forward(&mut self, ids: &IdBatch<'_>, device: &Device) -> Result<Tensor, EmbeddingError>;

    /// Takes the leaves' gradients out of `grads` and returns their sum of squares (duplicates summed
    /// first), for clipping.
    ///
    /// # Errors
    /// When there was no forward pass, or it received no gradient.
    fn take_gradients(&mut self, grads: &mut GradStore) -> Result<f64, EmbeddingError>;

    /// Updates the rows of the last forward pass with their gradients times `scale`.
    ///
    /// # Errors
    /// When no gradients were taken.
    fn step(&mut self, lr: f32, scale: f32) -> Result<(), EmbeddingError>;

    /// Applies what lazy updates still owe to rows that were not touched lately; before scoring, saving
    /// the result or exporting. Costs a pass over the tables when anything is owed.
    fn settle(&mut self);

    /// The rows as the model sees them, for scoring and export; call [`settle`](Self::settle) before.
    fn tables(&self) -> Vec<TableView<'_>>;

    /// Everything a checkpoint has to keep, optimiser state included.
    fn state(&self) -> Vec<StateTensor<'_>>;

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape.
    fn restore(&mut self, saved: &[StateTensor<'_>]) -> Result<(), EmbeddingError>;
}
