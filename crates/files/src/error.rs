//! What can go wrong with a file, with its path.

use std::io;
use std::path::{Path, PathBuf};

/// A failed operation on one path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried: `open`, `write`, `rename to`.
    pub action: &'static str,
    /// The file or folder concerned.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

/// Adds the path and the action to an [`io::Error`].
pub trait IoContext<T> {
    /// Turns the error into a [`FileError`].
    ///
    /// # Errors
    /// The error of `self`, with its context.
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError {
            action,
            path: path.to_owned(),
            source,
        })
    }
}
