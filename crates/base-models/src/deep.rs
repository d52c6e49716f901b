//! Models that add an MLP to a shallow one.

use serde::{Deserialize, Serialize};
use slimbed_fused::{FusedError, Network, Value};

use crate::parts::{deep_term, features, first_order_terms};

/// Wide & Deep (arXiv 1606.07792): first-order weights and an MLP.
///
/// The wide part has the ids of the fields; cross-products of the paper are fields of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WideDeepConfig {
    /// Number of dense features.
    pub n_dense: usize,
    /// Number of categorical fields.
    pub n_fields: usize,
    /// Size of an embedding.
    pub dim: usize,
    /// Hidden widths of the MLP.
    pub hidden: Vec<usize>,
    /// Dropout rate behind every hidden layer.
    pub dropout: f32,
}

impl WideDeepConfig {
    /// The network: parameters `linear.weight` `[1, n_dense]`, which starts at 0, and `mlp.<i>.{weight,bias}`
    /// (Xavier); the bias of the last layer is that of the model.
    ///
    /// # Errors
    /// When a size is 0 or the dropout rate is not in `[0, 1)`.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim)?;
        let mut terms = first_order_terms(&mut network, self.n_dense)?;
        let x = features(&mut network, self.n_dense)?;
        terms.push(deep_term(&mut network, x, &self.hidden, self.dropout)?);
        let logit = network.sum(&terms)?;
        network.finish(logit)
    }
}

/// DeepFM (arXiv 1703.04247): a factorisation machine and an MLP over the same embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepFmConfig {
    /// Number of dense features; they have a linear term and enter the MLP.
    pub n_dense: usize,
    /// Number of categorical fields.
    pub n_fields: usize,
    /// Size of an embedding.
    pub dim: usize,
    /// Hidden widths of the MLP.
    pub hidden: Vec<usize>,
    /// Dropout rate behind every hidden layer.
    pub dropout: f32,
}

impl DeepFmConfig {
    /// The network: parameters as those of [`WideDeepConfig::network`].
    ///
    /// # Errors
    /// When a size is 0 or the dropout rate is not in `[0, 1)`.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim)?;
        let mut terms = first_order_terms(&mut network, self.n_dense)?;
        terms.push(network.second_order(Value::EMBEDDINGS, self.n_fields)?);
        let x = features(&mut network, self.n_dense)?;
        terms.push(deep_term(&mut network, x, &self.hidden, self.dropout)?);
        let logit = network.sum(&terms)?;
        network.finish(logit)
    }
}
