//! From settings to a network, and from an artefact to one on any device.

use candle_core::Device;
use slimbed_base_models::{
    AutoIntConfig, DcnV2Config, DeepFmConfig, FmConfig, LrConfig, WideDeepConfig,
};
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
            ModelKind::Lr => ModelSpec::Lr(LrConfig { n_dense, n_fields }),
            ModelKind::Fm => ModelSpec::Fm(FmConfig {
                n_dense,
                n_fields,
                dim: self.dim,
            }),
            ModelKind::DeepFm => ModelSpec::DeepFm(DeepFmConfig {
                n_dense,
                n_fields,
                dim: self.dim,
                hidden: self.top.clone(),
                dropout: self.dropout,
            }),
            ModelKind::WideDeep => ModelSpec::WideDeep(WideDeepConfig {
                n_dense,
                n_fields,
                dim: self.dim,
                hidden: self.top.clone(),
                dropout: self.dropout,
            }),
            ModelKind::DcnV2 => ModelSpec::DcnV2(DcnV2Config {
                n_dense,
                n_fields,
                dim: self.dim,
                cross_layers: self.cross_layers,
                structure: self.cross_structure,
                hidden: self.top.clone(),
                dropout: self.dropout,
            }),
            ModelKind::AutoInt => ModelSpec::AutoInt(AutoIntConfig {
                n_dense,
                n_fields,
                dim: self.dim,
                layers: self.attention_layers,
                heads: self.attention_heads,
                head_dim: self.attention_dim,
                hidden: self.top.clone(),
                dropout: self.dropout,
            }),
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
