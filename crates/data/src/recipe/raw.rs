//! A recipe as it is written: unknown keys are refused, nothing else is checked.

use std::ops::Range;

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
    pub separator: Option<Spanned<String>>,
    pub missing: Option<Spanned<Vec<String>>>,
    pub ignore: Option<Spanned<String>>,
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
    Csv,
    Libfm,
    Libsvm,
    Libffm,
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
    pub column: Option<Spanned<RawColumn>>,
    pub name: Option<String>,
    pub positive: Option<Spanned<RawPositive>>,
    pub negative: Option<Spanned<Vec<String>>>,
    pub drop: Option<Spanned<Vec<u8>>>,
}

/// A column of a file without a header, or of one with a header.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column: its number, or in a file with a header its name"
)]
pub enum RawColumn {
    Number(usize),
    Name(String),
}

/// What has label 1.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected the lowest rating, a bound like \"> 3\", or a list of cells"
)]
pub enum RawPositive {
    Rating(u8),
    Bound(String),
    Cells(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDense {
    pub columns: Option<Spanned<String>>,
    pub numbers: Option<Spanned<String>>,
    pub indices: Option<Spanned<String>>,
    pub names: Spanned<String>,
    pub transform: RawTransform,
    #[serde(default)]
    pub scale: RawScale,
    pub missing: Option<Spanned<f64>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawTransform {
    Log1p,
    LogSquared,
    Identity,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawScale {
    #[default]
    None,
    MinMax,
    Standard,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawField {
    pub columns: Option<Spanned<String>>,
    pub numbers: Option<Spanned<String>>,
    pub indices: Option<Spanned<String>>,
    pub names: Spanned<String>,
    pub kind: Option<Spanned<RawKind>>,
    pub separator: Option<Spanned<String>>,
    pub missing: Option<Spanned<RawMissing>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawMissing {
    Error,
    Category,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawKind {
    Hex,
    Bucket,
    Text,
    Hour,
    Weekday,
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

impl RawRecipe {
    /// The keys that not every format knows, as they are named in [`Source::allow`], and where they stand.
    ///
    /// [`Source::allow`]: super::parse::Source::allow
    pub fn special_keys(&self) -> Vec<(&'static str, Range<usize>)> {
        let mut keys = vec![
            ("n_columns", span(&self.n_columns)),
            ("values", span(&self.values)),
            ("separator", span(&self.separator)),
            ("missing", span(&self.missing)),
            ("ignore", span(&self.ignore)),
            ("label.column", span(&self.label.column)),
            ("label.positive", span(&self.label.positive)),
            ("label.negative", span(&self.label.negative)),
            ("label.drop", span(&self.label.drop)),
        ];
        for dense in &self.dense {
            keys.extend([
                ("[[dense]]", Some(dense.names.span())),
                ("dense.columns", span(&dense.columns)),
                ("dense.numbers", span(&dense.numbers)),
                ("dense.indices", span(&dense.indices)),
                ("dense.missing", span(&dense.missing)),
            ]);
        }
        for field in &self.fields {
            keys.extend([
                ("fields.columns", span(&field.columns)),
                ("fields.numbers", span(&field.numbers)),
                ("fields.indices", span(&field.indices)),
                ("fields.kind", span(&field.kind)),
                ("fields.separator", span(&field.separator)),
                ("fields.missing", span(&field.missing)),
            ]);
        }
        let there = keys.into_iter();
        there.filter_map(|(key, span)| Some((key, span?))).collect()
    }
}

fn span<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
    value.as_ref().map(Spanned::span)
}

fn one() -> u64 {
    1
}
