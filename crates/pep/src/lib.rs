//! PEP: plug-in embedding pruning (arXiv 2101.07577).
//!
//! The model sees `V̂ = sign(V) · max(|V| − σ(s), 0)`, where the threshold logits `s` are trained along with
//! the rows `V`. A value is pruned while `|v| ≤ σ(s)`. [`PepEmbedding`] does that to the unique rows of a
//! batch; [`PepSettings`] says which values share a logit ([`Granularity`]) and how logits are trained
//! ([`Mode`]). [`PepEmbedding::mask`] then gives the values worth keeping within a budget, for a
//! [`MaskedEmbedding`](slimbed_embedding::MaskedEmbedding) to be trained from the start.
//!
//! Names: `V`, `v` are rows and their values, `hat` is what became of them, `tau` the threshold `σ(s)`,
//! `s` its logit.

mod adam;
mod budget;
mod layer;
mod select;
mod settings;
mod shrink;
mod sigmoid;
mod spans;
mod thresholds;

pub use layer::PepEmbedding;
pub use settings::{Granularity, Mode, PepSettings};
