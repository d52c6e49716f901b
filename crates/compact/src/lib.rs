//! Deployed tables: the file that is shipped.
//!
//! An [`Artefact`] is one safetensors file with the embedding tables, the dense weights and one metadata
//! key of sorted JSON; `docs/format.md` describes it. It is memory-mapped, checked when it is opened and
//! never trusted: a damaged or hostile file gives an [`ArtefactError`].
//!
//! This crate knows no tensor library, no model and no training.

mod container;
mod error;
mod manifest;
mod reader;
mod writer;

pub use container::write_tensors;
pub use error::ArtefactError;
pub use manifest::{Encoding, FieldEntry, Manifest, Pooling, Values};
pub use reader::{Artefact, Part};
pub use writer::{DenseTensor, FieldTable, write};
