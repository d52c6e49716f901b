//! A run of a batch's samples on its way through the network and back, on one thread.

use std::ops::Range;

use crate::activations::{Activations, ChunkInputs, INPUTS, Pass};
use crate::attention::attention_gradient;
use crate::buffer::{Buffer, buffers};
use crate::elementwise::{put, put_product, spread, take_columns};
use crate::interaction::{InteractionGradients, gradient_of_interaction};
use crate::linear;
use crate::loss::bce_with_logits;
use crate::matrix::{MatMut, Write};
use crate::mode::Precision;
use crate::network::Network;
use crate::panels::OperandMut;
use crate::piece::{
    Attention, Concat, Cross, DotInteraction, Linear, Piece, SecondOrder, Sum, Value,
};
use crate::product::Multiplier;
use crate::second_order::second_order_gradient;
use crate::segments::Segments;

/// What a chunk reads besides its own buffers.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub pass: Pass<'a>,
    /// The weights, packed for the way back too.
    pub segments: &'a Segments,
    /// For each piece, how the gradients of its inputs are written.
    pub writes: &'a [Vec<Write>],
    /// Samples of the whole batch.
    pub batch: usize,
}

/// Buffers of the samples of a chunk; kept from step to step, so that nothing is allocated.
#[derive(Debug)]
pub(crate) struct Chunk {
    activations: Activations,
    /// The gradients of the first-order weights and the activations.
    gradients: Vec<Buffer>,
    /// Gradients of the biases, all pieces one after the other.
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
        let gradient = self.gradients[network.output().0 - INPUTS].row_major_mut();
        self.loss = bce_with_logits(logits.row_major(), labels, context.batch, gradient);
        let mut bias_end = self.biases.len();
        for (piece, writes) in network.pieces().iter().zip(context.writes).rev() {
            let bias = bias_end - piece.bias().map_or(0, |(_, len)| len)..bias_end;
            bias_end = bias.start;
            let back = Back {
                network,
                inputs,
                writes,
                d_embeddings: &mut *d_embeddings,
            };
            match piece {
                Piece::Linear(piece) => self.linear_back(piece, context, bias, back),
                Piece::DotInteraction(piece) => self.interact_back(piece, back),
                Piece::SecondOrder(piece) => self.second_order_back(piece, back),
                Piece::Concat(piece) => self.concat_back(piece, back),
                Piece::Sum(piece) => self.sum_back(piece, bias, back),
                Piece::Cross(piece) => self.cross_back(piece, back),
                Piece::Attention(piece) => self.attend_back(piece, back),
            }
        }
    }

    /// The gradient of the first-order weights, `[rows, n_fields]`; empty where the network takes none.
    pub fn first_order_gradient(&self) -> &[f32] {
        self.gradients[Value::FIRST_ORDER.0 - INPUTS].row_major()
    }

    /// Writes or adds this chunk's part of `dW = dyᵀ x` for the rows `rows` of the weight of `piece`.
    pub fn weight_gradient(
        &self,
        piece: &Linear,
        rows: Range<usize>,
        inputs: ChunkInputs<'_>,
        multiplier: &mut Multiplier,
        out: &mut [f32],
        write: Write,
    ) {
        let x = self.activations.input(piece, inputs);
        let dy = self.gradients[piece.output.0 - INPUTS].operand(piece.n_vectors);
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
        bias: Range<usize>,
        back: Back<'_>,
    ) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let (y, multiplier) = self.activations.output(piece.output);
        let dy = &mut after[0];
        if piece.bias.is_some() {
            let kept = linear::kept(piece.dropout.as_ref());
            linear::gradient_of_affine(dy, y, piece.activation, kept, &mut self.biases[bias]);
        }
        let dx = match piece.input {
            Value::DENSE => return,
            Value::EMBEDDINGS => {
                let rows = back.inputs.rows * piece.n_vectors;
                OperandMut::Rows(MatMut::row_major(back.d_embeddings, rows, piece.n_in))
            }
            Value(i) => before[i - INPUTS].operand_mut(piece.n_vectors),
        };
        let dy = dy.operand(piece.n_vectors);
        context
            .segments
            .backward(piece, dx, dy, back.writes[0], multiplier);
    }

    fn interact_back(&mut self, piece: &DotInteraction, back: Back<'_>) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let x = self.activations.get(piece.x, back.inputs);
        let dx = before[piece.x.0 - INPUTS].row_major_mut();
        let gradients = InteractionGradients {
            x: (dx, back.writes[0]),
            embeddings: (back.d_embeddings, back.writes[1]),
        };
        let e = back.inputs.embeddings;
        gradient_of_interaction(piece, x, e, after[0].placed(), gradients, &mut self.scratch);
    }

    fn second_order_back(&mut self, piece: &SecondOrder, back: Back<'_>) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let x = self.activations.get(piece.input, back.inputs);
        if let Some(dx) = target(piece.input, before, back.d_embeddings) {
            second_order_gradient(piece, x, after[0].row_major(), dx, back.writes[0]);
        }
    }

    fn concat_back(&mut self, piece: &Concat, back: Back<'_>) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let d_embeddings = back.d_embeddings;
        let (n, mut first) = (back.network.width(piece.output), 0);
        for (&value, &write) in piece.inputs.iter().zip(back.writes) {
            let width = back.network.width(value);
            if let Some(dx) = target(value, before, d_embeddings) {
                take_columns(after[0].row_major(), n, first, dx, width, write);
            }
            first += width;
        }
    }

    fn sum_back(&mut self, piece: &Sum, bias: Range<usize>, back: Back<'_>) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let d_embeddings = back.d_embeddings;
        let dy = after[0].row_major();
        self.biases[bias].fill(dy.iter().sum());
        for (&value, &write) in piece.inputs.iter().zip(back.writes) {
            if let Some(dx) = target(value, before, d_embeddings) {
                spread(dy, dx, back.network.width(value), write);
            }
        }
    }

    fn cross_back(&mut self, piece: &Cross, back: Back<'_>) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let d_embeddings = back.d_embeddings;
        let dy = after[0].row_major();
        let [x0, z] = [piece.x0, piece.z].map(|v| self.activations.get(v, back.inputs));
        // One after the other: `x0` and `x` are one value in the first layer.
        for (value, factor, write) in [(piece.x0, z, back.writes[0]), (piece.z, x0, back.writes[1])]
        {
            if let Some(dx) = target(value, before, d_embeddings) {
                put_product(dy, factor, dx, write);
            }
        }
        if let Some(dx) = target(piece.x, before, d_embeddings) {
            put(dx, dy, back.writes[2]);
        }
    }

    fn attend_back(&mut self, piece: &Attention, back: Back<'_>) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let x = self.activations.get(piece.input, back.inputs);
        let y = self.activations.get(piece.output, back.inputs);
        if let Some(dx) = target(piece.input, before, back.d_embeddings) {
            let dx = (dx, back.writes[0]);
            attention_gradient(piece, x, y, after[0].row_major(), dx, &mut self.scratch);
        }
    }
}

/// What a piece needs on the way back besides the chunk's buffers.
struct Back<'a> {
    network: &'a Network,
    inputs: ChunkInputs<'a>,
    /// How the gradients of its inputs are written.
    writes: &'a [Write],
    d_embeddings: &'a mut [f32],
}

/// Where the bias gradients of each piece start, in the order of the pieces, and how many there are.
pub(crate) fn bias_starts(network: &Network) -> (Vec<usize>, usize) {
    let mut end = 0;
    let mut starts = Vec::new();
    for piece in network.pieces() {
        starts.push(end);
        end += piece.bias().map_or(0, |(_, len)| len);
    }
    (starts, end)
}

/// Where the gradient of a value goes; the dense features need none.
fn target<'a>(
    value: Value,
    gradients: &'a mut [Buffer],
    d_embeddings: &'a mut [f32],
) -> Option<&'a mut [f32]> {
    match value {
        Value::DENSE => None,
        Value::EMBEDDINGS => Some(d_embeddings),
        Value(i) => Some(gradients[i - INPUTS].row_major_mut()),
    }
}
