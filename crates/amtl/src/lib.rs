//! Adaptively masked twins (arXiv 2108.11513): each row keeps its first `k` values, `k` learned from how
//! often the row occurs.
//!
//! Two small networks, one for frequent and one for rare rows, turn the frequency of a row into logits
//! over sizes, mixed by a gate `α`:
//!
//! ```text
//! o = α·o_h + (1 − α)·o_l      k = argmax o      f = e ⊙ 1[j ≤ k]
//! ```
//!
//! Forward the mask is hard, backward the gradient is that of `t̂ = softmax(o / T)` (straight-through):
//! `∂L/∂t̂_p = Σ_{j ≤ p} e_j ∂L/∂f_j`, which also sees values that are masked now, so that rows can grow.
//! [`AmtlEmbedding`] is the layer, [`AmtlSettings`] what can be set; `docs/methods/amtl.md` tells more.
//!
//! A step works on the unique rows of its batch, in chunks of 512 whatever the number of threads.

mod attributes;
mod budget;
mod kernels;
mod lanes;
mod layer;
mod net;
mod penalty;
mod settings;
mod sizer;
mod state;
mod trainer;

pub use layer::AmtlEmbedding;
pub use settings::{AmtlSettings, Branches, Estimator, Sizes, ZeroSize};
