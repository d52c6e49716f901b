//! The buffers of one thread.

use std::ops::Range;

use slimbed_fused::{Forward, ForwardScratch, Inputs};

use crate::scorer::MAX_CHUNK;
use crate::tables::{Kind, LookupScratch};
use crate::{Batch, ScoreError, Tables};

/// The dense feature of samples that have none.
static ONES: [f32; MAX_CHUNK] = [1.0; MAX_CHUNK];

/// What a thread needs to score a chunk; grown to the largest it has seen.
#[derive(Debug)]
pub(crate) struct Worker {
    /// `[rows, fields, dim]`.
    embeddings: Vec<f32>,
    /// `[rows, fields]`, where ids have first-order weights.
    first_order: Vec<f32>,
    lookup: LookupScratch,
    forward: ForwardScratch,
}

impl Worker {
    pub fn new(forward: &Forward) -> Self {
        Self {
            embeddings: Vec::new(),
            first_order: Vec::new(),
            lookup: LookupScratch::default(),
            forward: forward.scratch(),
        }
    }

    /// Writes the logits of some samples of a batch; positions in errors are those among them.
    pub fn score(
        &mut self,
        tables: &Tables<'_>,
        forward: &Forward,
        batch: &Batch<'_>,
        samples: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), ScoreError> {
        let mut looked_up = LookedUp {
            tables,
            batch,
            samples: samples.clone(),
            scratch: &mut self.lookup,
        };
        let embeddings = looked_up.values(Kind::Embeddings, &mut self.embeddings)?;
        let first_order = looked_up.values(Kind::FirstOrder, &mut self.first_order)?;
        let (n, n_dense) = (samples.len(), forward.network().n_dense());
        let dense = match batch.dense {
            // DLRM takes a constant where there are no features.
            [] => &ONES[..n * n_dense],
            dense => &dense[samples.start * n_dense..samples.end * n_dense],
        };
        let inputs = Inputs {
            n,
            dense,
            embeddings,
            first_order,
        };
        Ok(forward.logits(inputs, &mut self.forward, out)?)
    }
}

/// Lookups for some samples of a batch.
struct LookedUp<'a> {
    tables: &'a Tables<'a>,
    batch: &'a Batch<'a>,
    samples: Range<usize>,
    scratch: &'a mut LookupScratch,
}

impl LookedUp<'_> {
    /// Writes the values of one kind to a buffer that is grown to as many.
    fn values<'v>(
        &mut self,
        kind: Kind,
        buffer: &'v mut Vec<f32>,
    ) -> Result<&'v [f32], ScoreError> {
        let n_values = self.samples.len() * self.tables.width(kind);
        if buffer.len() < n_values {
            buffer.resize(n_values, 0.0);
        }
        let (out, samples) = (&mut buffer[..n_values], self.samples.clone());
        let scratch = &mut *self.scratch;
        self.tables
            .lookup_part(kind, self.batch, samples, out, scratch)?;
        Ok(out)
    }
}
