//! Training tables: the rows a batch needs go out, their gradients come back.
//!
//! A table is plain memory ([`Table`]), and no call of a training step costs time or memory that grows
//! with its number of rows. A step of an [`EmbeddingLayer`] goes like this:
//!
//! 1. `forward` copies the rows of an [`IdBatch`] to `[batch, fields, dim]` and finds the unique rows of
//!    each field ([`BatchIndex`]).
//! 2. `backward` sums the gradient of every unique row over its occurrences ([`reduce`]).
//! 3. `step` hands those sums to the [`SparseOptimizer`], which touches these rows alone.
//!
//! A reduction method that transforms rows works on the unique ones of its [`TrainedRows`]: [`gather`] brings
//! them, [`expand`] spreads what became of them over the batch, [`reduce`] is its exact adjoint.
//!
//! All work is cut by the sizes of the batch, never by the number of threads, and each value is written
//! by one task: results have the same bits on any number of threads. After the first steps nothing
//! here allocates. Nothing here knows a model, a reduction method or a file.

mod error;
mod gather;
mod ids;
mod index;
mod init;
mod layer;
mod lookup;
mod mask;
mod masked;
mod optim;
mod parts;
mod plain;
mod pool;
mod prefetch;
mod reduce;
mod rows;
mod shipped;
mod sort;
mod squares;
mod stage;
mod state;
mod table;

pub use error::EmbeddingError;
pub use gather::{gather, gather_rows};
pub use ids::{Bags, IdBatch, Pooling};
pub use index::BatchIndex;
pub use init::RowInit;
pub use layer::{EmbeddingLayer, LayerShape, StepSize};
pub use lookup::{TableView, lookup};
pub use mask::Mask;
pub use masked::MaskedEmbedding;
pub use optim::{SparseOptimizer, SparseRule};
pub use plain::{FieldSpec, PlainEmbedding};
pub use pool::expand;
pub use reduce::reduce;
pub use rows::{RowSettings, TrainedRows};
pub use shipped::{Combine, FieldTables, Sharing};
pub use squares::sum_of_squares;
pub use stage::Stage;
pub use state::{SavedState, StateElement, StateTensor, StateValues};
pub use table::Table;
