//! From raw CTR files to batches.
//!
//! - A [`Recipe`] describes a dataset: its columns, its split, its rare-id rule. Formats are tab-separated
//!   lines, CSV with a header, libFM, libSVM, libFFM and MovieLens.
//! - [`prepare`] reads the raw files (plain, gzip or zstd) and makes a folder: packed columns for each
//!   split, the vocabulary of the training split, and a description.
//! - [`Dataset`] opens the folder, and [`Dataset::batches`] hands out seeded, prefetched batches.
//! - [`synth`] generates data with a known best possible AUC.
//!
//! Errors name file, line, column and what was expected. Memory does not grow with the number of rows,
//! but for 8 bytes a row of a split by time.
//! The same seed and input give the same bits for any number of threads.

pub mod pack;
pub mod synth;

mod batches;
mod dataset;
mod error;
mod prepare;
mod reader;
mod recipe;
mod scale;
mod split;
mod vocabulary;

pub use batches::{Batch, BatchOptions, Batches, FieldIds, Order};
pub use dataset::{Dataset, FieldInfo, InputInfo, Meta, SplitInfo};
pub use error::DataError;
pub use pack::BLOCK_ROWS;
pub use prepare::{Pass, PrepareOptions, PrepareReport, Progress, prepare};
pub use reader::{BadRows, MISSING, ReadProgress, RowReader, Rows};
pub use recipe::{
    Address, Attribute, CellKind, Column, CsvRule, DenseColumn, Edition, FeatureSpan,
    FeatureValues, FieldColumn, FieldKind, Format, Ignored, LabelRule, NamedFile, OnMissing,
    RatingRule, Recipe, Scale, SparseRule, SplitRule, Target, Transform,
};
pub use scale::DenseScale;
pub use split::{Split, Splitter};
pub use vocabulary::{FieldVocabulary, OOV, Vocabulary};
