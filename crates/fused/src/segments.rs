//! The parameters, cut into runs that one task works on: its gradients, its update, its packed weights.

use std::ops::Range;

use crate::activations::{ChunkInputs, Weights};
use crate::chunk::{Chunk, bias_starts};
use crate::elementwise::put;
use crate::matrix::{Mat, Write};
use crate::mode::Precision;
use crate::network::Network;
use crate::optim::{MAX_SLOTS, Update};
use crate::panels::{Operand, OperandMut};
use crate::piece::{Linear, Piece, Value};
use crate::product::{Multiplier, PackedMatrix, PackedParts};

/// Rows of a weight that are one segment, at most: enough to pack the other operand of the gradient once
/// for many, few enough to share the work out.
const MAX_ROWS: usize = 192;
/// Their number is a multiple of this (the last segment's apart), so that no tile of a product is cut.
const ROWS_STEP: usize = 32;

/// All segments of a network, in the order of its flat parameters.
#[derive(Debug)]
pub(crate) struct Segments {
    all: Vec<Segment>,
    /// The segments of each weight, indexed like the parameters; none for biases.
    of_param: Vec<Range<usize>>,
}

/// A run of the flat parameters.
#[derive(Debug)]
struct Segment {
    /// Number of values.
    len: usize,
    /// The piece it belongs to.
    piece: usize,
    part: Part,
    multiplier: Multiplier,
}

#[derive(Debug)]
enum Part {
    Weight(WeightPart),
    /// The bias; where it stands among a chunk's bias gradients.
    Bias(Range<usize>),
}

/// Rows of a weight `W` `[out, in]`.
#[derive(Debug)]
struct WeightPart {
    rows: Range<usize>,
    n_in: usize,
    /// Their transpose, for `y = x·Wᵀ`.
    forward: PackedMatrix,
    /// They, for `dx = dy·W`; none where no gradient goes back.
    backward: Option<PackedMatrix>,
}

impl Segments {
    pub fn new(network: &Network, params: &[f32], precision: Precision) -> Self {
        let (starts, _) = bias_starts(network);
        let mut segments = Self {
            all: Vec::new(),
            of_param: vec![0..0; network.params().len()],
        };
        for (piece, start) in starts.into_iter().enumerate() {
            let content = &network.pieces()[piece];
            if let Piece::Linear(linear) = content {
                let weight = &params[network.params()[linear.weight].range()];
                let first = segments.all.len();
                for rows in row_blocks(linear.n_out) {
                    let values = &weight[rows.start * linear.n_in..rows.end * linear.n_in];
                    let part = WeightPart::new(linear, rows, values, precision);
                    segments.push(values.len(), piece, Part::Weight(part), precision);
                }
                segments.of_param[linear.weight] = first..segments.all.len();
            }
            if let Some((_, len)) = content.bias() {
                segments.push(len, piece, Part::Bias(start..start + len), precision);
            }
        }
        segments
    }

    fn push(&mut self, len: usize, piece: usize, part: Part, precision: Precision) {
        self.all.push(Segment {
            len,
            piece,
            part,
            multiplier: Multiplier::new(precision),
        });
    }

    /// `dx = dy·W` or `dx += dy·W` for a layer that passes its gradient back.
    pub fn backward(
        &self,
        linear: &Linear,
        mut dx: OperandMut<'_>,
        dy: Operand<'_>,
        write: Write,
        multiplier: &mut Multiplier,
    ) {
        for (i, segment) in self.of(linear).iter().enumerate() {
            let part = segment.weight();
            let write = if i == 0 { write } else { Write::Add };
            if let Some(weight) = &part.backward {
                let dy = dy.columns(part.rows.clone());
                multiplier.value_packed(dx.reborrow(), dy, weight, write);
            }
        }
    }

    /// The segments of a layer's weight.
    fn of(&self, linear: &Linear) -> &[Segment] {
        &self.all[self.of_param[linear.weight].clone()]
    }

    /// Sums the gradients of the parameters over the chunks, in their order.
    pub fn sum_gradients<'a>(
        &mut self,
        network: &Network,
        chunks: &[Chunk],
        inputs: impl Fn(usize) -> ChunkInputs<'a> + Sync,
        gradient: &mut [f32],
    ) {
        for_each(&mut self.all, gradient, &|segment, out| {
            for (i, chunk) in chunks.iter().enumerate() {
                let write = if i == 0 { Write::Set } else { Write::Add };
                segment.add(network, chunk, inputs(i), out, write);
            }
        });
    }

    /// Updates the parameters, and packs their weights while they are in the cache.
    pub fn update(&mut self, run: Run<'_>, update: Update) {
        for_each(&mut self.all, run, &|segment, run| {
            update.apply(run.params, run.gradient, run.slots);
            segment.part.pack(run.params);
        });
    }

    /// Packs the weights of other parameters.
    pub fn pack(&mut self, params: &[f32]) {
        for_each(&mut self.all, params, &|segment, params| {
            segment.part.pack(params);
        });
    }
}

/// The parameters of a network in training.
#[derive(Clone, Copy)]
pub(crate) struct Trained<'a> {
    pub network: &'a Network,
    /// All of them, flat.
    pub params: &'a [f32],
    /// The weights among them, packed.
    pub segments: &'a Segments,
}

