//! The buffers of one thread.

use std::ops::Range;

use slimbed_fused::{Forward, ForwardScratch, Inputs};

use crate::scorer::MAX_CHUNK;
use crate::tables::LookupScratch;
use crate::{Batch, ScoreError, Tables};

/// The dense feature of samples that have none.
static ONES: [f32; MAX_CHUNK] = [1.0; MAX_CHUNK];

/// What a thread needs to score a chunk; grown to the largest it has seen.
#[derive(Debug)]
pub(crate) struct Worker {
    /// `[rows, fields, dim]`.
    embeddings: Vec<f32>,
    lookup: LookupScratch,
    forward: ForwardScratch,
}

impl Worker {
    pub fn new(forward: &Forward) -> Self {
        Self {
            embeddings: Vec::new(),
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
        let n_values = samples.len() * tables.width();
        if self.embeddings.len() < n_values {
            self.embeddings.resize(n_values, 0.0);
        }
        let embeddings = &mut self.embeddings[..n_values];
        tables.lookup_part(batch, samples.clone(), embeddings, &mut self.lookup)?;
        let n = samples.len();
        let dense = match batch.dense {
            // The network takes a constant where there are no features.
            [] => &ONES[..n],
            dense => {
                let n_dense = forward.network().n_dense();
                &dense[samples.start * n_dense..samples.end * n_dense]
            }
        };
        let inputs = Inputs {
            n,
            dense,
            embeddings,
        };
        Ok(forward.logits(inputs, &mut self.forward, out)?)
    }
}
