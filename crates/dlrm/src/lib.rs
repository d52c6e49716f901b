//! DLRM: bottom MLP, pairwise dot interaction, top MLP (Naumov et al. 2019, arXiv 1906.00091; as in
//! facebookresearch/dlrm).
//!
//! ```text
//! dense [B, n_dense] ── bottom MLP ── x [B, d] ──┐
//!                                                ├─ concat[x, ⟨t_i, t_j⟩] ── top MLP ── logit [B]
//! embeddings [B, F, d] ──────────────────────────┘
//! ```
//!
//! The model does not know where its embeddings come from. [`DlrmConfig`] holds the sizes,
//! [`Dlrm::new`] makes the parameters.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use slimbed_nn::{
    LinearInit, Mlp, Mode, Model, NnError, Output, Params, SelfInteraction, dot_interaction,
    interaction_width,
};
use slimbed_rng::Seed;

/// The sizes of a DLRM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DlrmConfig {
    /// Number of dense features, at least 1.
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
    fn own(&self) -> SelfInteraction {
        if self.self_interaction {
            SelfInteraction::Include
        } else {
            SelfInteraction::Exclude
        }
    }

    fn bottom_widths(&self) -> Vec<usize> {
        [&[self.n_dense], self.bottom.as_slice(), &[self.dim]].concat()
    }

    fn top_widths(&self) -> Vec<usize> {
        let width = interaction_width(self.n_fields, self.dim, self.own());
        [&[width], self.top.as_slice(), &[1]].concat()
    }

    fn check(&self) -> Result<(), NnError> {
        let size = |what, n: usize| {
            let found = n.to_string();
            Err(NnError::Size {
                what,
                expected: "at least 1".into(),
                found,
            })
        };
        match (self.n_dense, self.n_fields, self.dim) {
            (0, ..) => size("dense features of DLRM", 0),
            (_, 0, _) => size("fields of DLRM", 0),
            (.., 0) => size("dim of DLRM", 0),
            _ => Ok(()),
        }
    }
}

/// A DLRM with its parameters.
#[derive(Debug)]
pub struct Dlrm {
    params: Params,
    bottom: Mlp,
    top: Mlp,
    own: SelfInteraction,
}

impl Dlrm {
    /// Makes the parameters `bottom.<i>.{weight,bias}` and `top.<i>.{weight,bias}` on `device`, drawn
    /// from `seed` by DLRM's rule ([`LinearInit::Dlrm`]).
    ///
    /// # Errors
    /// When a size is 0 or the device refuses the tensors.
    pub fn new(config: &DlrmConfig, seed: Seed, device: &Device) -> Result<Self, NnError> {
        config.check()?;
        let mut params = Params::new(device, seed);
        let init = LinearInit::Dlrm;
        let bottom = Mlp::new(
            &mut params,
            "bottom",
            &config.bottom_widths(),
            init,
            Output::Relu,
            0.0,
        )?;
        let widths = config.top_widths();
        let top = Mlp::new(
            &mut params,
            "top",
            &widths,
            init,
            Output::Linear,
            config.dropout,
        )?;
        Ok(Self {
            params,
            bottom,
            top,
            own: config.own(),
        })
    }
}

impl Model for Dlrm {
    fn forward(&self, dense: &Tensor, embeddings: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let x = self.bottom.forward(dense, mode)?;
        let interactions = dot_interaction(&x, embeddings, self.own)?;
        Ok(self.top.forward(&interactions, mode)?.squeeze(1)?)
    }

    fn params(&self) -> &Params {
        &self.params
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
        let model = Dlrm::new(&kaggle(), Seed::new(1), &Device::Cpu).unwrap();
        let count = |prefix: &str| -> usize {
            let of_part = model
                .params()
                .iter()
                .filter(|(name, _)| name.starts_with(prefix));
            of_part.map(|(_, var)| var.elem_count()).sum()
        };
        assert_eq!((count("bottom"), count("top")), (155_984, 320_001));
    }

    #[test]
    fn sizes_of_zero_are_refused() {
        for (config, what) in [
            (
                DlrmConfig {
                    n_dense: 0,
                    ..kaggle()
                },
                "dense features",
            ),
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
            let error = Dlrm::new(&config, Seed::new(1), &Device::Cpu).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
