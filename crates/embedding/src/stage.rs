//! The order of the calls of a training step.

use crate::EmbeddingError;

/// What a layer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// A batch.
    #[default]
    Forward,
    /// The gradient of the last batch.
    Backward,
    /// The step along it.
    Step,
}

impl Stage {
    /// Refuses a backward pass without a forward pass.
    ///
    /// # Errors
    /// When no forward pass waits for its gradient.
    pub fn check_backward(self) -> Result<(), EmbeddingError> {
        match self {
            Self::Forward => Err(EmbeddingError::NoForward),
            Self::Backward | Self::Step => Ok(()),
        }
    }

    /// Refuses a step without a gradient.
    ///
    /// # Errors
    /// When no backward pass waits for its step.
    pub fn check_step(self) -> Result<(), EmbeddingError> {
        match self {
            Self::Forward => Err(EmbeddingError::NoForward),
            Self::Backward => Err(EmbeddingError::NoGradient),
            Self::Step => Ok(()),
        }
    }
}
