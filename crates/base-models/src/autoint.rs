//! AutoInt.

use serde::{Deserialize, Serialize};
use slimbed_fused::{Activation, FusedError, LinearInit, Network, Value};

use crate::parts::{deep_term, features, linear_term};

/// AutoInt (arXiv 1810.11921): multi-head self-attention over the embeddings of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoIntConfig {
    /// Number of dense features; they have a linear term and enter the MLP, not the attention.
    pub n_dense: usize,
    /// Number of categorical fields.
    pub n_fields: usize,
    /// Size of an embedding.
    pub dim: usize,
    /// Number of interacting layers.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Size of a query, a key and a value of a head, the paper's `d'`; a layer makes vectors of
    /// `heads · head_dim`.
    pub head_dim: usize,
    /// Hidden widths of an MLP beside the attention, whose output is added to the logit (the paper's AutoInt+);
    /// none: no MLP.
    pub hidden: Vec<usize>,
    /// Dropout rate behind every hidden layer of the MLP.
    pub dropout: f32,
}

impl AutoIntConfig {
    /// The network: parameters `attention.<i>.weight` (query, key, value and residual matrices, see
    /// [`attention`](slimbed_fused::NetworkBuilder::attention)), `logit.{weight,bias}` and
    /// `mlp.<i>.{weight,bias}`, initialised by Xavier's rule, and `linear.weight` `[1, n_dense]`, which starts at 0.
    ///
    /// # Errors
    /// When a size is 0 or the dropout rate is not in `[0, 1)`.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim)?;
        if self.layers == 0 {
            return Err(FusedError::size("attention layers", "1 or more", 0));
        }
        let mut x = Value::EMBEDDINGS;
        for i in 0..self.layers {
            let name = format!("attention.{i}");
            x = network.attention(&name, x, self.n_fields, self.heads, self.head_dim)?;
        }
        let mut terms =
            vec![network.linear("logit", x, 1, LinearInit::Xavier, Activation::None)?];
        terms.extend(linear_term(&mut network, self.n_dense)?);
        if !self.hidden.is_empty() {
            let x = features(&mut network, self.n_dense)?;
            terms.push(deep_term(&mut network, x, &self.hidden, self.dropout)?);
        }
        let logit = network.sum(&terms)?;
        network.finish(logit)
    }
}
