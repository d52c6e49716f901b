//! What can go wrong.

/// An error of the dense network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FusedError {
    /// A size or rate cannot work.
    #[error("{what}: expected {expected}, found {found}")]
    Size {
        /// What it is the size of.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
    /// Two parameters have one name.
    #[error("parameter `{name}` exists already")]
    DuplicateParameter {
        /// The name.
        name: String,
    },
    /// A saved tensor is missing or has another shape.
    #[error("tensor `{name}`: expected shape {expected:?}, found {found}")]
    TensorMismatch {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has, or `nothing`.
        found: String,
    },
    /// There is no memory for the weights.
    #[error("cannot allocate {bytes} bytes for the weights")]
    Allocate {
        /// How many.
        bytes: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The asked precision needs instructions that this processor lacks.
    #[error(
        "precision bf16 needs AVX-512 BF16 (for example AMD Zen 4, Intel Cooper Lake or Sapphire \
         Rapids); this processor does not have it: use f32"
    )]
    NoBf16,
}

impl FusedError {
    /// A [`FusedError::Size`].
    pub fn size(
        what: &'static str,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Size {
            what,
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}
