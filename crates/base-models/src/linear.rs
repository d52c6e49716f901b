//! Models without hidden layers.

use serde::{Deserialize, Serialize};
use slimbed_fused::{FusedError, Network, Value};

use crate::parts::{first_order_terms, linear_term};

/// Logistic regression: the embedding of an id is its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrConfig {
    /// Number of dense features.
    pub n_dense: usize,
    /// Number of categorical fields; their embeddings have one number.
    pub n_fields: usize,
}

impl LrConfig {
    /// The network: parameters `linear.weight` `[1, n_dense]` and `bias` `[1]`, which start at 0.
    ///
    /// # Errors
    /// When there are no fields.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense, self.n_fields, 1)?;
        let linear = linear_term(&mut network, self.n_dense)?;
        let terms: Vec<Value> = std::iter::once(Value::EMBEDDINGS).chain(linear).collect();
        let logit = network.sum_with_bias("bias", &terms)?;
        network.finish(logit)
    }
}

/// A factorisation machine of order 2 (Rendle, ICDM 2010, equation 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FmConfig {
    /// Number of dense features; they have a linear term only.
    pub n_dense: usize,
    /// Number of categorical fields.
    pub n_fields: usize,
    /// Size of an embedding.
    pub dim: usize,
}

impl FmConfig {
    /// The network: parameters `linear.weight` `[1, n_dense]` and `bias` `[1]`, which start at 0.
    ///
    /// # Errors
    /// When there are no fields or `dim` is 0.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim)?;
        let mut terms = first_order_terms(&mut network, self.n_dense)?;
        terms.push(network.second_order(Value::EMBEDDINGS, self.n_fields)?);
        let logit = network.sum_with_bias("bias", &terms)?;
        network.finish(logit)
    }
}
