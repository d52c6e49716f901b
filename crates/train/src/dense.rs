//! The dense part of a model, whoever computes it.

use candle_core::Device;
use slimbed_fused::{
    DenseRule, FusedNetwork, Inputs, Mode, NamedTensor, Network, OptimizerState, Precision,
    WeightDecay,
};
use slimbed_nn::GraphNetwork;
use slimbed_rng::Seed;

use crate::{EngineKind, TrainError};

/// A network with its parameters, gradients and optimiser.
pub trait DenseNetwork: Send {
    /// What it computes.
    fn network(&self) -> &Network;

    /// Mean loss of a batch in training; keeps the gradients of the parameters and writes that of the
    /// embeddings, `[n, n_fields · dim]`.
    ///
    /// # Errors
    /// When a length does not fit or the device fails.
    fn loss(
        &mut self,
        inputs: Inputs<'_>,
        labels: &[f32],
        mode: Mode,
        d_embeddings: &mut [f32],
    ) -> Result<f64, TrainError>;

    /// Writes the gradient of the first-order weights of the last [`loss`](Self::loss), `[n, n_fields]`.
    ///
    /// # Errors
    /// When `out` has another length: 0 where the network takes none.
    fn first_order_gradient(&self, out: &mut [f32]) -> Result<(), TrainError>;

    /// Writes the logits of a batch, `[n]`.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    fn logits(&mut self, inputs: Inputs<'_>, out: &mut [f32]) -> Result<(), TrainError>;

    /// Sum of squares of the last gradients of the parameters.
    ///
    /// # Errors
    /// When there are none.
    fn gradient_norm_squared(&self) -> Result<f64, TrainError>;

    /// The last gradients under the names of their parameters.
    ///
    /// # Errors
    /// When there are none.
    fn gradients(&self) -> Result<Vec<NamedTensor>, TrainError>;

    /// Updates the parameters with the last gradients times `scale`.
    ///
    /// # Errors
    /// When there are none.
    fn step(&mut self, lr: f64, scale: f64) -> Result<(), TrainError>;

    /// Copies the parameters out.
    ///
    /// # Errors
    /// When the device fails.
    fn export(&self) -> Result<Vec<NamedTensor>, TrainError>;

    /// Replaces every parameter by the tensor of the same name.
    ///
    /// # Errors
    /// When one is missing or has another shape; nothing is changed then.
    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), TrainError>;

    /// Copies the optimiser's state out.
    ///
    /// # Errors
    /// When the device fails.
    fn export_optimizer(&self) -> Result<OptimizerState, TrainError>;

    /// Goes on from a saved optimiser.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    fn import_optimizer(&mut self, state: &OptimizerState) -> Result<(), TrainError>;
}

/// Who computes the dense part, where and how precisely.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Fused kernels or candle's graph.
    pub kind: EngineKind,
    /// Type of the products' operands.
    pub precision: Precision,
    /// Where candle computes.
    pub device: Device,
}

impl Engine {
    /// The fastest there is for `device`, in f32.
    pub fn new(device: &Device) -> Self {
        Self {
            kind: EngineKind::Auto,
            precision: Precision::F32,
            device: device.clone(),
        }
    }

    /// Makes `network` with parameters drawn from `seed`.
    ///
    /// # Errors
    /// When kind, precision and device do not go together, or the device fails.
    pub fn build(
        &self,
        network: Network,
        seed: Seed,
        rule: DenseRule,
        decay: WeightDecay,
    ) -> Result<Box<dyn DenseNetwork>, TrainError> {
        let fused = match self.kind {
            EngineKind::Auto => self.device.is_cpu(),
            EngineKind::Fused => true,
            EngineKind::Graph => false,
        };
        if fused && !self.device.is_cpu() {
            let found = "fused".to_owned();
            return Err(mismatch(
                "train.engine",
                "graph or auto on this device",
                found,
            ));
        }
        if !fused && self.precision != Precision::F32 {
            let found = "bf16".to_owned();
            return Err(mismatch("train.precision", "f32 on candle's graph", found));
        }
        if fused {
            let fused = FusedNetwork::new(network, seed, rule, decay, self.precision)?;
            return Ok(Box::new(fused));
        }
        let graph = GraphNetwork::new(network, seed, rule, decay, &self.device)?;
        Ok(Box::new(graph))
    }
}

