//! Scores samples with a shipped file, without a tensor library and without anything that only training
//! needs.
//!
//! - [`Scorer`]: an artefact's tables and network, ready to score batches of any size from any thread.
//! - [`Batch`]: what is scored: dense features, and ids as `slimbed_compact::Bags`.
//! - [`Tables`]: the tables alone, for a network that runs elsewhere.
//! - [`ModelSpec`]: which network an artefact holds.
//!
//! A batch of up to 64 samples stays on the calling thread and allocates nothing once a larger one has been
//! seen; larger ones are cut into chunks for all threads, and each chunk looks up its embeddings itself, so
//! that memory does not grow with the batch.

mod batch;
mod error;
mod scorer;
mod spec;
mod tables;
mod worker;

pub use batch::Batch;
pub use error::ScoreError;
pub use scorer::Scorer;
pub use spec::{ModelSpec, dense_weights, first_order_name};
pub use tables::{LookupScratch, Tables};
