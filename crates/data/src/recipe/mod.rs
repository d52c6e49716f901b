//! What a dataset looks like: which columns, which split, which rare-id rule.
//!
//! A recipe is a TOML file; `datasets/` has examples with a comment on every line.

mod columns;
mod inputs;
mod libfm;
mod movielens;
mod parse;
mod ranges;
mod raw;
mod split;

use std::path::{Path, PathBuf};

use slimbed_files::IoContext;
use toml::Table;

use crate::pack::Arity;
use crate::{DataError, Split};
pub use inputs::NamedFile;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Cells between tabs.
    Tsv,
    /// libFM: a label and one `index:value` for each field, between spaces.
    Libfm(FeatureValues),
    /// MovieLens: ratings, with users and movies in files of their own.
    MovieLens(Edition, RatingRule),
}

/// What the value of a libFM feature has to be.
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
    /// Its place in the line, from 0; of a MovieLens field, that in the list of them.
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
    /// A libFM feature `index:value`, whose index is the category.
    Feature,
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
            FieldKind::Attribute(Attribute::GenreBag) => Arity::Multi,
            _ => Arity::Single,
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