fn mismatch(key: &str, expected: &str, found: String) -> TrainError {
    TrainError::Setting {
        key: key.to_owned(),
        expected: expected.to_owned(),
        found,
        hint: String::new(),
    }
}

impl DenseNetwork for FusedNetwork {
    fn network(&self) -> &Network {
        Self::network(self)
    }

    fn loss(
        &mut self,
        inputs: Inputs<'_>,
        labels: &[f32],
        mode: Mode,
        d_embeddings: &mut [f32],
    ) -> Result<f64, TrainError> {
        Ok(Self::loss(self, inputs, labels, mode, d_embeddings)?)
    }

    fn first_order_gradient(&self, out: &mut [f32]) -> Result<(), TrainError> {
        Ok(Self::first_order_gradient(self, out)?)
    }

    fn logits(&mut self, inputs: Inputs<'_>, out: &mut [f32]) -> Result<(), TrainError> {
        Ok(Self::logits(self, inputs, out)?)
    }

    fn gradient_norm_squared(&self) -> Result<f64, TrainError> {
        Ok(Self::gradient_norm_squared(self))
    }

    fn gradients(&self) -> Result<Vec<NamedTensor>, TrainError> {
        Ok(Self::gradients(self))
    }

    fn step(&mut self, lr: f64, scale: f64) -> Result<(), TrainError> {
        Self::step(self, lr, scale);
        Ok(())
    }

    fn export(&self) -> Result<Vec<NamedTensor>, TrainError> {
        Ok(Self::export(self))
    }

    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), TrainError> {
        Ok(Self::import(self, tensors)?)
    }

    fn export_optimizer(&self) -> Result<OptimizerState, TrainError> {
        Ok(Self::export_optimizer(self))
    }

    fn import_optimizer(&mut self, state: &OptimizerState) -> Result<(), TrainError> {
        Ok(Self::import_optimizer(self, state)?)
    }
}

impl DenseNetwork for GraphNetwork {
    fn network(&self) -> &Network {
        Self::network(self)
    }

    fn loss(
        &mut self,
        inputs: Inputs<'_>,
        labels: &[f32],
        mode: Mode,
        d_embeddings: &mut [f32],
    ) -> Result<f64, TrainError> {
        Ok(Self::loss(self, inputs, labels, mode, d_embeddings)?)
    }

    fn first_order_gradient(&self, out: &mut [f32]) -> Result<(), TrainError> {
        Ok(Self::first_order_gradient(self, out)?)
    }

    fn logits(&mut self, inputs: Inputs<'_>, out: &mut [f32]) -> Result<(), TrainError> {
        Ok(Self::logits(self, inputs, out)?)
    }

    fn gradient_norm_squared(&self) -> Result<f64, TrainError> {
        Ok(Self::gradient_norm_squared(self)?)
    }

    fn gradients(&self) -> Result<Vec<NamedTensor>, TrainError> {
        Ok(Self::gradients(self)?)
    }

    fn step(&mut self, lr: f64, scale: f64) -> Result<(), TrainError> {
        Ok(Self::step(self, lr, scale)?)
    }

    fn export(&self) -> Result<Vec<NamedTensor>, TrainError> {
        Ok(self.params().export()?)
    }

    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), TrainError> {
        Ok(self.params().import(tensors)?)
    }

    fn export_optimizer(&self) -> Result<OptimizerState, TrainError> {
        Ok(Self::export_optimizer(self)?)
    }

    fn import_optimizer(&mut self, state: &OptimizerState) -> Result<(), TrainError> {
        Ok(Self::import_optimizer(self, state)?)
    }
}
