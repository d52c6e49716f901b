//! The forward pass of some samples on one thread, for training and for scoring.

use crate::buffer::{Buffer, buffers};
use crate::interaction::interact;
use crate::linear;
use crate::matrix::Mat;
use crate::mode::{Mode, Precision};
use crate::network::{DotInteraction, Linear, Network, Piece, Value};
use crate::panels::{Operand, OperandMut};
use crate::product::Multiplier;

/// Number of values that come from outside.
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
        for piece in pass.network.pieces() {
            match piece {
                Piece::Linear(piece) => self.linear(piece, pass, inputs),
                Piece::DotInteraction(piece) => self.interact(piece, inputs),
            }
        }
        self.values[pass.network.output().0 - INPUTS].row_major()
    }

    /// Samples of the last pass.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What a layer read in the last pass, which had these inputs.
    pub fn input<'a>(&'a self, piece: &Linear, inputs: ChunkInputs<'a>) -> Operand<'a> {
        source(piece, inputs, &self.values)
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
        let (x, y) = (source(piece, inputs, before), &mut after[0]);
        let multiplier = &mut self.multiplier;
        pass.weights.product(piece, y.operand_mut(), x, multiplier);
        linear::add_bias_to(y, pass.weights.bias(piece), piece.activation);
        if let (Some(dropout), Mode::Train { seed, step }) = (&piece.dropout, pass.mode) {
            linear::drop_out(dropout, seed, step, inputs.start, y);
        }
    }

    fn interact(&mut self, piece: &DotInteraction, inputs: ChunkInputs<'_>) {
        let (before, after) = self.values.split_at_mut(piece.output.0 - INPUTS);
        let x = before[piece.x.0 - INPUTS].row_major();
        let e = inputs.embeddings;
        interact(piece, x, e, after[0].placed_mut(), &mut self.scratch);
    }
}

/// What a layer reads.
fn source<'a>(piece: &Linear, inputs: ChunkInputs<'a>, values: &'a [Buffer]) -> Operand<'a> {
    let rows = |values| Operand::Rows(Mat::row_major(values, inputs.rows, piece.n_in));
    match piece.input {
        Value::DENSE => rows(inputs.dense),
        Value::EMBEDDINGS => rows(inputs.embeddings),
        Value(i) => values[i - INPUTS].operand(),
    }
}
