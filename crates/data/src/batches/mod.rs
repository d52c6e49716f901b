//! Batches: what a training step takes.
//!
//! A background thread decodes blocks and hands batches over through a bounded channel. Shuffling needs
//! memory for one window of blocks, however many rows there are: the blocks of the split are permuted
//! by a seeded permutation, read a window at a time, and the rows of a window are shuffled.

mod feed;
mod window;

use std::ops::Range;

use slimbed_rng::Seed;

use crate::pack::{Arity, Schema};
pub use feed::Batches;

/// Some rows, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of rows.
    pub n: usize,
    /// `[n, n_dense]`.
    pub dense: Vec<f32>,
    /// One entry a field.
    pub fields: Vec<FieldIds>,
    /// `[n]`, 0 or 1.
    pub labels: Vec<f32>,
}

/// One field's ids of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldIds {
    /// The ids, row after row.
    pub ids: Vec<u32>,
    /// `[n + 1]`: row `i` owns `ids[offsets[i]..offsets[i + 1]]`. `None`: one id a row.
    pub offsets: Option<Vec<u32>>,
}

/// How rows are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they are stored.
    Sequential,
    /// In an order fixed by seed and epoch.
    Shuffled {
        /// Seed of the order.
        seed: Seed,
        /// Each epoch has an order of its own.
        epoch: u64,
        /// Blocks of [`BLOCK_ROWS`](crate::BLOCK_ROWS) rows that are shuffled together, at least 1.
        window_blocks: usize,
    },
}

/// What [`Dataset::batches`](crate::Dataset::batches) is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Rows of a batch; the last one may have fewer.
    pub batch_size: usize,
    /// The order of the rows.
    pub order: Order,
    /// Batches to leave out at the start: the rest is what an uninterrupted pass gives.
    pub start_batch: u64,
    /// Batches that are made ahead of use.
    pub prefetch: usize,
}

impl Batch {
    /// No rows, with the columns of `schema`.
    pub fn empty(schema: &Schema) -> Self {
        let fields = schema.fields.iter().map(|field| FieldIds {
            ids: Vec::new(),
            offsets: (field.arity == Arity::Multi).then(|| vec![0]),
        });
        Self {
            fields: fields.collect(),
            ..Self::default()
        }
    }

    /// Adds the rows `rows` of `other`, which has the same columns.
    pub fn extend(&mut self, other: &Self, rows: Range<usize>) {
        let n_dense = other.dense.len().checked_div(other.n).unwrap_or(0);
        self.n += rows.len();
        self.labels.extend_from_slice(&other.labels[rows.clone()]);
        self.dense
            .extend_from_slice(&other.dense[rows.start * n_dense..rows.end * n_dense]);
        for (field, other) in self.fields.iter_mut().zip(&other.fields) {
            field.extend(other, rows.clone());
        }
    }
}

impl FieldIds {
    fn extend(&mut self, other: &Self, rows: Range<usize>) {
        let (Some(offsets), Some(others)) = (&mut self.offsets, &other.offsets) else {
            self.ids.extend_from_slice(&other.ids[rows]);
            return;
        };
        let (start, end) = (others[rows.start], others[rows.end]);
        let base = self.ids.len() as u32;
        offsets.extend(
            others[rows.start + 1..=rows.end]
                .iter()
                .map(|end| base + end - start),
        );
        self.ids
            .extend_from_slice(&other.ids[start as usize..end as usize]);
    }
}
