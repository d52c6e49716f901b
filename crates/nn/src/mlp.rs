//! Multi-layer perceptrons.

use candle_core::Tensor;

use crate::{Linear, LinearInit, Mode, NnError, Params, dropout};

/// What follows the last layer of an [`Mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// ReLU, as after every other layer (DLRM's bottom MLP).
    Relu,
    /// Nothing: logits (DLRM's top MLP before its sigmoid).
    Linear,
}

/// `x → relu(W₁x + b₁) → … → Wₙx + bₙ`, with dropout behind every ReLU.
#[derive(Clone, Debug)]
pub struct Mlp {
    name: String,
    layers: Vec<Linear>,
    output: Output,
    dropout: f32,
}

impl Mlp {
    /// Layers `<name>.0`, `<name>.1`, … for `widths = [in, hidden…, out]`.
    ///
    /// # Errors
    /// When fewer than two widths are given, one is 0, or `dropout` is not in `[0, 1)`.
    pub fn new(
        params: &mut Params,
        name: &str,
        widths: &[usize],
        init: LinearInit,
        output: Output,
        dropout: f32,
    ) -> Result<Self, NnError> {
        check_widths(widths)?;
        check_dropout(dropout)?;
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(i, w)| Linear::new(params, &format!("{name}.{i}"), w[0], w[1], init))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            layers,
            output,
            dropout,
        })
    }

    /// Shapes: `x` is `[batch, in]`, the result `[batch, out]`.
    ///
    /// # Errors
    /// When the last dimension of `x` is not `in`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x)?;
            if i + 1 < self.layers.len() || self.output == Output::Relu {
                x = dropout(
                    &x.relu()?,
                    self.dropout,
                    mode,
                    &format!("{}.{i}", self.name),
                )?;
            }
        }
        Ok(x)
    }
}

fn check_widths(widths: &[usize]) -> Result<(), NnError> {
    if widths.len() < 2 || widths.contains(&0) {
        return Err(NnError::Size {
            what: "MLP widths",
            expected: "two or more, none of them 0".into(),
            found: format!("{widths:?}"),
        });
    }
    Ok(())
}

fn check_dropout(rate: f32) -> Result<(), NnError> {
    if !(0.0..1.0).contains(&rate) {
        return Err(NnError::Size {
            what: "dropout rate",
            expected: "a number in [0, 1)".into(),
            found: rate.to_string(),
        });
    }
    Ok(())
}
