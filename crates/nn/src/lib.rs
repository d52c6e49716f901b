//! Networks on candle: any device, any shape, differentiated by the graph.
//!
//! [`GraphNetwork`] runs the same [`Network`](slimbed_fused::Network) as
//! [`FusedNetwork`](slimbed_fused::FusedNetwork), composed from candle's own ops. It is the way to other
//! devices, and the oracle the fused path is tested against; on the CPU the fused one is several times
//! faster.
//!
//! - [`Params`]: named trainable tensors in a fixed order.
//! - [`bce_with_logits`]: the loss, exact and stable for any logit.
//! - [`GraphOptimizer`]: SGD, Adagrad, Adam and AdamW on the device, with state that can be saved.

mod error;
mod graph;
mod loss;
mod optim;
mod params;
mod pieces;

pub use error::NnError;
pub use graph::GraphNetwork;
pub use loss::bce_with_logits;
pub use optim::GraphOptimizer;
pub use params::Params;
