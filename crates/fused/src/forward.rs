//! A network that only scores.

use crate::activations::{Activations, ChunkInputs, Pass, Weights};
use crate::fused_network::check_inputs;
use crate::matrix::{Mat, Write};
use crate::mode::{Inputs, Mode, Precision};
use crate::network::Network;
use crate::panels::{Operand, OperandMut};
use crate::piece::{Linear, Piece};
use crate::product::{Multiplier, PackedParts, PackedSet, RowSet};
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

/// The parameters.
#[derive(Debug)]
struct Finished {
    /// `Wᵀ` of each layer.
    packed: PackedSet,
    /// Number of the layer that has a parameter as its weight.
    layers: Vec<usize>,
    /// Values of the parameters that are biases; of the others nothing.
    biases: Vec<Vec<f32>>,
    /// The same for single rows, where the processor has a kernel for them and all weights are finite: a zero
    /// times one that is not has to show.
    rows: Option<RowSet>,
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
        let mut activations = Activations::new(&self.network, Precision::F32);
        let widths = self.network.pieces().iter().map(|piece| match piece {
            Piece::Linear(linear) => linear.n_in,
            _ => 0,
        });
        activations
            .multiplier
            .reserve_row(widths.max().unwrap_or(0));
        ForwardScratch(activations)
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
            first_order: inputs.first_order,
        };
        out.copy_from_slice(scratch.0.forward(pass, inputs));
        Ok(())
    }
}

impl Finished {
    fn new(network: &Network, tensors: &[NamedTensor]) -> Result<Self, FusedError> {
        let n_params = network.params().len();
        let find = |i: usize| {
            let param = &network.params()[i];
            NamedTensor::find(tensors, &param.name, &param.shape)
        };
        let mut weights = Vec::new();
        let (mut layers, mut biases) = (vec![0; n_params], vec![Vec::new(); n_params]);
        for piece in network.pieces() {
            if let Piece::Linear(linear) = piece {
                layers[linear.weight] = weights.len();
                let weight = &find(linear.weight)?.values;
                weights.push(Mat::row_major(weight, linear.n_out, linear.n_in).t());
            }
            if let Some((bias, _)) = piece.bias() {
                biases[bias] = find(bias)?.values.clone();
            }
        }
        let mut values = weights.iter().flat_map(|weight| weight.values);
        let rows = if values.all(|x| x.is_finite()) {
            RowSet::new(&weights)?
        } else {
            None
        };
        Ok(Self {
            rows,
            packed: PackedSet::new(Precision::F32, &weights)?,
            layers,
            biases,
        })
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
        let layer = self.layers[linear.weight];
        if let (1, Some(rows)) = (x.rows(), &self.rows) {
            return multiplier.row_product(y, x, rows.view(layer));
        }
        let weight = self.packed.view(layer);
        let parts = PackedParts {
            width: linear.n_out,
            part: &|_| weight,
        };
        multiplier.value_parts(y, x, parts, Write::Set);
    }

    fn bias(&self, param: usize) -> &[f32] {
        &self.biases[param]
    }
}
