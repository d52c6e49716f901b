//! The unique rows of a batch in chunks, and the memory they are worked on in.

use std::ops::Range;

use slimbed_embedding::{BatchIndex, IdBatch};

use crate::projections::Projections;

/// Unique rows of a chunk: with k = 64 its rows fill a quarter of a usual second-level cache, and the partial
/// gradient of W2 is small beside them. Bits depend on it, threads do not enter.
const CHUNK: usize = 256;

/// Chunks one task works through.
const CHUNKS_PER_TASK: usize = 4;

/// Some unique rows of one field.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub field: usize,
    /// Counted from the first of the field.
    pub rows: Range<usize>,
    /// Where its part of the memory starts.
    at: Sizes,
    n: Sizes,
}

/// Values in each of the three kinds of memory.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    inner: usize,
    outer: usize,
    partial: usize,
}

impl Sizes {
    fn plus(self, n: Self) -> Self {
        Self {
            inner: self.inner + n.inner,
            outer: self.outer + n.outer,
            partial: self.partial + n.partial,
        }
    }

    fn minus(self, n: Self) -> Self {
        Self {
            inner: self.inner - n.inner,
            outer: self.outer - n.outer,
            partial: self.partial - n.partial,
        }
    }
}

/// A run of the memory that one task writes.
pub struct Part<'a> {
    /// Rows of W1, later their gradients: `[U_f, width]` of each field.
    pub inner: &'a mut [f32],
    /// Rows of E, or the gradients of these: `[U, dim]`.
    pub outer: &'a mut [f32],
    /// The gradient of W2 that the chunk contributes: `[k, d]` of each.
    pub partial: &'a mut [f32],
}

impl<'a> Part<'a> {
    fn split(self, n: Sizes) -> (Self, Self) {
        let (inner, inner_rest) = self.inner.split_at_mut(n.inner);
        let (outer, outer_rest) = self.outer.split_at_mut(n.outer);
        let (partial, partial_rest) = self.partial.split_at_mut(n.partial);
        let first = Self {
            inner,
            outer,
            partial,
        };
        let rest = Self {
            inner: inner_rest,
            outer: outer_rest,
            partial: partial_rest,
        };
        (first, rest)
    }
}

/// Chunks of the last batch and their memory, which grows with the batch alone.
#[derive(Debug, Default)]
pub struct Chunks {
    chunks: Vec<Chunk>,
    total: Sizes,
    inner: Vec<f32>,
    outer: Vec<f32>,
    partial: Vec<f32>,
}

impl Chunks {
    /// Makes room for the most unique rows that so many ids can have: it stops growing with the batch.
    pub fn reserve(&mut self, ids: &IdBatch<'_>, projections: &Projections, dim: usize) {
        let mut bound = Sizes::default();
        let mut n_chunks = 0;
        for (f, bags) in ids.fields.iter().enumerate() {
            let (n, own) = (bags.ids.len(), bags.ids.len().div_ceil(CHUNK));
            n_chunks += own;
            bound = bound.plus(Sizes {
                inner: n * projections.shape(f).width,
                outer: n * dim,
                partial: own * projections.n_gradients(f),
            });
        }
        self.chunks.clear();
        self.chunks.reserve(n_chunks);
        grow(&mut self.inner, bound.inner);
        grow(&mut self.outer, bound.outer);
        grow(&mut self.partial, bound.partial);
    }

    /// Cuts the unique rows of a batch that there is room for.
    pub fn cut(&mut self, index: &BatchIndex, projections: &Projections, dim: usize) {
        self.chunks.clear();
        let mut at = Sizes::default();
        for field in 0..index.n_fields() {
            let n_rows = index.rows(field).len();
            for first in (0..n_rows).step_by(CHUNK) {
                let rows = first..(first + CHUNK).min(n_rows);
                let n = Sizes {
                    inner: rows.len() * projections.shape(field).width,
                    outer: rows.len() * dim,
                    partial: projections.n_gradients(field),
                };
                self.chunks.push(Chunk { field, rows, at, n });
                at = at.plus(n);
            }
        }
        self.total = at;
    }

    /// Works on all chunks, each with its part of the memory.
    pub fn run(&mut self, leaf: impl Fn(&Chunk, Part<'_>) + Sync) {
        let part = Part {
            inner: &mut self.inner[..self.total.inner],
            outer: &mut self.outer[..self.total.outer],
            partial: &mut self.partial[..self.total.partial],
        };
        run(&self.chunks, part, &leaf);
    }

    /// Rows of W1 or their gradients.
    pub fn inner(&self) -> &[f32] {
        &self.inner[..self.total.inner]
    }

    /// Rows of E.
    pub fn outer(&self) -> &[f32] {
        &self.outer[..self.total.outer]
    }

    /// Memory of the gradients of E's rows.
    pub fn outer_mut(&mut self) -> &mut [f32] {
        &mut self.outer[..self.total.outer]
    }

    /// Adds the partial gradients of every W2 up, in the order of the chunks.
    pub fn sum_partials(&self, projections: &mut Projections) {
        for f in 0..projections.shapes().len() {
            projections.gradient_mut(f).fill(0.0);
        }
        for chunk in &self.chunks {
            let part = &self.partial[chunk.at.partial..][..chunk.n.partial];
            let sums = projections.gradient_mut(chunk.field).iter_mut();
            sums.zip(part).for_each(|(sum, x)| *sum += x);
        }
    }
}

/// Chunks are halved whatever the number of threads; a few are not handed out.
fn run(chunks: &[Chunk], mut part: Part<'_>, leaf: &(impl Fn(&Chunk, Part<'_>) + Sync)) {
    if chunks.len() <= CHUNKS_PER_TASK {
        for chunk in chunks {
            let (own, rest) = part.split(chunk.n);
            part = rest;
            leaf(chunk, own);
        }
        return;
    }
    let (left, right) = chunks.split_at(chunks.len() / 2);
    let (left_part, right_part) = part.split(right[0].at.minus(left[0].at));
    rayon::join(
        || run(left, left_part, leaf),
        || run(right, right_part, leaf),
    );
}

fn grow(buffer: &mut Vec<f32>, n: usize) {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
}
