//! What can go wrong in the dense part of a model.

/// Errors of `slimbed-nn`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// An error of candle itself, shape mismatches among them.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A trainable tensor received no gradient: an op on its path has none.
    #[error("parameter `{name}` received no gradient")]
    NoGradient {
        /// Name of the parameter.
        name: String,
    },
    /// Two parameters were given the same name.
    #[error("parameter `{name}` exists already")]
    DuplicateParameter {
        /// The name given twice.
        name: String,
    },
    /// Saved tensors do not fit the model.
    #[error("tensor `{name}`: expected shape {expected:?}, found {found}")]
    TensorMismatch {
        /// Name of the tensor.
        name: String,
        /// Shape the model has.
        expected: Vec<usize>,
        /// Shape that was given, or that it is missing.
        found: String,
    },
    /// A layer was asked for with sizes that cannot work.
    #[error("{what}: expected {expected}, found {found}")]
    Size {
        /// The quantity concerned.
        what: &'static str,
        /// What it has to be.
        expected: String,
        /// What was given.
        found: String,
    },
}
