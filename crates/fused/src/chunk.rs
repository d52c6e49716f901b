//! A run of a batch's samples on its way through the network, on one thread.

use crate::interaction::{InteractionGradients, dot_interaction, dot_interaction_gradient};
use crate::linear;
use crate::loss::bce_with_logits;
use crate::matrix::{Mat, MatMut, Write};
use crate::mode::{Mode, Precision};
use crate::network::{DotInteraction, Linear, Network, Piece, Value};
use crate::product::Multiplier;
use crate::segments::Segments;

/// What a chunk reads besides its own buffers.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub network: &'a Network,
    /// The flat parameters.
    pub params: &'a [f32],
    /// The weights among them, packed.
    pub segments: &'a Segments,
    /// For each piece, how the gradients of its inputs are written.
    pub writes: &'a [[Write; 2]],
    pub mode: Mode,
    /// Samples of the whole batch.
    pub batch: usize,
}

/// The part of a batch's inputs that belongs to a chunk.
#[derive(Clone, Copy)]
pub(crate) struct ChunkInputs<'a> {
    /// First sample.
    pub start: usize,
    pub rows: usize,
    pub dense: &'a [f32],
    pub embeddings: &'a [f32],
}

/// Buffers of the samples of a chunk; kept from step to step, so that nothing is allocated.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Outputs of the pieces, `[rows, width]` each, the inputs not counted.
    values: Vec<Vec<f32>>,
    /// The gradients of those.
    gradients: Vec<Vec<f32>>,
    /// Gradients of the biases, all layers one after the other.
    biases: Vec<f32>,
    /// Sum of the losses.
    pub loss: f64,
    /// Samples in the buffers.
    rows: usize,
    multiplier: Multiplier,
    scratch: Vec<f32>,
}

/// Number of values that come from outside.
const INPUTS: usize = 2;

impl Chunk {
    pub fn new(network: &Network, precision: Precision) -> Self {
        let n_outputs = network.n_values() - INPUTS;
        Self {
            values: vec![Vec::new(); n_outputs],
            gradients: vec![Vec::new(); n_outputs],
            biases: vec![0.0; bias_starts(network).1],
            loss: 0.0,
            rows: 0,
            multiplier: Multiplier::new(precision),
            scratch: Vec::new(),
        }
    }

    /// Computes the logits, `[rows]`.
    pub fn forward(&mut self, context: &Context<'_>, inputs: ChunkInputs<'_>) -> &[f32] {
        self.resize(context.network, inputs.rows);
        for piece in context.network.pieces() {
            match piece {
                Piece::Linear(piece) => self.linear(piece, context, inputs),
                Piece::DotInteraction(piece) => self.interact(piece, inputs),
            }
        }
        &self.values[context.network.output().0 - INPUTS]
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
        let output = context.network.output().0 - INPUTS;
        let (logits, gradient) = (&self.values[output], &mut self.gradients[output]);
        self.loss = bce_with_logits(logits, labels, context.batch, gradient);
        let mut bias_end = self.biases.len();
        for (piece, &writes) in context.network.pieces().iter().zip(context.writes).rev() {
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
        let x = source(piece.input, inputs, &self.values);
        let x = Mat::row_major(x, self.rows, piece.n_in);
        let dy = &self.gradients[piece.output.0 - INPUTS];
        let dy = Mat::row_major(dy, self.rows, piece.n_out);
        let out = MatMut::row_major(out, rows.len(), piece.n_in);
        multiplier.product(out, dy.columns(rows).t(), x, write);
    }

    /// This chunk's part of the gradients of all biases, in the order of the layers.
    pub fn bias_gradients(&self) -> &[f32] {
        &self.biases
    }

    fn resize(&mut self, network: &Network, rows: usize) {
        if self.rows == rows {
            return;
        }
        self.rows = rows;
        let buffers = self.values.iter_mut().zip(&mut self.gradients);
        for (i, (value, gradient)) in buffers.enumerate() {
            let n = rows * network.width(Value(i + INPUTS));
            value.resize(n, 0.0);
            gradient.resize(n, 0.0);
        }
    }

    fn linear(&mut self, piece: &Linear, context: &Context<'_>, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let (x, y) = (source(piece.input, inputs, before), &mut after[0]);
        let x = Mat::row_major(x, self.rows, piece.n_in);
        let out = MatMut::row_major(y, self.rows, piece.n_out);
        context
            .segments
            .forward(piece, out, x, &mut self.multiplier);
        linear::bias_activation(y, bias(piece, context), piece.activation);
        if let (Some(dropout), Mode::Train { seed, step }) = (&piece.dropout, context.mode) {
            linear::drop_out(dropout, seed, step, inputs.start * piece.n_out, y);
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
        let output = piece.output.0 - INPUTS;
        let (before, after) = self.gradients.split_at_mut(output);
        let (y, dy) = (&self.values[output], &mut after[0]);
        let kept = linear::kept(piece.dropout.as_ref());
        linear::bias_activation_gradient(dy, y, piece.activation, kept, &mut self.biases[bias]);
        let Some(dx) = target(piece.input, before, d_embeddings) else {
            return;
        };
        let dy = Mat::row_major(dy, self.rows, piece.n_out);
        let dx = MatMut::row_major(dx, self.rows, piece.n_in);
        let segments = context.segments;
        segments.backward(piece, dx, dy, write, &mut self.multiplier);
    }

    fn interact(&mut self, piece: &DotInteraction, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let x = source(piece.x, inputs, before);
        dot_interaction(
            piece,
            x,
            inputs.embeddings,
            &mut after[0],
            &mut self.scratch,
        );
    }

    fn interact_back(
        &mut self,
        piece: &DotInteraction,
        inputs: ChunkInputs<'_>,
        writes: [Write; 2],
        d_embeddings: &mut [f32],
    ) {
        let (before, after) = self.gradients.split_at_mut(piece.output.0 - INPUTS);
        let x = source(piece.x, inputs, &self.values);
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

/// The bias of a layer.
fn bias<'a>(piece: &Linear, context: &Context<'a>) -> &'a [f32] {
    &context.params[context.network.params()[piece.weight + 1].range()]
}

fn source<'a>(value: Value, inputs: ChunkInputs<'a>, values: &'a [Vec<f32>]) -> &'a [f32] {
    match value {
        Value::DENSE => inputs.dense,
        Value::EMBEDDINGS => inputs.embeddings,
        Value(i) => &values[i - INPUTS],
    }
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
