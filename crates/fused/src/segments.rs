//! The gradients of the parameters, cut into tasks.

use std::ops::Range;

use crate::chunk::{Chunk, ChunkInputs, bias_starts};
use crate::matrix::Write;
use crate::mode::Precision;
use crate::network::{Linear, Network, Piece};
use crate::product::Multiplier;

/// Rows of a weight whose gradient is one task, at most: enough to pack the other operand once for many,
/// few enough to share the work out.
const BLOCK_ROWS: usize = 192;

/// A run of the flat gradient vector that one task writes.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Number of values.
    len: usize,
    /// The layer it belongs to.
    piece: usize,
    part: Part,
    multiplier: Multiplier,
}

#[derive(Debug)]
enum Part {
    /// Rows of the weight.
    Weight(Range<usize>),
    /// The bias; where it stands among a chunk's bias gradients.
    Bias(Range<usize>),
}

impl Segment {
    /// All segments of a network, in the order of its flat parameters.
    pub fn of(network: &Network, precision: Precision) -> Vec<Self> {
        let (starts, _) = bias_starts(network);
        let mut segments = Vec::new();
        for (i, piece) in network.pieces().iter().enumerate() {
            let Piece::Linear(linear) = piece else {
                continue;
            };
            let mut push = |part, len| {
                let multiplier = Multiplier::new(precision);
                segments.push(Self {
                    len,
                    piece: i,
                    part,
                    multiplier,
                });
            };
            let n_blocks = linear.n_out.div_ceil(BLOCK_ROWS);
            for block in 0..n_blocks {
                let rows = block * linear.n_out / n_blocks..(block + 1) * linear.n_out / n_blocks;
                push(Part::Weight(rows.clone()), rows.len() * linear.n_in);
            }
            push(
                Part::Bias(starts[i]..starts[i] + linear.n_out),
                linear.n_out,
            );
        }
        segments
    }

    /// Writes or adds what `chunk` brings to this segment.
    pub fn add(
        &mut self,
        network: &Network,
        chunk: &Chunk,
        inputs: ChunkInputs<'_>,
        out: &mut [f32],
        write: Write,
    ) {
        match &self.part {
            Part::Weight(rows) => {
                let linear = linear(network, self.piece);
                let rows = rows.clone();
                chunk.weight_gradient(linear, rows, inputs, &mut self.multiplier, out, write);
            }
            Part::Bias(range) => add_or_set(out, &chunk.bias_gradients()[range.clone()], write),
        }
    }
}

fn linear(network: &Network, piece: usize) -> &Linear {
    match &network.pieces()[piece] {
        Piece::Linear(linear) => linear,
        other => unreachable!("segments belong to layers, not to {other:?}"),
    }
}

fn add_or_set(out: &mut [f32], values: &[f32], write: Write) {
    match write {
        Write::Set => out.copy_from_slice(values),
        Write::Add => out.iter_mut().zip(values).for_each(|(o, v)| *o += v),
    }
}

/// Calls `task` for every segment and its values, in parallel and without allocating.
pub(crate) fn for_each<F>(segments: &mut [Segment], values: &mut [f32], task: &F)
where
    F: Fn(&mut Segment, &mut [f32]) + Sync,
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
    let (left_values, right_values) = values.split_at_mut(n);
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
