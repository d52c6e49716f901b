//! A network that only scores.

use crate::activations::{Activations, ChunkInputs, Pass, Weights};
use crate::fused_network::check_inputs;
use crate::matrix::{Mat, Write};
use crate::mode::{Inputs, Mode, Precision};
use crate::network::{Linear, Network, Piece};
use crate::panels::{Operand, OperandMut};
use crate::product::{Multiplier, PackedParts, PackedSet};
use crate::{FusedError, NamedTensor};

/// Scores with finished weights, in f32: a [`Network`] without gradients, optimiser and weights for the way
/// back.
///
/// It does not change, so that any number of threads can score with one, each with its own
/// [`ForwardScratch`]. A sample gets the bits that [`FusedNetwork`](crate::FusedNetwork) gives it, whatever
/// else is in its batch, where the products are this crate's (AVX-512 BF16).
#[derive(Debug)]
pub struct Forward {
    network: Network,
    weights: Finished,
}

/// Buffers of one thread; grown to the largest batch it has seen.
#[derive(Debug)]
pub struct ForwardScratch(Activations);

/// The parameters of all layers.
#[derive(Debug)]
struct Finished {
    /// `Wᵀ` of each layer.
    packed: PackedSet,
    biases: Vec<Vec<f32>>,
    /// Number of the layer that has a parameter as its weight.
    layers: Vec<usize>,
}

impl Forward {
    /// Takes over the parameters of `network` from the tensors of the same names.
    ///
    /// # Errors
    /// When one is missing or has another shape, or there is no memory.
    pub fn new(network: Network, tensors: &[NamedTensor]) -> Result<Self, FusedError> {
        Ok(Self {
            weights: Finished::new(&network, tensors)?,
            network,
        })
    }

    /// What it computes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Empty buffers for a thread.
    pub fn scratch(&self) -> ForwardScratch {
        ForwardScratch(Activations::new(&self.network, Precision::F32))
    }

    /// Writes the logits of a batch, `[n]`, on the calling thread and all samples at once: cut large batches.
    ///
    /// # Errors
    /// When a slice does not have the length that the batch and the network ask for.
    pub fn logits(
        &self,
        inputs: Inputs<'_>,
        scratch: &mut ForwardScratch,
        out: &mut [f32],
    ) -> Result<(), FusedError> {
        check_inputs(&self.network, &inputs, out)?;
        let pass = Pass {
            network: &self.network,
            weights: &self.weights,
            mode: Mode::Eval,
        };
        let inputs = ChunkInputs {
            start: 0,
            rows: inputs.n,
            dense: inputs.dense,
            embeddings: inputs.embeddings,
        };
        out.copy_from_slice(scratch.0.forward(pass, inputs));
        Ok(())
    }
}

impl Finished {
    fn new(network: &Network, tensors: &[NamedTensor]) -> Result<Self, FusedError> {
        let find = |i: usize| {
            let param = &network.params()[i];
            NamedTensor::find(tensors, &param.name, &param.shape)
        };
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        let mut layers = vec![0; network.params().len()];
        for linear in network.pieces().iter().filter_map(layer) {
            layers[linear.weight] = weights.len();
            let weight = &find(linear.weight)?.values;
            weights.push(Mat::row_major(weight, linear.n_out, linear.n_in).t());
            biases.push(find(linear.weight + 1)?.values.clone());
        }
        Ok(Self {
            packed: PackedSet::new(Precision::F32, &weights)?,
            biases,
            layers,
        })
    }
}

fn layer(piece: &Piece) -> Option<&Linear> {
    match piece {
        Piece::Linear(linear) => Some(linear),
        Piece::DotInteraction(_) => None,
    }
}

impl Weights for Finished {
    fn product(
        &self,
        linear: &Linear,
        y: OperandMut<'_>,
        x: Operand<'_>,
        multiplier: &mut Multiplier,
    ) {
        let weight = self.packed.view(self.layers[linear.weight]);
        let part = |_| weight;
        let parts = PackedParts {
            width: linear.n_out,
            part: &part,
        };
        multiplier.value_parts(y, x, parts, Write::Set);
    }

    fn bias(&self, linear: &Linear) -> &[f32] {
        &self.biases[self.layers[linear.weight]]
    }
}
