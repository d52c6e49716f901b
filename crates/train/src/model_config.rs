//! Settings of the network.

use serde::{Deserialize, Serialize};
use slimbed_base_models::DcnStructure;

use crate::TrainError;
use crate::check::{at_least_one, check};

/// Settings of the network, keys `model.*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Which network.
    pub kind: ModelKind,
    /// Size of an embedding; 1 for logistic regression, whatever is asked for.
    pub dim: usize,
    /// Hidden widths of DLRM's bottom MLP, without input and output.
    pub bottom: Vec<usize>,
    /// Hidden widths of DLRM's top MLP, or of the only MLP of another model, without input and output. None:
    /// AutoInt without an MLP beside its attention.
    pub top: Vec<usize>,
    /// Whether products of a vector with itself enter DLRM's interaction.
    pub self_interaction: bool,
    /// Dropout rate behind the hidden layers of that MLP, in `[0, 1)`.
    pub dropout: f32,
    /// Number of DCN-V2's cross layers.
    pub cross_layers: usize,
    /// Where DCN-V2's MLP stands.
    pub cross_structure: DcnStructure,
    /// Number of AutoInt's interacting layers.
    pub attention_layers: usize,
    /// Attention heads of each of them.
    pub attention_heads: usize,
    /// Size of a query, a key and a value of a head.
    pub attention_dim: usize,
}

/// The networks that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Logistic regression.
    Lr,
    /// A factorisation machine (Rendle, ICDM 2010).
    Fm,
    /// DeepFM (arXiv 1703.04247).
    #[serde(rename = "deepfm")]
    DeepFm,
    /// Wide & Deep (arXiv 1606.07792).
    WideDeep,
    /// DCN-V2 (arXiv 2008.13535).
    DcnV2,
    /// AutoInt (arXiv 1810.11921).
    #[serde(rename = "autoint")]
    AutoInt,
    /// DLRM (arXiv 1906.00091).
    Dlrm,
}

impl ModelKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lr,
        Self::Fm,
        Self::DeepFm,
        Self::WideDeep,
        Self::DcnV2,
        Self::AutoInt,
        Self::Dlrm,
    ];

    /// The name in settings and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lr => "lr",
            Self::Fm => "fm",
            Self::DeepFm => "deepfm",
            Self::WideDeep => "wide-deep",
            Self::DcnV2 => "dcn-v2",
            Self::AutoInt => "autoint",
            Self::Dlrm => "dlrm",
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            kind: ModelKind::Dlrm,
            dim: 16,
            bottom: vec![512, 256, 64],
            top: vec![512, 256],
            self_interaction: false,
            dropout: 0.0,
            cross_layers: 3,
            cross_structure: DcnStructure::Stacked,
            attention_layers: 3,
            attention_heads: 2,
            attention_dim: 32,
        }
    }
}

impl ModelConfig {
    /// Checks that the sizes can work.
    ///
    /// # Errors
    /// Names the first setting that cannot.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        at_least_one("model.dim", self.dim)?;
        let has_dim = self.kind != ModelKind::Lr || self.dim == 1;
        check("model.dim", self.dim, has_dim, "1 for model.kind=lr")?;
        for (key, value) in [
            ("model.cross_layers", self.cross_layers),
            ("model.attention_layers", self.attention_layers),
            ("model.attention_heads", self.attention_heads),
            ("model.attention_dim", self.attention_dim),
        ] {
            at_least_one(key, value)?;
        }
        let dropout = self.dropout;
        check(
            "model.dropout",
            dropout,
            (0.0..1.0).contains(&dropout),
            "a number in [0, 1)",
        )
    }
}
