//! DLRM: bottom MLP, pairwise dot interaction, top MLP (Naumov et al. 2019, arXiv 1906.00091; as in
//! facebookresearch/dlrm).
//!
//! ```text
//! dense [B, n_dense] ── bottom MLP ── x [B, d] ──┐
//!                                                ├─ concat[x, ⟨t_i, t_j⟩] ── top MLP ── logit [B]
//! embeddings [B, F, d] ──────────────────────────┘
//! ```
//!
//! [`DlrmConfig`] holds the sizes, and [`DlrmConfig::network`] says what is computed; who computes it,
//! and where the embeddings come from, the model does not know.

use serde::{Deserialize, Serialize};
use slimbed_fused::{Activation, FusedError, LinearInit, Network, SelfInteraction, Value};

/// The sizes of a DLRM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DlrmConfig {
    /// Number of dense features. Without any the network takes one that is always 1, and `x` is a learned
    /// vector: its products with the embeddings are weights of the ids.
    pub n_dense: usize,
    /// Number of categorical fields.
    pub n_fields: usize,
    /// Size of an embedding, and of the bottom MLP's output.
    pub dim: usize,
    /// Hidden widths of the bottom MLP, without input and output.
    pub bottom: Vec<usize>,
    /// Hidden widths of the top MLP, without input and output.
    pub top: Vec<usize>,
    /// Whether products of a vector with itself enter the interaction.
    pub self_interaction: bool,
    /// Dropout rate behind every hidden layer of the top MLP.
    pub dropout: f32,
}

impl DlrmConfig {
    /// The network: parameters `bottom.<i>.{weight,bias}` and `top.<i>.{weight,bias}`, initialised by
    /// DLRM's rule ([`LinearInit::Dlrm`]).
    ///
    /// # Errors
    /// When a size is 0 or the dropout rate is not in `[0, 1)`.
    pub fn network(&self) -> Result<Network, FusedError> {
        let mut network = Network::builder(self.n_dense.max(1), self.n_fields, self.dim)?;
        let init = LinearInit::Dlrm;
        // Of a constant hidden layers would make a constant.
        let hidden = if self.n_dense > 0 {
            self.bottom.as_slice()
        } else {
            &[]
        };
        let bottom = [hidden, &[self.dim]].concat();
        let x = network.mlp("bottom", Value::DENSE, &bottom, init, Activation::Relu, 0.0)?;
        let z = network.dot_interaction(x, self.own())?;
        let top = [self.top.as_slice(), &[1]].concat();
        let logit = network.mlp("top", z, &top, init, Activation::None, self.dropout)?;
        network.finish(logit)
    }

    fn own(&self) -> SelfInteraction {
        if self.self_interaction {
            SelfInteraction::Include
        } else {
            SelfInteraction::Exclude
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kaggle() -> DlrmConfig {
        DlrmConfig {
            n_dense: 13,
            n_fields: 26,
            dim: 16,
            bottom: vec![512, 256, 64],
            top: vec![512, 256],
            self_interaction: false,
            dropout: 0.0,
        }
    }

    #[test]
    fn parameter_counts_are_those_of_the_reference() {
        let network = kaggle().network().unwrap();
        let count = |prefix: &str| -> usize {
            let of_part = network.params().iter();
            of_part
                .filter(|param| param.name.starts_with(prefix))
                .map(|param| param.len())
                .sum()
        };
        assert_eq!((count("bottom"), count("top")), (155_984, 320_001));
    }

    #[test]
    fn without_dense_features_x_is_one_layer_of_a_constant() {
        let config = DlrmConfig {
            n_dense: 0,
            ..kaggle()
        };
        let network = config.network().unwrap();
        let bottom = network.params().iter();
        let bottom: usize = bottom
            .filter(|param| param.name.starts_with("bottom"))
            .map(|param| param.len())
            .sum();
        assert_eq!((network.n_dense(), bottom), (1, 2 * 16));
    }

    #[test]
    fn sizes_of_zero_are_refused() {
        for (config, what) in [
            (
                DlrmConfig {
                    n_fields: 0,
                    ..kaggle()
                },
                "fields",
            ),
            (DlrmConfig { dim: 0, ..kaggle() }, "dim"),
            (
                DlrmConfig {
                    top: vec![4, 0],
                    ..kaggle()
                },
                "widths",
            ),
        ] {
            let error = config.network().unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
