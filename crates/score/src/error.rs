//! What can go wrong.

use slimbed_compact::{ArtefactError, LookupError};
use slimbed_fused::FusedError;

/// An error of scoring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The artefact cannot be read.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The artefact's weights do not make its network, or the sizes of a batch do not fit it.
    #[error(transparent)]
    Network(#[from] FusedError),
    /// The artefact's model is of a kind that this version does not know.
    #[error("model of the artefact: expected a network this version knows, found {found}")]
    Model {
        /// What is wrong with it.
        found: String,
    },
    /// The artefact's tables do not suit its network.
    #[error("{what}: the network expects {expected}, found {found}")]
    Tables {
        /// Which size.
        what: String,
        /// What the network has.
        expected: usize,
        /// What the artefact has.
        found: usize,
    },
    /// The batch has another number of fields than the artefact.
    #[error("the batch has {found} fields, the model {expected}")]
    FieldCount {
        /// Of the model.
        expected: usize,
        /// Of the batch.
        found: usize,
    },
    /// The ids of a field do not fit.
    #[error("field `{field}`")]
    Lookup {
        /// The field.
        field: String,
        /// What does not fit; positions are those in the batch.
        #[source]
        source: LookupError,
    },
}
