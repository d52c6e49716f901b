//! From settings to a network, and from an artefact back to one.

use candle_core::Device;
use serde::{Deserialize, Serialize};
use slimbed_compact::Artefact;
use slimbed_dlrm::{Dlrm, DlrmConfig};
use slimbed_nn::{Model, NamedTensor, NnError};
use slimbed_rng::Seed;

use crate::{ModelConfig, ModelKind, TrainError};

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

    /// Makes the network with parameters drawn from `seed`.
    ///
    /// # Errors
    /// When a size cannot work or the device refuses the parameters.
    pub fn build(&self, seed: Seed, device: &Device) -> Result<Box<dyn Model>, NnError> {
        match self {
            Self::Dlrm(config) => Ok(Box::new(Dlrm::new(config, seed, device)?)),
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
) -> Result<(ModelSpec, Box<dyn Model>), TrainError> {
    let description = artefact.manifest().model.clone();
    let spec: ModelSpec =
        serde_json::from_value(description).map_err(|e| TrainError::DataShape {
            what: "kind of model in the artefact",
            expected: "a network this version knows".into(),
            found: e.to_string(),
        })?;
    let model = spec.build(Seed::new(0), device)?;
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
    model.params().import(&weights)?;
    Ok((spec, model))
}
