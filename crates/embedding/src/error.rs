//! What can go wrong with tables and ids.

/// Errors of `slimbed-embedding`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// The system did not give the memory of a table.
    #[error("cannot allocate {bytes} bytes for a table")]
    Allocate {
        /// Size asked for.
        bytes: usize,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// An id does not exist in its table.
    #[error("field {field}: id {id} at position {position} is not below {n_rows} rows")]
    IdOutOfRange {
        /// Number of the field, from 0.
        field: usize,
        /// Place of the id among the field's ids in the batch.
        position: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        n_rows: usize,
    },
    /// The ids of a field do not make a batch of the stated size.
    #[error("field {field}: expected {expected}, found {found}")]
    BadBags {
        /// Number of the field, from 0.
        field: usize,
        /// What the batch needs.
        expected: String,
        /// What it got.
        found: String,
    },
    /// A batch has another number of fields than the layer.
    #[error("expected ids of {expected} fields, found {found}")]
    FieldCount {
        /// Fields of the layer.
        expected: usize,
        /// Fields of the batch.
        found: usize,
    },
    /// A slice has another length than its shape asks for.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// What the slice holds.
        what: &'static str,
        /// Values of the shape.
        expected: usize,
        /// Values of the slice.
        found: usize,
    },
    /// A step was asked for without a backward pass before it.
    #[error("the embedding rows received no gradient")]
    NoGradient,
    /// A backward pass or a step was asked for without a forward pass before it.
    #[error("no forward pass is waiting for its gradient")]
    NoForward,
    /// Saved state does not fit the layer.
    #[error("state `{name}`: expected {expected}, found {found}")]
    StateMismatch {
        /// Name of the state tensor.
        name: String,
        /// What the layer has.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A setting cannot work.
    #[error("{what}: expected {expected}, found {found}")]
    Setting {
        /// The setting.
        what: String,
        /// What it has to be.
        expected: &'static str,
        /// What was given.
        found: String,
    },
}

/// Refuses a slice that does not have the length of its shape.
pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), EmbeddingError> {
    if expected == found {
        return Ok(());
    }
    Err(EmbeddingError::Length {
        what,
        expected,
        found,
    })
}
