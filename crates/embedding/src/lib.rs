//! Training tables: the rows a batch needs go out, their gradients come back.
//!
//! A table is plain memory ([`Table`]), never a candle variable: candle's embedding backward is dense,
//! which costs a step time and memory in proportion to the table (measured: 36 to 104 times at 4 M
//! rows). A step goes like this:
//!
//! 1. [`BatchIndex`] finds the unique rows of each field of an [`IdBatch`].
//! 2. An [`EmbeddingLayer`] gathers them into one leaf `[U, dim]` and expands the leaf to
//!    `[batch, fields, dim]` inside candle's graph ([`expand`]).
//! 3. After `backward` the leaf's gradient, duplicates summed, goes to the [`SparseOptimizer`], which
//!    touches those rows alone.
//!
//! Nothing here knows a model, a reduction method or a file.

mod error;
mod expand;
mod ids;
mod index;
mod init;
mod layer;
mod lookup;
mod optim;
mod plain;
mod state;
mod table;

pub use error::EmbeddingError;
pub use expand::expand;
pub use ids::{Bags, IdBatch, Pooling};
pub use index::BatchIndex;
pub use init::RowInit;
pub use layer::EmbeddingLayer;
pub use lookup::{TableView, lookup};
pub use optim::{SparseOptimizer, SparseRule};
pub use plain::{FieldSpec, PlainEmbedding};
pub use state::{StateTensor, StateValues};
pub use table::Table;
