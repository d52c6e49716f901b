//! A network on candle.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use slimbed_fused::{
    DenseRule, FusedError, Inputs, Mode, NamedTensor, Network, OptimizerState, Value, WeightDecay,
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
    /// Of the first-order weights of the last batch.
    first_order_gradient: Vec<f32>,
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
            first_order_gradient: Vec::new(),
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
        let leaves = self.leaves(inputs)?;
        let labels = Tensor::from_slice(labels, labels.len(), device)?;
        let logits = self.forward(&leaves, mode)?;
        let loss = bce_with_logits(&logits, &labels)?;
        let mut gradients = loss.backward()?;
        d_embeddings.copy_from_slice(&taken(&mut gradients, &leaves.embeddings, "embeddings")?);
        if let Some(weights) = &leaves.first_order {
            self.first_order_gradient = taken(&mut gradients, weights, "first-order weights")?;
        }
        self.gradients = Some(gradients);
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    /// Writes the gradient of the first-order weights of the last [`loss`](Self::loss), `[n, n_fields]`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn first_order_gradient(&self, out: &mut [f32]) -> Result<(), NnError> {
        let (expected, found) = (self.first_order_gradient.len(), out.len());
        if expected != found {
            let what = "gradient of the first-order weights";
            return Err(FusedError::size(what, format!("{expected} values"), found).into());
        }
        out.copy_from_slice(&self.first_order_gradient);
        Ok(())
    }

    /// Writes the logits of a batch, `[n]`.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn logits(&self, inputs: Inputs<'_>, out: &mut [f32]) -> Result<(), NnError> {
        let logits = self.forward(&self.leaves(inputs)?, Mode::Eval)?;
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

    /// The inputs on the device.
    fn leaves(&self, inputs: Inputs<'_>) -> Result<Leaves, NnError> {
        let tensor = |values: &[f32], value| {
            let shape = (inputs.n, self.network.width(value));
            Tensor::from_slice(values, shape, self.params.device())
        };
        let leaf = |values, value| Ok::<_, NnError>(Var::from_tensor(&tensor(values, value)?)?);
        let some = |value| self.network.width(value) > 0;
        Ok(Leaves {
            dense: some(Value::DENSE)
                .then(|| tensor(inputs.dense, Value::DENSE))
                .transpose()?,
            embeddings: leaf(inputs.embeddings, Value::EMBEDDINGS)?,
            first_order: some(Value::FIRST_ORDER)
                .then(|| leaf(inputs.first_order, Value::FIRST_ORDER))
                .transpose()?,
        })
    }

    /// Logits `[batch]`.
    fn forward(&self, leaves: &Leaves, mode: Mode) -> Result<Tensor, NnError> {
        let first_order = leaves.first_order.as_ref().map(Var::as_tensor);
        let mut values = Values(vec![
            leaves.dense.clone(),
            Some(leaves.embeddings.as_tensor().clone()),
            first_order.cloned(),
        ]);
        for piece in self.network.pieces() {
            let value = pieces::piece(piece, &self.params, &values, mode)?;
            values.0.push(Some(value));
        }
        Ok(values.get(self.network.output())?.squeeze(1)?)
    }
}

/// What a batch brings; those that gradients are asked for are leaves of the graph.
struct Leaves {
    /// None where the network takes none.
    dense: Option<Tensor>,
    embeddings: Var,
    /// None where the network takes none.
    first_order: Option<Var>,
}

/// The values computed so far; inputs of width 0 are none.
pub(crate) struct Values(Vec<Option<Tensor>>);

impl Values {
    pub fn get(&self, value: Value) -> Result<&Tensor, NnError> {
        let found = self.0.get(value.index()).and_then(Option::as_ref);
        found.ok_or_else(|| {
            let found = format!("value {}", value.index());
            FusedError::size("input of a piece", "a value of some width", found).into()
        })
    }
}

/// Takes the gradient of a leaf out, as plain memory.
fn taken(gradients: &mut GradStore, leaf: &Var, name: &str) -> Result<Vec<f32>, NnError> {
    let gradient = gradients.remove(leaf).ok_or_else(|| NnError::NoGradient {
        name: name.to_owned(),
    })?;
    Ok(gradient.flatten_all()?.to_vec1()?)
}
