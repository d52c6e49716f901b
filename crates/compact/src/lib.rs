//! Deployed tables: really smaller, and fast to read.
//!
//! - [`Encoder`] picks how a table is stored: an [`Encoding`] is a [`Structure`] times a value type
//!   ([`Values`]), for all rows or for those that are not empty. [`Bound`] says how small it could be.
//! - [`write()`] stores tables, dense weights and a [`Manifest`] as one safetensors file; `docs/format.md`
//!   describes it.
//! - [`pack()`] stores the tables of a [`TableSource`] (another artefact, a safetensors file of somebody else,
//!   either with values dropped) one after the other.
//! - [`Artefact`] maps that file, checks it and never trusts it: a damaged or hostile file gives an
//!   [`ArtefactError`].
//! - [`Table`] answers lookups: [`Bags`] of ids become pooled vectors, decoded in registers, with the
//!   instructions that the processor has ([`Isa`]). [`naive`] does the same row after row, as the oracle.
//!
//! This crate knows no tensor library, no model and no training.

mod bags;
mod container;
mod encode;
mod error;
mod foreign;
mod lookup;
mod manifest;
mod memory;
mod prefetch;
mod prune;
mod reader;
mod rows;
mod sharing;
mod source;
mod structure;
mod table;
mod values;
mod writer;

pub use bags::{Bags, Output, Pooling};
pub use container::write_tensors;
pub use encode::{Bound, Candidate, Choice, Encoder, Encoding, Prefer, RowsStored, TableStats};
pub use error::{ArtefactError, EncodeError, FormError, LookupError};
pub use foreign::{ForeignField, ForeignFile, ForeignTables};
pub use lookup::{Isa, naive};
pub use manifest::{FieldEntry, Manifest, PartEntry};
pub use prune::{Pruned, Pruning};
pub use reader::{Artefact, StoredTensor};
pub use rows::Rows;
pub use sharing::{Combine, Sharing, cut_row, hashed_row};
pub use source::{PartShape, SourceField, StoredTables, TableSource};
pub use structure::Structure;
pub use table::{Scratch, Table};
pub use values::Values;
pub use writer::{
    DenseTensor, FieldTable, Packed, PartTable, Projection, pack, packed_bytes, write,
};
