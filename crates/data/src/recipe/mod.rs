//! What a dataset looks like: which columns, which split, which rare-id rule.
//!
//! A recipe is a TOML file; `datasets/` has examples with a comment on every line.

mod parse;
mod ranges;
mod raw;

use std::path::Path;

use slimbed_files::IoContext;
use toml::Table;

use crate::{DataError, Split};

/// A checked recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Short name, used for folders.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Columns of a line.
    pub n_columns: usize,
    /// Ids seen fewer times than this in the training split share row 0.
    pub min_count: u64,
    /// The label's column.
    pub label: Column,
    /// Dense features in order.
    pub dense: Vec<DenseColumn>,
    /// Categorical fields in order.
    pub fields: Vec<FieldColumn>,
    /// How rows are split.
    pub split: SplitRule,
    /// The table `[model]`, for the layer above.
    pub defaults_model: Table,
    /// The table `[train]`, for the layer above.
    pub defaults_train: Table,
    source: String,
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its place in the line, from 0.
    pub index: usize,
}

/// A dense feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenseColumn {
    /// Where it stands.
    pub column: Column,
    /// What is done to its number.
    pub transform: Transform,
}

/// A categorical field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldColumn {
    /// Where it stands.
    pub column: Column,
    /// What its cells hold.
    pub kind: FieldKind,
}

/// What becomes of a number; an empty cell counts as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// `ln(1 + max(x, 0))` (DLRM).
    Log1p,
    /// The number itself.
    Identity,
}

/// How a cell becomes a category; an empty cell is a category of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Up to 8 hexadecimal digits.
    Hex,
    /// A number `v`: `⌊(ln v)²⌋` for `v > 2`, else `⌊v⌋ − 2` (PEP's buckets).
    Bucket,
}

/// How rows are given to splits.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitRule {
    /// Each row draws its split by itself.
    Random {
        /// Shares of training, validation and test.
        shares: [f64; 3],
    },
    /// Consecutive parts of the input in the given order.
    FileOrder {
        /// The parts and their shares.
        parts: [(Split, f64); 3],
    },
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// Names file and line, and for an unknown key the one that may have been meant.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let text = std::fs::read_to_string(path).at("read recipe", path)?;
        Self::parse(&text, path)
    }

    /// Reads a recipe from its text; `path` is for messages.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, path: &Path) -> Result<Self, DataError> {
        parse::parse(text, path)
    }

    /// The text the recipe was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Names of all columns that are used, by their place.
    pub(crate) fn name_of(&self, index: usize) -> &str {
        let dense = self.dense.iter().map(|dense| &dense.column);
        let fields = self.fields.iter().map(|field| &field.column);
        let mut used = std::iter::once(&self.label).chain(dense).chain(fields);
        used.find(|column| column.index == index)
            .map_or("unused", |column| &column.name)
    }
}
