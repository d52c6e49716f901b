//! What can go wrong with an artefact.

use std::path::PathBuf;

use slimbed_files::FileError;

/// Errors of reading or writing an artefact; each names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no safetensors file, or is damaged.
    #[error("{}: not a valid safetensors file", path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// What safetensors says.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The metadata key is missing, or is not the JSON that is expected.
    #[error("{}: metadata `{key}`: expected {expected}, found {found}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key or JSON field concerned.
        key: String,
        /// What has to be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A tensor does not match its description.
    #[error("{}: tensor `{tensor}`: expected {expected}, found {found}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What the manifest says.
        expected: String,
        /// What the file holds.
        found: String,
    },
}
