//! A network on candle.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use slimbed_fused::{
    DenseRule, Inputs, Mode, NamedTensor, Network, OptimizerState, Piece, Value, WeightDecay,
};
use slimbed_rng::Seed;

use crate::{GraphOptimizer, NnError, Params, bce_with_logits, pieces};

/// Trains and scores a [`Network`] with candle, on any of its devices.
#[derive(Debug)]
pub struct GraphNetwork {
    network: Network,
    params: Params,
    optimizer: GraphOptimizer,
    gradients: Option<GradStore>,
}

impl GraphNetwork {
    /// Makes the parameters on `device`, drawn from `seed`, and an optimiser at step 0.
    ///
    /// # Errors
    /// When the device refuses a tensor.
    pub fn new(
        network: Network,
        seed: Seed,
        rule: DenseRule,
        weight_decay: WeightDecay,
        device: &Device,
    ) -> Result<Self, NnError> {
        let params = Params::new(&network, seed, device)?;
        Ok(Self {
            optimizer: GraphOptimizer::new(&params, rule, weight_decay)?,
            params,
            network,
            gradients: None,
        })
    }

    /// What it computes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The trainable tensors.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Mean loss of a batch in training; keeps the gradients of the parameters for
    /// [`step`](Self::step) and writes that of the embeddings, `[n, n_fields · dim]`.
    ///
    /// # Errors
    /// When a shape does not fit or the device refuses a tensor.
    pub fn loss(
        &mut self,
        inputs: Inputs<'_>,
        labels: &[f32],
        mode: Mode,
        d_embeddings: &mut [f32],
    ) -> Result<f64, NnError> {
        let device = self.params.device();
        let (dense, embeddings) = self.leaves(inputs)?;
        let labels = Tensor::from_slice(labels, labels.len(), device)?;
        let logits = self.forward(&dense, &embeddings, mode)?;
        let loss = bce_with_logits(&logits, &labels)?;
        let mut gradients = loss.backward()?;
        let gradient = gradients
            .remove(&embeddings)
            .ok_or_else(|| NnError::NoGradient {
                name: "embeddings".to_owned(),
            })?;
        let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        d_embeddings.copy_from_slice(&gradient);
        self.gradients = Some(gradients);
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    /// Writes the logits of a batch, `[n]`.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn logits(&self, inputs: Inputs<'_>, out: &mut [f32]) -> Result<(), NnError> {
        let (dense, embeddings) = self.leaves(inputs)?;
        let logits = self.forward(&dense, &embeddings, Mode::Eval)?;
        out.copy_from_slice(&logits.to_vec1::<f32>()?);
        Ok(())
    }

    /// Sum of squares of the last batch's gradients, for clipping.
    ///
    /// # Errors
    /// When there was no loss, or a parameter has no gradient.
    pub fn gradient_norm_squared(&self) -> Result<f64, NnError> {
        let gradients = self.gradients()?;
        let squares = gradients.iter().flat_map(|tensor| &tensor.values);
        Ok(squares.map(|&g| f64::from(g).powi(2)).sum())
    }

    /// Copies the gradients of the last batch out, under the names of their parameters.
    ///
    /// # Errors
    /// As [`gradient_norm_squared`](Self::gradient_norm_squared).
    pub fn gradients(&self) -> Result<Vec<NamedTensor>, NnError> {
        let store = self.gradients.as_ref().ok_or(NnError::NoLoss)?;
        let params = self.params.iter();
        params
            .map(|(name, var)| {
                let gradient = store.get(var.as_tensor());
                let gradient = gradient.ok_or_else(|| NnError::NoGradient {
                    name: name.to_owned(),
                })?;
                crate::params::to_named(name, gradient)
            })
            .collect()
    }

    /// Updates the parameters with the gradients of the last batch times `scale`.
    ///
    /// # Errors
    /// When there was no loss, or a parameter has no gradient; nothing is changed then.
    pub fn step(&mut self, lr: f64, scale: f64) -> Result<(), NnError> {
        let gradients = self.gradients.take().ok_or(NnError::NoLoss)?;
        self.optimizer.step(&self.params, &gradients, lr, scale)
    }

    /// Copies the optimiser's state out.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    pub fn export_optimizer(&self) -> Result<OptimizerState, NnError> {
        self.optimizer.export(&self.params)
    }

    /// Goes on from a saved optimiser.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape; nothing is changed then.
    pub fn import_optimizer(&mut self, state: &OptimizerState) -> Result<(), NnError> {
        self.optimizer.import(&self.params, state)
    }

    /// Dense features and embeddings on the device; the embeddings are a leaf of the graph.
    fn leaves(&self, inputs: Inputs<'_>) -> Result<(Tensor, Var), NnError> {
        let device = self.params.device();
        let shape = |value| (inputs.n, self.network.width(value));
        let dense = Tensor::from_slice(inputs.dense, shape(Value::DENSE), device)?;
        let e = Tensor::from_slice(inputs.embeddings, shape(Value::EMBEDDINGS), device)?;
        Ok((dense, Var::from_tensor(&e)?))
    }

    /// Logits `[batch]`.
    fn forward(&self, dense: &Tensor, embeddings: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let mut values = vec![dense.clone(), embeddings.clone()];
        for piece in self.network.pieces() {
            let value = match piece {
                Piece::Linear(piece) => {
                    pieces::linear(piece, &self.params, &values[piece.input.index()], mode)?
                }
                Piece::DotInteraction(piece) => {
                    pieces::dot_interaction(piece, &values[piece.x.index()], embeddings)?
                }
            };
            values.push(value);
        }
        Ok(values[self.network.output().index()].squeeze(1)?)
    }
}
