//! The forward pass of some samples on one thread, for training and for scoring.

use crate::interaction::dot_interaction;
use crate::linear;
use crate::matrix::{Mat, MatMut};
use crate::mode::{Mode, Precision};
use crate::network::{DotInteraction, Linear, Network, Piece, Value};
use crate::product::Multiplier;

/// Number of values that come from outside.
pub(crate) const INPUTS: usize = 2;

/// Weights and biases, as a forward pass needs them.
pub(crate) trait Weights: Sync {
    /// `y = x·Wᵀ` for a layer.
    fn product(&self, linear: &Linear, y: MatMut<'_>, x: Mat<'_>, multiplier: &mut Multiplier);

    /// The bias of a layer.
    fn bias(&self, linear: &Linear) -> &[f32];
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
}

/// Outputs of the pieces; the buffers are kept from pass to pass, so that nothing is allocated.
#[derive(Debug)]
pub(crate) struct Activations {
    /// `[rows, width]` each, the inputs not counted.
    values: Vec<Vec<f32>>,
    /// Samples in the buffers.
    rows: usize,
    /// For products of whoever has these activations.
    pub multiplier: Multiplier,
    scratch: Vec<f32>,
}

impl Activations {
    pub fn new(network: &Network, precision: Precision) -> Self {
        Self {
            values: vec![Vec::new(); network.n_values() - INPUTS],
            rows: 0,
            multiplier: Multiplier::new(precision),
            scratch: Vec::new(),
        }
    }

    /// Computes the logits, `[rows]`.
    pub fn forward(&mut self, pass: Pass<'_>, inputs: ChunkInputs<'_>) -> &[f32] {
        self.resize(pass.network, inputs.rows);
        for piece in pass.network.pieces() {
            match piece {
                Piece::Linear(piece) => self.linear(piece, pass, inputs),
                Piece::DotInteraction(piece) => self.interact(piece, inputs),
            }
        }
        &self.values[pass.network.output().0 - INPUTS]
    }

    /// Samples of the last pass.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A value of the last pass, which had these inputs.
    pub fn get<'a>(&'a self, value: Value, inputs: ChunkInputs<'a>) -> &'a [f32] {
        source(value, inputs, &self.values)
    }

    /// The value that a piece wrote, and the products' buffers.
    pub fn output(&mut self, value: Value) -> (&[f32], &mut Multiplier) {
        (&self.values[value.0 - INPUTS], &mut self.multiplier)
    }

    fn resize(&mut self, network: &Network, rows: usize) {
        if self.rows == rows {
            return;
        }
        self.rows = rows;
        for (i, value) in self.values.iter_mut().enumerate() {
            value.resize(rows * network.width(Value(i + INPUTS)), 0.0);
        }
    }

    fn linear(&mut self, piece: &Linear, pass: Pass<'_>, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let (x, y) = (source(piece.input, inputs, before), &mut after[0]);
        let x = Mat::row_major(x, self.rows, piece.n_in);
        let out = MatMut::row_major(y, self.rows, piece.n_out);
        pass.weights.product(piece, out, x, &mut self.multiplier);
        linear::bias_activation(y, pass.weights.bias(piece), piece.activation);
        if let (Some(dropout), Mode::Train { seed, step }) = (&piece.dropout, pass.mode) {
            linear::drop_out(dropout, seed, step, inputs.start * piece.n_out, y);
        }
    }

    fn interact(&mut self, piece: &DotInteraction, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let x = source(piece.x, inputs, before);
        let e = inputs.embeddings;
        dot_interaction(piece, x, e, &mut after[0], &mut self.scratch);
    }
}

fn source<'a>(value: Value, inputs: ChunkInputs<'a>, values: &'a [Vec<f32>]) -> &'a [f32] {
    match value {
        Value::DENSE => inputs.dense,
        Value::EMBEDDINGS => inputs.embeddings,
        Value(i) => &values[i - INPUTS],
    }
}
