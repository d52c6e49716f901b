//! From settings to a network, and from an artefact to one on any device.

use candle_core::Device;
use slimbed_compact::Artefact;
use slimbed_dlrm::DlrmConfig;
use slimbed_fused::{DenseRule, WeightDecay};
use slimbed_rng::Seed;
use slimbed_score::{ModelSpec, dense_weights};

use crate::{DenseNetwork, Engine, ModelConfig, ModelKind, TrainError};

impl ModelConfig {
    /// The network it asks for, for data with these numbers of features.
    pub fn spec(&self, n_dense: usize, n_fields: usize) -> ModelSpec {
        match self.kind {
            ModelKind::Dlrm => ModelSpec::Dlrm(DlrmConfig {
                n_dense,
                n_fields,
                dim: self.dim,
                bottom: self.bottom.clone(),
                top: self.top.clone(),
                self_interaction: self.self_interaction,
                dropout: self.dropout,
            }),
        }
    }
}

/// The network stored in an artefact, with its weights, on a device.
///
/// # Errors
/// When the artefact describes another network than its weights make.
pub fn load_model(
    artefact: &Artefact,
    device: &Device,
) -> Result<Box<dyn DenseNetwork>, TrainError> {
    let spec = ModelSpec::of(artefact)?;
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let mut dense = Engine::new(device).build(spec.network()?, Seed::new(0), rule, decay)?;
    dense.import(&dense_weights(artefact)?)?;
    Ok(dense)
}
