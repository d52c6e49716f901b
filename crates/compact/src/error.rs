//! What can go wrong with tables and artefacts.

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
    /// A table cannot be stored as asked.
    #[error("{}: field `{field}`", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Why.
        #[source]
        source: EncodeError,
    },
}

/// A table cannot be stored as asked.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A size does not fit.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which size.
        what: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: usize,
    },
    /// Integers cannot stand for NaN and infinities.
    #[error("row {row}, column {column}: {value} cannot become an integer")]
    NotFinite {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The value.
        value: f32,
    },
    /// An encoding reaches 16 GB of values.
    #[error(
        "{structure} reaches less than 16 GiB of values of one table; {n_bytes} bytes are needed"
    )]
    TooLarge {
        /// The encoding.
        structure: &'static str,
        /// Bytes there would be.
        n_bytes: usize,
    },
    /// Rows were said to be present but none is.
    #[error("a table whose rows are all empty has no present rows to store")]
    NothingPresent,
}

/// A part of a table does not have the form that its description says.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{suffix}: expected {expected}, found {found}")]
pub struct FormError {
    /// Which tensor of the part; empty for its values.
    pub suffix: &'static str,
    /// What it has to be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl FormError {
    pub(crate) fn new(suffix: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self {
            suffix,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// A batch does not suit a table.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// An id has no row.
    #[error("id {id} at position {position}: expected less than {n_rows}, the rows of the table")]
    Id {
        /// Its place among the ids.
        position: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        n_rows: u64,
    },
    /// A slice has the wrong length.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length as it has to be.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// Offsets do not cut the ids into bags.
    #[error("offset {position} is {found}: expected {expected}")]
    Offset {
        /// Its place among the offsets.
        position: usize,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: u32,
    },
}
