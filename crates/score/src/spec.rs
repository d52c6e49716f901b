//! Which network an artefact holds.

use serde::{Deserialize, Serialize};
use slimbed_base_models::{
    AutoIntConfig, DcnV2Config, DeepFmConfig, FmConfig, LrConfig, WideDeepConfig,
};
use slimbed_compact::Artefact;
use slimbed_dlrm::DlrmConfig;
use slimbed_fused::{FusedError, NamedTensor, Network};

use crate::ScoreError;

/// A network with all its sizes: what an artefact says of its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelSpec {
    /// DLRM.
    Dlrm(DlrmConfig),
    /// Logistic regression.
    Lr(LrConfig),
    /// A factorisation machine.
    Fm(FmConfig),
    /// DeepFM.
    #[serde(rename = "deepfm")]
    DeepFm(DeepFmConfig),
    /// Wide & Deep.
    WideDeep(WideDeepConfig),
    /// DCN-V2.
    DcnV2(DcnV2Config),
    /// AutoInt.
    #[serde(rename = "autoint")]
    AutoInt(AutoIntConfig),
}

impl ModelSpec {
    /// The network that an artefact describes.
    ///
    /// # Errors
    /// When this version does not know it.
    pub fn of(artefact: &Artefact) -> Result<Self, ScoreError> {
        let description = artefact.manifest().model.clone();
        serde_json::from_value(description).map_err(|e| ScoreError::Model {
            found: e.to_string(),
        })
    }

    /// What the network computes.
    ///
    /// # Errors
    /// When a size cannot work.
    pub fn network(&self) -> Result<Network, FusedError> {
        match self {
            Self::Dlrm(config) => config.network(),
            Self::Lr(config) => config.network(),
            Self::Fm(config) => config.network(),
            Self::DeepFm(config) => config.network(),
            Self::WideDeep(config) => config.network(),
            Self::DcnV2(config) => config.network(),
            Self::AutoInt(config) => config.network(),
        }
    }

    /// Numbers of dense features and of fields the network takes, and the size of an embedding.
    pub fn shape(&self) -> (usize, usize, usize) {
        match self {
            Self::Dlrm(config) => (config.n_dense, config.n_fields, config.dim),
            Self::Lr(config) => (config.n_dense, config.n_fields, 1),
            Self::Fm(config) => (config.n_dense, config.n_fields, config.dim),
            Self::DeepFm(config) => (config.n_dense, config.n_fields, config.dim),
            Self::WideDeep(config) => (config.n_dense, config.n_fields, config.dim),
            Self::DcnV2(config) => (config.n_dense, config.n_fields, config.dim),
            Self::AutoInt(config) => (config.n_dense, config.n_fields, config.dim),
        }
    }

    /// Whether the ids have first-order weights: a second table for each field, of one value a row. In an
    /// artefact these tables stand behind those of the embeddings, in the same order, under the names of
    /// [`first_order_name`].
    pub fn has_first_order(&self) -> bool {
        match self {
            Self::Fm(_) | Self::DeepFm(_) | Self::WideDeep(_) => true,
            Self::Dlrm(_) | Self::Lr(_) | Self::DcnV2(_) | Self::AutoInt(_) => false,
        }
    }
}

/// Name of the table with the first-order weights of a field.
pub fn first_order_name(field: &str) -> String {
    format!("{field}.first-order")
}

/// Copies of an artefact's dense weights.
///
/// # Errors
/// When one cannot be read.
pub fn dense_weights(artefact: &Artefact) -> Result<Vec<NamedTensor>, ScoreError> {
    let names = artefact.dense_names().into_iter();
    names
        .map(|name| {
            let (shape, values) = artefact.dense(&name)?;
            Ok(NamedTensor {
                shape: shape.to_vec(),
                values: values.to_vec(),
                name,
            })
        })
        .collect()
}
