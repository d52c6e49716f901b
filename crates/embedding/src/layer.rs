//! The contract between embeddings and the training loop.

use std::any::Any;

use crate::{EmbeddingError, FieldSpec, FieldTables, IdBatch, Pooling, SavedState, StateTensor};

/// Embeddings of all fields of a model: what a reduction method implements.
///
/// A training step calls [`forward`](Self::forward), [`backward`](Self::backward) and
/// [`step`](Self::step). No call of a step may cost time or memory that grows with the number of rows,
/// and none allocates once buffers have grown to the size of a batch.
pub trait EmbeddingLayer: Any + Send {
    /// Fields, rows and dim.
    fn shape(&self) -> &LayerShape;

    /// Number of fields.
    fn n_fields(&self) -> usize {
        self.shape().n_rows.len()
    }

    /// Size of the vectors handed to the model.
    fn dim(&self) -> usize {
        self.shape().dim
    }

    /// Number of rows of field `f`.
    fn n_rows(&self, f: usize) -> usize {
        self.shape().n_rows[f]
    }

    /// Values that training keeps for the rows, optimiser state apart.
    fn n_trained(&self) -> u64 {
        let rows: usize = (0..self.n_fields()).map(|f| self.n_rows(f)).sum();
        (rows * self.dim()) as u64
    }

    /// How the bags of each field become one vector.
    fn pooling(&self) -> &[Pooling] {
        &self.shape().pooling
    }

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

    /// Updates the rows of the last forward pass, and whatever else the method learns.
    ///
    /// # Errors
    /// When no backward pass waits for its step.
    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError>;

    /// Applies what lazy updates still owe to rows that were not touched lately; before scoring, saving
    /// the result or exporting. Costs a pass over the tables when anything is owed.
    fn settle(&mut self);

    /// Whether the rows are already as the method wants to ship them: validations before that do not count.
    fn is_ready(&self) -> bool {
        true
    }

    /// Writes the embeddings `[batch, fields, dim]` of a batch to `out` as scoring sees them; call
    /// [`settle`](Self::settle) before. A forward pass that waits for its gradient is forgotten.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError>;

    /// Writes the rows of field `f` from `first` on to `out`, `[_, dim]`, as scoring sees them; call
    /// [`settle`](Self::settle) before. Panics when there are not so many.
    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]);

    /// What is to be stored of each field: tables from which scoring gets the rows of
    /// [`write_rows`](Self::write_rows), in the memory of the trained ones; what only training needs is given
    /// back. Call [`settle`](Self::settle) before.
    fn into_tables(self: Box<Self>) -> Vec<FieldTables>;

    /// Figures of the method worth logging, for example `sparsity`; may cost a pass over the tables.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Everything a checkpoint has to keep, optimiser state included.
    fn state(&self) -> Vec<StateTensor<'_>>;

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape.
    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError>;
}

/// What a layer takes ids of, and what it hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Number of rows of each field: of its ids, whatever is stored of them.
    pub n_rows: Vec<usize>,
    /// How the bags of each field become one vector.
    pub pooling: Vec<Pooling>,
    /// Size of the vectors.
    pub dim: usize,
}

impl LayerShape {
    /// That of fields whose rows have `dim` values.
    pub fn new(fields: &[FieldSpec], dim: usize) -> Self {
        Self {
            n_rows: fields.iter().map(|field| field.n_rows).collect(),
            pooling: fields.iter().map(|field| field.pooling).collect(),
            dim,
        }
    }
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSize {
    /// Learning rate of the tables.
    pub lr: f32,
    /// What the schedule multiplies every learning rate with, that of `lr` included; a method that has
    /// learning rates of its own multiplies them with it.
    pub factor: f32,
    /// What the gradients are multiplied with, below 1 where they are clipped.
    pub scale: f32,
}

impl StepSize {
    /// A step of learning rate `lr` with neither schedule nor clipping.
    pub fn of(lr: f32) -> Self {
        Self {
            lr,
            factor: 1.0,
            scale: 1.0,
        }
    }
}
