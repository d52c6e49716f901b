//! Deep & Cross Network, version 2.

use serde::{Deserialize, Serialize};
use slimbed_fused::{Activation, FusedError, LinearInit, Network, NetworkBuilder, Value};

use crate::parts::{deep_term, features};

/// Where the MLP stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DcnStructure {
    /// Behind the cross layers.
    #[default]
    Stacked,
    /// Beside them.
    Parallel,
}

/// DCN-V2 (arXiv 2008.13535) with full matrices: `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcnV2Config {
    /// Number of dense features.
    pub n_dense: usize,
    /// Number of categorical fields.
    pub n_fields: usize,
    /// Size of an embedding.
    pub dim: usize,
    /// Number of cross layers.
    pub cross_layers: usize,
    /// Where the MLP stands.
    pub structure: DcnStructure,
    /// Hidden widths of the MLP.
    pub hidden: Vec<usize>,
    /// Dropout rate behind every hidden layer.
    pub dropout: f32,
}

impl DcnV2Config {
    /// The network: parameters `cross.<i>.{weight,bias}` and `mlp.<i>.{weight,bias}`, in parallel also
    /// `logit.{weight,bias}`, initialised by Xavier's rule.
    ///
    /// # Errors
    /// When a size is 0 or the dropout rate is not in `[0, 1)`.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim)?;
        let x0 = features(&mut network, self.n_dense)?;
        let crossed = network.cross_layers("cross", x0, self.cross_layers, LinearInit::Xavier)?;
        let logit = match self.structure {
            DcnStructure::Parallel if !self.hidden.is_empty() => {
                self.parallel(&mut network, x0, crossed)?
            }
            _ => deep_term(&mut network, crossed, &self.hidden, self.dropout)?,
        };
        network.finish(logit)
    }

    fn parallel(
        &self,
        network: &mut NetworkBuilder,
        x0: Value,
        crossed: Value,
    ) -> Result<Value, FusedError> {
        let (init, relu) = (LinearInit::Xavier, Activation::Relu);
        let deep = network.mlp("mlp", x0, &self.hidden, init, relu, self.dropout)?;
        let both = network.concat(&[crossed, deep])?;
        network.linear("logit", both, 1, init, Activation::None)
    }
}
