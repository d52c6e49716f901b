//! Baselines of table reduction: what every method has to be held against.
//!
//! Each trains no more than it ships, and ships exactly that. Where a method decides beforehand what is stored, its
//! settings make a [`Plan`] for a number of values; the layers train it.
//!
//! - [`HashSettings`]: ids share rows by a hash function.
//! - [`QrSettings`]: rows are made of a quotient's and a remainder's (arXiv 1909.02107).
//! - [`CutoffSettings`]: rare ids share the out-of-vocabulary row.
//! - [`SharedEmbedding`]: the layer of these three.
//! - [`MixedDimSettings`]: the more ids, the narrower the rows (arXiv 1909.11810).
//! - [`DeepLightEmbedding`]: the smallest values of trained tables are pruned on a schedule (arXiv 2002.06987).
//! - [`AutoEmbEmbedding`]: a controller weighs candidate sizes by popularity (arXiv 2002.11252).

mod autoemb;
mod cutoff;
mod deeplight;
mod hashing;
mod mixed;
mod plan;
mod quotient;
mod shared;
mod tables;

pub use autoemb::{AutoEmbEmbedding, AutoEmbSettings};
pub use cutoff::CutoffSettings;
pub use deeplight::{DeepLightEmbedding, DeepLightSettings, Schedule};
pub use hashing::HashSettings;
pub use mixed::MixedDimSettings;
pub use plan::{FieldPlan, Plan, n_values};
pub use quotient::{Combining, QrSettings};
pub use shared::SharedEmbedding;