impl Weights for Trained<'_> {
    fn product(
        &self,
        linear: &Linear,
        y: OperandMut<'_>,
        x: Operand<'_>,
        multiplier: &mut Multiplier,
    ) {
        let segments = self.segments.of(linear);
        let part = |i: usize| segments[i].weight().forward.view();
        let parts = PackedParts {
            width: part(0).cols(),
            part: &part,
        };
        multiplier.value_parts(y, x, parts, Write::Set);
    }

    fn bias(&self, param: usize) -> &[f32] {
        &self.params[self.network.params()[param].range()]
    }
}

/// The rows of each segment of a weight with `n` rows.
fn row_blocks(n: usize) -> impl Iterator<Item = Range<usize>> {
    let n_blocks = n.div_ceil(MAX_ROWS).max(1);
    let rows = n.div_ceil(n_blocks).next_multiple_of(ROWS_STEP);
    (0..n)
        .step_by(rows)
        .map(move |first| first..(first + rows).min(n))
}

impl WeightPart {
    fn new(linear: &Linear, rows: Range<usize>, values: &[f32], precision: Precision) -> Self {
        let weight = Mat::row_major(values, rows.len(), linear.n_in);
        let back = linear.input != Value::DENSE;
        Self {
            rows,
            n_in: linear.n_in,
            forward: PackedMatrix::new(precision, weight.t()),
            backward: back.then(|| PackedMatrix::new(precision, weight)),
        }
    }
}

impl Part {
    fn pack(&mut self, values: &[f32]) {
        let Self::Weight(part) = self else {
            return;
        };
        let weight = Mat::row_major(values, part.rows.len(), part.n_in);
        part.forward.pack(weight.t());
        if let Some(backward) = &mut part.backward {
            backward.pack(weight);
        }
    }
}

impl Segment {
    /// Its part of a weight.
    fn weight(&self) -> &WeightPart {
        match &self.part {
            Part::Weight(part) => part,
            Part::Bias(_) => unreachable!("only segments of weights are asked for theirs"),
        }
    }

    /// Writes or adds what `chunk` brings to this segment's gradient.
    fn add(
        &mut self,
        network: &Network,
        chunk: &Chunk,
        inputs: ChunkInputs<'_>,
        out: &mut [f32],
        write: Write,
    ) {
        match &self.part {
            Part::Weight(part) => {
                let linear = linear(network, self.piece);
                let rows = part.rows.clone();
                chunk.weight_gradient(linear, rows, inputs, &mut self.multiplier, out, write);
            }
            Part::Bias(range) => put(out, &chunk.bias_gradients()[range.clone()], write),
        }
    }
}

fn linear(network: &Network, piece: usize) -> &Linear {
    match &network.pieces()[piece] {
        Piece::Linear(linear) => linear,
        other => unreachable!("segments belong to layers, not to {other:?}"),
    }
}

/// Flat values of all parameters or of a run of them.
trait Flat: Send + Sized {
    /// The first `n`, and the rest.
    fn split(self, n: usize) -> (Self, Self);
}

impl Flat for &[f32] {
    fn split(self, n: usize) -> (Self, Self) {
        self.split_at(n)
    }
}

impl Flat for &mut [f32] {
    fn split(self, n: usize) -> (Self, Self) {
        self.split_at_mut(n)
    }
}

/// What an update reads and writes.
pub(crate) struct Run<'a> {
    pub params: &'a mut [f32],
    pub gradient: &'a [f32],
    /// The optimiser's state; empty for slots that it does not have.
    pub slots: [&'a mut [f32]; MAX_SLOTS],
}

impl Flat for Run<'_> {
    fn split(self, n: usize) -> (Self, Self) {
        let (params, params2) = self.params.split_at_mut(n);
        let (gradient, gradient2) = self.gradient.split_at(n);
        let [(a, a2), (b, b2)] = self.slots.map(|slot| {
            let n = n.min(slot.len());
            slot.split_at_mut(n)
        });
        let run = |params, gradient, slots| Run {
            params,
            gradient,
            slots,
        };
        (
            run(params, gradient, [a, b]),
            run(params2, gradient2, [a2, b2]),
        )
    }
}

/// Calls `task` for every segment and its values, in parallel and without allocating.
fn for_each<V, F>(segments: &mut [Segment], values: V, task: &F)
where
    V: Flat,
    F: Fn(&mut Segment, V) + Sync,
{
    if let [segment] = segments {
        return task(segment, values);
    }
    if segments.is_empty() {
        return;
    }
    // Halves of equal size rather than of equal number: the widest layers come last.
    let (left, right) = segments.split_at_mut(middle(segments));
    let n = left.iter().map(|segment| segment.len).sum();
    let (left_values, right_values) = values.split(n);
    rayon::join(
        || for_each(left, left_values, task),
        || for_each(right, right_values, task),
    );
}

/// Where the second half starts, at least one segment from either end.
fn middle(segments: &[Segment]) -> usize {
    let total: usize = segments.iter().map(|segment| segment.len).sum();
    let mut before = 0;
    let half = segments.iter().position(|segment| {
        before += segment.len;
        2 * before > total
    });
    half.unwrap_or(0).clamp(1, segments.len() - 1)
}
