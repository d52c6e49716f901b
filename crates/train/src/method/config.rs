//! The settings of the reduction method.

use serde::{Deserialize, Serialize};

/// Which method reduces the tables, and how far; keys `method.*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodConfig {
    /// Which method.
    pub name: MethodKind,
    /// Share of the plain tables' values that are kept, in (0, 1]. 0: from `budget` or `ratio`, or the method's own.
    pub keep: f64,
    /// Bytes that the shipped file may take: tables, weights and header. 0: not set.
    pub budget: u64,
    /// Dense bytes of the tables over the bytes they may take in the shipped file. 0: not set.
    pub ratio: f64,
    /// What is trained again once it is known which values are kept.
    pub retrain: Retrain,
    /// Epochs of PEP's search, and of the dense training in front of magnitude pruning. 0: as `train.epochs`.
    pub search_epochs: u64,
    /// Steps between two counts of what PEP's search has left. 0: a hundredth of the search.
    pub check_every: u64,
    /// Further shares whose masks PEP's search saves for other runs.
    pub also_keep: Vec<f64>,
    /// Folder of another run with the same data, seed and search, whose masks are taken. Empty: none.
    pub search: String,
    /// Artefact of exact rows (`export.keep_exact`) that the first phase starts from. Empty: fresh rows.
    pub warm_start: String,
}

/// The reduction methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodKind {
    /// Every row as it was trained.
    None,
    /// Adaptively-masked twins layer: a learned prefix of each row (arXiv 2108.11513).
    Amtl,
    /// Learned thresholds prune single values, then the rest is trained again (arXiv 2101.07577).
    Pep,
    /// Rows are trained wide through two linear layers and folded (arXiv 2006.05623).
    Mlet,
    /// MLET, then PEP on the folded rows.
    MletPep,
    /// The smallest values of trained rows are pruned, then the rest is trained further.
    Magnitude,
    /// The smallest values of trained rows are pruned while they are trained on (arXiv 2002.06987).
    Deeplight,
    /// A controller weighs candidate sizes of each row by how popular its id is (arXiv 2002.11252).
    Autoemb,
    /// Plain tables of the largest dim that meets the target.
    Uniform,
    /// Ids share rows that a hash function chooses.
    Hash,
    /// Rows are made of a quotient's and a remainder's (arXiv 1909.02107).
    Qr,
    /// The more ids a field has, the narrower its rows (arXiv 1909.11810).
    MixedDim,
    /// Rare ids share the out-of-vocabulary row.
    Cutoff,
}

impl MethodKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Amtl,
        Self::Pep,
        Self::Mlet,
        Self::MletPep,
        Self::Magnitude,
        Self::Deeplight,
        Self::Autoemb,
        Self::Uniform,
        Self::Hash,
        Self::Qr,
        Self::MixedDim,
        Self::Cutoff,
    ];

    /// The name in settings, folders and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Amtl => "amtl",
            Self::Pep => "pep",
            Self::Mlet => "mlet",
            Self::MletPep => "mlet-pep",
            Self::Magnitude => "magnitude",
            Self::Deeplight => "deeplight",
            Self::Autoemb => "autoemb",
            Self::Uniform => "uniform",
            Self::Hash => "hash",
            Self::Qr => "qr",
            Self::MixedDim => "mixed-dim",
            Self::Cutoff => "cutoff",
        }
    }
}

/// Where the training behind a search starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retrain {
    /// As the method's paper does: PEP from the initial weights, magnitude pruning from the trained ones.
    Auto,
    /// From the initial weights of the search, all of them.
    Initial,
    /// From the weights the search or the dense training ended with.
    Trained,
    /// From other initial rows (PEP's ablation).
    Fresh,
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self {
            name: MethodKind::None,
            keep: 0.0,
            budget: 0,
            ratio: 0.0,
            retrain: Retrain::Auto,
            search_epochs: 0,
            check_every: 0,
            also_keep: Vec::new(),
            search: String::new(),
            warm_start: String::new(),
        }
    }
}
