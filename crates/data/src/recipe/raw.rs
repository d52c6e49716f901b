//! A recipe as it is written: unknown keys are refused, nothing else is checked.

use serde::Deserialize;
use toml::{Spanned, Table};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRecipe {
    pub name: Spanned<String>,
    #[serde(default)]
    pub description: String,
    pub format: RawFormat,
    pub n_columns: Option<Spanned<usize>>,
    pub values: Option<Spanned<RawValues>>,
    pub files: Option<Spanned<RawFiles>>,
    #[serde(default = "one")]
    pub min_count: u64,
    pub label: RawLabel,
    #[serde(default)]
    pub dense: Vec<RawDense>,
    pub fields: Vec<RawField>,
    pub split: Spanned<RawSplit>,
    #[serde(default)]
    pub model: Table,
    #[serde(default)]
    pub train: Table,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawFormat {
    Tsv,
    Libfm,
    #[serde(rename = "movielens-1m")]
    MovieLens1M,
    #[serde(rename = "movielens-100k")]
    MovieLens100K,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawValues {
    One,
    Ignored,
}

/// Names a file may have, the preferred one first.
pub type RawNames = Spanned<Vec<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFiles {
    pub train: Option<RawNames>,
    pub validation: Option<RawNames>,
    pub test: Option<RawNames>,
    pub ratings: Option<RawNames>,
    pub users: Option<RawNames>,
    pub movies: Option<RawNames>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLabel {
    pub column: Option<Spanned<usize>>,
    pub name: Option<String>,
    pub positive: Option<Spanned<u8>>,
    pub drop: Option<Spanned<Vec<u8>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDense {
    pub columns: Spanned<String>,
    pub names: Spanned<String>,
    pub transform: RawTransform,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawTransform {
    Log1p,
    Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawField {
    pub columns: Option<Spanned<String>>,
    pub names: Spanned<String>,
    pub kind: Option<Spanned<RawKind>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawKind {
    Hex,
    Bucket,
    Bag,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSplit {
    pub kind: RawSplitKind,
    pub order: Option<[RawPart; 3]>,
    pub shares: Option<RawShares>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawSplitKind {
    Random,
    FileOrder,
    Files,
    Time,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawPart {
    Train,
    Validation,
    Test,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawShares {
    pub train: f64,
    pub validation: f64,
    pub test: f64,
}

fn one() -> u64 {
    1
}
