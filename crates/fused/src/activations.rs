//! The forward pass of some samples on one thread, for training and for scoring.

use crate::attention::attention;
use crate::buffer::{Buffer, buffers};
use crate::elementwise::{add_row_sums, cross, put_columns};
use crate::interaction::interact;
use crate::linear;
use crate::matrix::Mat;
use crate::mode::{Mode, Precision};
use crate::network::Network;
use crate::panels::{Operand, OperandMut};
use crate::piece::{
    Attention, Concat, Cross, DotInteraction, Linear, Piece, SecondOrder, Sum, Value,
};
use crate::product::Multiplier;
use crate::second_order::second_order;

/// Number of values that are read where they come from; the first-order weights, few, are copied.
pub(crate) const INPUTS: usize = 2;

/// Weights and biases, as a forward pass needs them.
pub(crate) trait Weights: Sync {
    /// `y = x·Wᵀ` for a layer.
    fn product(
        &self,
        linear: &Linear,
        y: OperandMut<'_>,
        x: Operand<'_>,
        multiplier: &mut Multiplier,
    );

    /// A bias, by its number among the parameters.
    fn bias(&self, param: usize) -> &[f32];
}

/// What a forward pass reads besides its own buffers.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub network: &'a Network,
    pub weights: &'a dyn Weights,
    pub mode: Mode,
}

/// The part of a batch's inputs that is taken through the network at a time.
#[derive(Clone, Copy)]
pub(crate) struct ChunkInputs<'a> {
    /// First sample.
    pub start: usize,
    pub rows: usize,
    pub dense: &'a [f32],
    pub embeddings: &'a [f32],
    pub first_order: &'a [f32],
}

/// First-order weights and outputs of the pieces; the buffers are kept from pass to pass, so that nothing is allocated.
#[derive(Debug)]
pub(crate) struct Activations {
    /// `[rows, width]` each, without those that are read where they come from.
    values: Vec<Buffer>,
    /// Samples in the buffers.
    rows: usize,
    /// For products of whoever has these activations.
    pub multiplier: Multiplier,
    scratch: Vec<f32>,
}

impl Activations {
    pub fn new(network: &Network, precision: Precision) -> Self {
        Self {
            values: buffers(network, precision),
            rows: 0,
            multiplier: Multiplier::new(precision),
            scratch: Vec::new(),
        }
    }

    /// Computes the logits, `[rows]`.
    pub fn forward(&mut self, pass: Pass<'_>, inputs: ChunkInputs<'_>) -> &[f32] {
        self.resize(inputs.rows);
        let first_order = &mut self.values[Value::FIRST_ORDER.0 - INPUTS];
        first_order
            .row_major_mut()
            .copy_from_slice(inputs.first_order);
        for piece in pass.network.pieces() {
            match piece {
                Piece::Linear(piece) => self.linear(piece, pass, inputs),
                Piece::DotInteraction(piece) => self.interact(piece, inputs),
                Piece::SecondOrder(piece) => self.second_order(piece, inputs),
                Piece::Concat(piece) => self.concat(piece, pass, inputs),
                Piece::Sum(piece) => self.sum(piece, pass, inputs),
                Piece::Cross(piece) => self.cross(piece, inputs),
                Piece::Attention(piece) => self.attend(piece, inputs),
            }
        }
        self.values[pass.network.output().0 - INPUTS].row_major()
    }

    /// A value of the last pass, which had these inputs.
    pub fn get<'a>(&'a self, value: Value, inputs: ChunkInputs<'a>) -> &'a [f32] {
        source(value, inputs, &self.values)
    }

    /// What a layer read in the last pass, which had these inputs.
    pub fn input<'a>(&'a self, piece: &Linear, inputs: ChunkInputs<'a>) -> Operand<'a> {
        operand(piece, inputs, &self.values)
    }

    /// What a piece wrote, and the products' buffers.
    pub fn output(&mut self, value: Value) -> (&Buffer, &mut Multiplier) {
        (&self.values[value.0 - INPUTS], &mut self.multiplier)
    }

    fn resize(&mut self, rows: usize) {
        if self.rows == rows {
            return;
        }
        self.rows = rows;
        for value in &mut self.values {
            value.resize(rows);
        }
    }

    fn linear(&mut self, piece: &Linear, pass: Pass<'_>, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let (x, y) = (operand(piece, inputs, before), &mut after[0]);
        let out = y.operand_mut(piece.n_vectors);
        pass.weights.product(piece, out, x, &mut self.multiplier);
        if let Some(bias) = piece.bias {
            linear::add_bias_to(y, pass.weights.bias(bias), piece.activation);
        }
        if let (Some(dropout), Mode::Train { seed, step }) = (&piece.dropout, pass.mode) {
            linear::drop_out(dropout, seed, step, inputs.start, y);
        }
    }

    fn interact(&mut self, piece: &DotInteraction, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let x = source(piece.x, inputs, before);
        let e = inputs.embeddings;
        interact(piece, x, e, after[0].placed_mut(), &mut self.scratch);
    }

    fn second_order(&mut self, piece: &SecondOrder, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let out = after[0].row_major_mut();
        second_order(piece, source(piece.input, inputs, before), out);
    }

    fn concat(&mut self, piece: &Concat, pass: Pass<'_>, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let (n, mut first) = (pass.network.width(piece.output), 0);
        let out = after[0].row_major_mut();
        for &value in &piece.inputs {
            let width = pass.network.width(value);
            let x = source(value, inputs, before);
            put_columns(x, width, out, n, first);
            first += width;
        }
    }

    fn sum(&mut self, piece: &Sum, pass: Pass<'_>, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let bias = piece.bias.map_or(0.0, |bias| pass.weights.bias(bias)[0]);
        let out = after[0].row_major_mut();
        out.fill(bias);
        for &value in &piece.inputs {
            let x = source(value, inputs, before);
            add_row_sums(x, pass.network.width(value), out);
        }
    }

    fn cross(&mut self, piece: &Cross, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let [x0, z, x] = [piece.x0, piece.z, piece.x].map(|v| source(v, inputs, before));
        cross(x0, z, x, after[0].row_major_mut());
    }

    fn attend(&mut self, piece: &Attention, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let x = source(piece.input, inputs, before);
        attention(piece, x, after[0].row_major_mut(), &mut self.scratch);
    }
}

/// A value whose rows lie one after the other.
fn source<'a>(value: Value, inputs: ChunkInputs<'a>, values: &'a [Buffer]) -> &'a [f32] {
    match value {
        Value::DENSE => inputs.dense,
        Value::EMBEDDINGS => inputs.embeddings,
        Value(i) => values[i - INPUTS].row_major(),
    }
}

/// What a layer reads.
fn operand<'a>(piece: &Linear, inputs: ChunkInputs<'a>, values: &'a [Buffer]) -> Operand<'a> {
    if let Value::DENSE | Value::EMBEDDINGS = piece.input {
        let x = source(piece.input, inputs, values);
        return Operand::Rows(Mat::row_major(x, inputs.rows * piece.n_vectors, piece.n_in));
    }
    values[piece.input.0 - INPUTS].operand(piece.n_vectors)
}
