//! The contract between embeddings and the training loop.

use crate::{EmbeddingError, IdBatch, SavedState, StateTensor, TableView};

/// Embeddings of all fields of a model: what a reduction method implements.
///
/// A training step calls [`forward`](Self::forward), [`backward`](Self::backward) and
/// [`step`](Self::step). No call of a step may cost time or memory that grows with the number of rows,
/// and none allocates once buffers have grown to the size of a batch.
pub trait EmbeddingLayer: Send {
    /// Number of fields.
    fn n_fields(&self) -> usize;

    /// Size of the vectors handed to the model.
    fn dim(&self) -> usize;

    /// Writes the embeddings `[batch, fields, dim]` of a training batch to `out` and keeps what the
    /// gradient needs.
    ///
    /// # Errors
    /// When an id does not exist (named with field and position) or `out` has another length; the layer
    /// and `out` are as before then.
    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError>;

    /// Takes the gradient `[batch, fields, dim]` with respect to what `forward` wrote, and sums it per
    /// unique row.
    ///
    /// # Errors
    /// When no forward pass waits for its gradient, or the length is another one.
    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError>;

    /// Sum of squares of the gradients of the last backward pass (duplicates summed first), for
    /// clipping; added in a fixed order.
    ///
    /// # Errors
    /// When no backward pass waits for its step.
    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError>;

    /// Updates the rows of the last forward pass with their gradients times `scale`.
    ///
    /// # Errors
    /// When no backward pass waits for its step.
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
    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError>;
}
