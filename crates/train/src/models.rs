//! From settings to a network, and from an artefact back to one.

use candle_core::Device;
use serde::{Deserialize, Serialize};
use slimbed_compact::Artefact;
use slimbed_dlrm::DlrmConfig;
use slimbed_fused::{DenseRule, FusedError, NamedTensor, Network, WeightDecay};
use slimbed_rng::Seed;

use crate::{DenseNetwork, Engine, ModelConfig, ModelKind, TrainError};

/// A network with all its sizes: what an artefact says of its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelSpec {
    /// DLRM.
    Dlrm(DlrmConfig),
}

impl ModelSpec {
    /// The network `config` asks for, for data with these numbers of features.
    pub fn new(config: &ModelConfig, n_dense: usize, n_fields: usize) -> Self {
        match config.kind {
            ModelKind::Dlrm => Self::Dlrm(DlrmConfig {
                n_dense,
                n_fields,
                dim: config.dim,
                bottom: config.bottom.clone(),
                top: config.top.clone(),
                self_interaction: config.self_interaction,
                dropout: config.dropout,
            }),
        }
    }

    /// What the network computes.
    ///
    /// # Errors
    /// When a size cannot work.
    pub fn network(&self) -> Result<Network, FusedError> {
        match self {
            Self::Dlrm(config) => config.network(),
        }
    }

    /// Numbers of dense features and of fields the network takes, and the size of an embedding.
    pub fn shape(&self) -> (usize, usize, usize) {
        match self {
            Self::Dlrm(config) => (config.n_dense, config.n_fields, config.dim),
        }
    }
}

/// The network stored in an artefact, with its weights.
///
/// # Errors
/// When the artefact describes another network than its weights make.
pub fn load_model(
    artefact: &Artefact,
    device: &Device,
) -> Result<(ModelSpec, Box<dyn DenseNetwork>), TrainError> {
    let description = artefact.manifest().model.clone();
    let spec: ModelSpec =
        serde_json::from_value(description).map_err(|e| TrainError::DataShape {
            what: "kind of model in the artefact",
            expected: "a network this version knows".into(),
            found: e.to_string(),
        })?;
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let mut dense = Engine::new(device).build(spec.network()?, Seed::new(0), rule, decay)?;
    let weights: Vec<NamedTensor> = artefact
        .dense_names()
        .into_iter()
        .map(|name| {
            let (shape, values) = artefact.dense(&name)?;
            Ok(NamedTensor {
                shape: shape.to_vec(),
                values: values.to_vec(),
                name,
            })
        })
        .collect::<Result<_, TrainError>>()?;
    dense.import(&weights)?;
    Ok((spec, dense))
}
