//! What can go wrong.

use slimbed_fused::FusedError;

/// An error of a network on candle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// A size, a name or a saved tensor does not fit the network.
    #[error(transparent)]
    Network(#[from] FusedError),
    /// A parameter was not reached by the backward pass.
    #[error("parameter `{name}` received no gradient")]
    NoGradient {
        /// Its name.
        name: String,
    },
    /// A step was asked for before any loss.
    #[error("no gradients: compute a loss first")]
    NoLoss,
    /// The tensor library refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
