//! What a dataset looks like: which columns, which split, which rare-id rule.
//!
//! A recipe is a TOML file; `datasets/` has examples with a comment on every line.

mod columns;
mod csv;
mod inputs;
mod label;
mod libfm;
mod movielens;
mod parse;
mod ranges;
mod raw;
mod sparse;
mod split;

use std::path::{Path, PathBuf};

use slimbed_files::IoContext;
use toml::Table;

use crate::pack::Arity;
use crate::{DataError, Split};
pub use csv::{CsvRule, Ignored};
pub use inputs::NamedFile;
pub use label::LabelRule;
use raw::{RawDense, RawScale, RawTransform};
pub use sparse::{Address, FeatureSpan, SparseRule, Target};

/// A checked recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Short name, used for folders.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// How a line is written.
    pub format: Format,
    /// The files that the folder given as input has to hold; none when the files are given themselves.
    pub files: Vec<NamedFile>,
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

/// How a line is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Cells between tabs, without a header.
    Tsv,
    /// A header and records as RFC 4180 describes them.
    Csv(CsvRule),
    /// libFM: a label and one `index:value` for each field, between spaces.
    Libfm(FeatureValues),
    /// libSVM or libFFM: a label and any number of `index:value` or `field:index:value`.
    Sparse(SparseRule),
    /// MovieLens: ratings, with users and movies in files of their own.
    MovieLens(Edition, RatingRule),
}

/// What the value of a category's feature has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureValues {
    /// 1, as a category is there or not.
    One,
    /// Anything: only the index counts.
    Ignored,
}

/// A published form of MovieLens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// `ratings.dat`, `users.dat` and `movies.dat`, cells between `::`.
    OneMillion,
    /// `u.data` (tabs), `u.user` and `u.item` (`|`).
    HundredThousand,
}

/// How a rating becomes a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatingRule {
    /// The lowest rating with label 1.
    pub positive: u8,
    /// Ratings whose rows are left out.
    pub drop: Vec<u8>,
}

/// What a MovieLens field is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The user's id.
    User,
    /// The movie's id.
    Item,
    /// PEP's bucket of the seconds since the first rating that is kept.
    Timestamp,
    /// The user's gender.
    Gender,
    /// The user's age as it is written: years, or in 1M one of seven groups.
    Age,
    /// The user's occupation.
    Occupation,
    /// The user's postal code.
    Zip,
    /// The year in which the movie came out.
    Year,
    /// All genres of the movie as one category.
    Genres,
    /// The genres of the movie as a bag.
    GenreBag,
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its place in the line, from 0; of CSV, that in [`CsvRule::columns`]; of libSVM and libFFM, the first
    /// index or the number of the field; of a MovieLens field, that in the list of them.
    pub index: usize,
}

/// A dense feature.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseColumn {
    /// Where it stands.
    pub column: Column,
    /// What is done to its number.
    pub transform: Transform,
    /// What is done to the transformed numbers of all rows.
    pub scale: Scale,
    /// The number of an empty cell or of a feature that is not there; without it, that is an error.
    pub missing: Option<f64>,
}

/// A categorical field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldColumn {
    /// Where it stands.
    pub column: Column,
    /// What its cells hold.
    pub kind: FieldKind,
    /// What becomes of an empty cell, or of a line without a feature of the field.
    pub missing: OnMissing,
}

/// What becomes of a category that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// It is an error; an empty bag is none.
    Refuse,
    /// It is a category of its own; of a bag too.
    Category,
}

/// What becomes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// `ln(1 + max(x, 0))` (DLRM).
    Log1p,
    /// `(ln x)²` for `x > 2`, else `x − 2`: PEP's buckets before they are rounded down.
    LogSquared,
    /// The number itself.
    Identity,
}

/// What becomes of the transformed numbers of a dense feature; fitted on the training split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Nothing.
    None,
    /// `(x − min) / (max − min)`; other splits may leave `[0, 1]`.
    MinMax,
    /// `(x − mean) / standard deviation`.
    Standard,
}

/// How a cell becomes a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Up to 8 hexadecimal digits.
    Hex,
    /// A number `v`: `⌊(ln v)²⌋` for `v > 2`, else `⌊v⌋ − 2` (PEP's buckets).
    Bucket,
    /// Any text, byte by byte. Its key is a hash of 63 bits: that any two of 10 million texts share one has
    /// a probability of 5e-6.
    Text,
    /// The hour, 0 to 23, of a time `YYMMDDHH` (Avazu).
    Hour,
    /// The day of the week, 0 for Monday, of a time `YYMMDDHH`.
    Weekday,
}

/// What the categories of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A cell.
    Cell(CellKind),
    /// The parts of a cell between separators of one byte: any number of categories.
    Bag(CellKind, u8),
    /// A feature `index:value`, whose index is the category.
    Feature,
    /// Any number of such features.
    FeatureBag,
    /// Something known of a rating, its user or its movie.
    Attribute(Attribute),
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
    /// Training, validation and test are a file each.
    Files,
    /// The oldest rows for training, the newest for test; rows of the same second are not parted.
    Time {
        /// Shares of training, validation and test.
        shares: [f64; 3],
    },
}

impl FieldColumn {
    /// One id a row, or a bag.
    pub fn arity(&self) -> Arity {
        match self.kind {
            FieldKind::Bag(..)
            | FieldKind::FeatureBag
            | FieldKind::Attribute(Attribute::GenreBag) => Arity::Multi,
            _ => Arity::Single,
        }
    }
}

impl DenseColumn {
    /// The feature of `column` in a group of a recipe; `missing` where the recipe does not say.
    fn new(column: Column, group: &RawDense, missing: Option<f64>) -> Self {
        let transform = match group.transform {
            RawTransform::Log1p => Transform::Log1p,
            RawTransform::LogSquared => Transform::LogSquared,
            RawTransform::Identity => Transform::Identity,
        };
        let scale = match group.scale {
            RawScale::None => Scale::None,
            RawScale::MinMax => Scale::MinMax,
            RawScale::Standard => Scale::Standard,
        };
        let given = group.missing.as_ref().map(|missing| *missing.get_ref());
        Self {
            column,
            transform,
            scale,
            missing: given.or(missing),
        }
    }
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

    /// The files to read for what was given as input: the files themselves, or what the recipe names in a
    /// folder, each plain or with `.gz` or `.zst` behind its name.
    ///
    /// # Errors
    /// When the recipe names files, and the input is not one folder that holds them.
    pub fn input_files(&self, inputs: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
        inputs::find(&self.files, inputs)
    }

    /// Whether a row needs the time of its rating.
    pub(crate) fn needs_times(&self) -> bool {
        self.has_time_field() || matches!(self.split, SplitRule::Time { .. })
    }

    /// Whether a field is made of the time of a rating.
    pub(crate) fn has_time_field(&self) -> bool {
        let time = FieldKind::Attribute(Attribute::Timestamp);
        self.fields.iter().any(|field| field.kind == time)
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
