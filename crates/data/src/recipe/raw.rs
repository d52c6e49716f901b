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
    pub n_columns: usize,
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

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawFormat {
    Tsv,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLabel {
    pub column: Spanned<usize>,
    #[serde(default = "label")]
    pub name: String,
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
    pub columns: Spanned<String>,
    pub names: Spanned<String>,
    pub kind: RawKind,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawKind {
    Hex,
    Bucket,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSplit {
    pub kind: RawSplitKind,
    pub order: Option<[RawPart; 3]>,
    pub shares: RawShares,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawSplitKind {
    Random,
    FileOrder,
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

fn label() -> String {
    "label".into()
}
