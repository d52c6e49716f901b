//! A run of a batch's samples on its way through the network and back, on one thread.

use crate::activations::{Activations, ChunkInputs, INPUTS, Pass};
use crate::buffer::{Buffer, buffers};
use crate::interaction::{InteractionGradients, gradient_of_interaction};
use crate::linear;
use crate::loss::bce_with_logits;
use crate::matrix::{MatMut, Write};
use crate::mode::Precision;
use crate::network::{DotInteraction, Linear, Network, Piece, Value};
use crate::panels::OperandMut;
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
    gradients: Vec<Buffer>,
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
            gradients: buffers(network, precision),
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
        for gradient in &mut self.gradients {
            gradient.resize(inputs.rows);
        }
        let (logits, _) = self.activations.output(network.output());
        let gradient = &mut self.gradients[network.output().0 - INPUTS];
        let gradient = gradient.row_major_mut();
        self.loss = bce_with_logits(logits.row_major(), labels, context.batch, gradient);
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
        let x = self.activations.input(piece, inputs);
        let dy = self.gradients[piece.output.0 - INPUTS].operand();
        let out = MatMut::row_major(out, rows.len(), piece.n_in);
        multiplier.gradient(out, dy.columns(rows), x, write);
    }

    /// This chunk's part of the gradients of all biases, in the order of the layers.
    pub fn bias_gradients(&self) -> &[f32] {
        &self.biases
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
        linear::gradient_of_affine(dy, y, piece.activation, kept, &mut self.biases[bias]);
        let Some(dx) = target(piece, rows, before, d_embeddings) else {
            return;
        };
        let segments = context.segments;
        segments.backward(piece, dx, dy.operand(), write, multiplier);
    }

    fn interact_back(
        &mut self,
        piece: &DotInteraction,
        inputs: ChunkInputs<'_>,
        writes: [Write; 2],
        d_embeddings: &mut [f32],
    ) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let (x, _) = self.activations.output(piece.x);
        let dx = before[piece.x.0 - INPUTS].row_major_mut();
        let gradients = InteractionGradients {
            x: (dx, writes[0]),
            embeddings: (d_embeddings, writes[1]),
        };
        let e = inputs.embeddings;
        let (x, dy) = (x.row_major(), after[0].placed());
        gradient_of_interaction(piece, x, e, dy, gradients, &mut self.scratch);
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

/// Where the gradient of a layer's input goes; the dense features need none.
fn target<'a>(
    piece: &Linear,
    rows: usize,
    gradients: &'a mut [Buffer],
    d_embeddings: &'a mut [f32],
) -> Option<OperandMut<'a>> {
    match piece.input {
        Value::DENSE => None,
        Value::EMBEDDINGS => {
            let dx = MatMut::row_major(d_embeddings, rows, piece.n_in);
            Some(OperandMut::Rows(dx))
        }
        Value(i) => Some(gradients[i - INPUTS].operand_mut()),
    }
}
