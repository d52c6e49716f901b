//! Which network an artefact holds.

use serde::{Deserialize, Serialize};
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
        }
    }

    /// Numbers of dense features and of fields the network takes, and the size of an embedding.
    pub fn shape(&self) -> (usize, usize, usize) {
        match self {
            Self::Dlrm(config) => (config.n_dense, config.n_fields, config.dim),
        }
    }
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
