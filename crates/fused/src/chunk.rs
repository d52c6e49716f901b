//! A run of a batch's samples on its way through the network and back, on one thread.

use crate::activations::{Activations, ChunkInputs, INPUTS, Pass};
use crate::interaction::{InteractionGradients, dot_interaction_gradient};
use crate::linear;
use crate::loss::bce_with_logits;
use crate::matrix::{Mat, MatMut, Write};
use crate::mode::Precision;
use crate::network::{DotInteraction, Linear, Network, Piece, Value};
use crate::product::Multiplier;
use crate::segments::Segments;

/// What a chunk reads besides its own buffers.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub pass: Pass<'a>,
    /// The weights, packed for the way back too.
    pub segments: &'a Segments,
    /// For each piece, how the gradients of its inputs are written.
    pub writes: &'a [[Write; 2]],
    /// Samples of the whole batch.
    pub batch: usize,
}

/// Buffers of the samples of a chunk; kept from step to step, so that nothing is allocated.
#[derive(Debug)]
pub(crate) struct Chunk {
    activations: Activations,
    /// The gradients of the activations.
    gradients: Vec<Vec<f32>>,
    /// Gradients of the biases, all layers one after the other.
    biases: Vec<f32>,
    /// Sum of the losses.
    pub loss: f64,
    scratch: Vec<f32>,
}

impl Chunk {
    pub fn new(network: &Network, precision: Precision) -> Self {
        Self {
            activations: Activations::new(network, precision),
            gradients: vec![Vec::new(); network.n_values() - INPUTS],
            biases: vec![0.0; bias_starts(network).1],
            loss: 0.0,
            scratch: Vec::new(),
        }
    }

    /// Computes the logits, `[rows]`.
    pub fn forward(&mut self, pass: Pass<'_>, inputs: ChunkInputs<'_>) -> &[f32] {
        self.activations.forward(pass, inputs)
    }

    /// Adds up the loss and goes back to the gradients of all values; that of the embeddings is written
    /// to `d_embeddings`. The gradients of the weights are left to
    /// [`weight_gradient`](Self::weight_gradient).
    pub fn backward(
        &mut self,
        context: &Context<'_>,
        inputs: ChunkInputs<'_>,
        labels: &[f32],
        d_embeddings: &mut [f32],
    ) {
        let network = context.pass.network;
        self.resize(network, inputs.rows);
        let logits = self.activations.get(network.output(), inputs);
        let gradient = &mut self.gradients[network.output().0 - INPUTS];
        self.loss = bce_with_logits(logits, labels, context.batch, gradient);
        let mut bias_end = self.biases.len();
        for (piece, &writes) in network.pieces().iter().zip(context.writes).rev() {
            match piece {
                Piece::Linear(piece) => {
                    let bias = bias_end - piece.n_out..bias_end;
                    bias_end = bias.start;
                    self.linear_back(piece, context, bias, writes[0], d_embeddings);
                }
                Piece::DotInteraction(piece) => {
                    self.interact_back(piece, inputs, writes, d_embeddings);
                }
            }
        }
    }

    /// Writes or adds this chunk's part of `dW = dyᵀ x` for the rows `rows` of the weight of `piece`.
    pub fn weight_gradient(
        &self,
        piece: &Linear,
        rows: std::ops::Range<usize>,
        inputs: ChunkInputs<'_>,
        multiplier: &mut Multiplier,
        out: &mut [f32],
        write: Write,
    ) {
        let x = self.activations.get(piece.input, inputs);
        let x = Mat::row_major(x, inputs.rows, piece.n_in);
        let dy = &self.gradients[piece.output.0 - INPUTS];
        let dy = Mat::row_major(dy, inputs.rows, piece.n_out);
        let out = MatMut::row_major(out, rows.len(), piece.n_in);
        multiplier.product(out, dy.columns(rows).t(), x, write);
    }

    /// This chunk's part of the gradients of all biases, in the order of the layers.
    pub fn bias_gradients(&self) -> &[f32] {
        &self.biases
    }

    fn resize(&mut self, network: &Network, rows: usize) {
        for (i, gradient) in self.gradients.iter_mut().enumerate() {
            gradient.resize(rows * network.width(Value(i + INPUTS)), 0.0);
        }
    }

    fn linear_back(
        &mut self,
        piece: &Linear,
        context: &Context<'_>,
        bias: std::ops::Range<usize>,
        write: Write,
        d_embeddings: &mut [f32],
    ) {
        let rows = self.activations.rows();
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let (y, multiplier) = self.activations.output(piece.output);
        let dy = &mut after[0];
        let kept = linear::kept(piece.dropout.as_ref());
        linear::bias_activation_gradient(dy, y, piece.activation, kept, &mut self.biases[bias]);
        let Some(dx) = target(piece.input, before, d_embeddings) else {
            return;
        };
        let dy = Mat::row_major(dy, rows, piece.n_out);
        let dx = MatMut::row_major(dx, rows, piece.n_in);
        let segments = context.segments;
        segments.backward(piece, dx, dy, write, multiplier);
    }

    fn interact_back(
        &mut self,
        piece: &DotInteraction,
        inputs: ChunkInputs<'_>,
        writes: [Write; 2],
        d_embeddings: &mut [f32],
    ) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let x = self.activations.get(piece.x, inputs);
        let dx = &mut before[piece.x.0 - INPUTS];
        let gradients = InteractionGradients {
            x: (dx, writes[0]),
            embeddings: (d_embeddings, writes[1]),
        };
        let e = inputs.embeddings;
        dot_interaction_gradient(piece, x, e, &after[0], gradients, &mut self.scratch);
    }
}

/// Where the bias gradients of each layer start, in the order of the pieces, and how many there are.
pub(crate) fn bias_starts(network: &Network) -> (Vec<usize>, usize) {
    let mut end = 0;
    let mut starts = Vec::new();
    for piece in network.pieces() {
        starts.push(end);
        if let Piece::Linear(linear) = piece {
            end += linear.n_out;
        }
    }
    (starts, end)
}

/// Where the gradient of a value goes; the dense features need none.
fn target<'a>(
    value: Value,
    gradients: &'a mut [Vec<f32>],
    d_embeddings: &'a mut [f32],
) -> Option<&'a mut [f32]> {
    match value {
        Value::DENSE => None,
        Value::EMBEDDINGS => Some(d_embeddings),
        Value(i) => Some(&mut gradients[i - INPUTS]),
    }
}
