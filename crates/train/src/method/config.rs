//! The settings of the reduction method.

use serde::{Deserialize, Serialize};

/// Which method reduces the tables, and how far; keys `method.*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodConfig {
    /// Which method.
    pub name: MethodKind,
    /// Share of the tables' values that pruning (PEP, magnitude) keeps and that AMTL aims at, in (0, 1].
    /// 0: from `budget` or `ratio`, or the method's own.
    pub keep: f64,
    /// Bytes that the tables may take in the shipped file. 0: not set.
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
}

impl MethodKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Amtl,
        Self::Pep,
        Self::Mlet,
        Self::MletPep,
        Self::Magnitude,
    ];

    /// Whether it drops single values, and has to know how many.
    pub fn prunes(self) -> bool {
        matches!(self, Self::Pep | Self::MletPep | Self::Magnitude)
    }

    /// The name in settings, folders and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Amtl => "amtl",
            Self::Pep => "pep",
            Self::Mlet => "mlet",
            Self::MletPep => "mlet-pep",
            Self::Magnitude => "magnitude",
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
