//! Dense layers over candle: what a CTR model is made of beside its embedding tables.
//!
//! - [`Params`]: named trainable tensors in a fixed order, initialised from seeded streams ([`Init`]).
//! - [`Linear`], [`Mlp`], [`dot_interaction`], [`dropout`]: the layers, each with its formula and shapes.
//! - [`bce_with_logits`]: the loss, exact and stable for any logit, with the analytic gradient.
//! - [`DenseOptimizer`]: SGD, Adagrad, Adam and AdamW whose state can be saved.
//! - [`Model`]: what the training loop asks of a model.
//!
//! On the CPU the interaction and the loss are custom ops; on other devices the same formulas are
//! composed from candle's own ops. Tests hold the two against each other.

mod cpu;
mod dropout;
mod error;
mod init;
mod interaction;
mod linear;
mod loss;
mod mlp;
mod model;
mod optim;
mod params;

pub use dropout::dropout;
pub use error::NnError;
pub use init::Init;
pub use interaction::{SelfInteraction, dot_interaction, interaction_width};
pub use linear::{Linear, LinearInit};
pub use loss::{bce_composed, bce_with_logits};
pub use mlp::{Mlp, Output};
pub use model::{Mode, Model};
pub use optim::{DenseOptimizer, DenseRule, OptimizerState, WeightDecay, gradient_norm_squared};
pub use params::{NamedTensor, Params};
