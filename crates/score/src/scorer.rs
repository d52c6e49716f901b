//! Logits from an artefact.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use slimbed_compact::Artefact;
use slimbed_fused::{Forward, FusedError};

use crate::spec::dense_weights;
use crate::worker::Worker;
use crate::{Batch, ModelSpec, ScoreError, Tables};

/// Samples that a thread takes through the network at a time, at most. With fewer the weights are read too
/// often; with more, what is in between leaves the cache that the weights are in.
pub(crate) const MAX_CHUNK: usize = 64;
/// As few where embeddings are wide.
const MIN_CHUNK: usize = 16;
/// Bytes of embeddings that a chunk of more than [`MIN_CHUNK`] samples may have: they stay in cache.
const EMBEDDING_BYTES: usize = 1 << 20;

/// The tables and the network of an artefact, ready to score.
///
/// Any number of threads may score with one at the same time. Up to 64 samples stay on the calling thread;
/// more are cut into chunks of as many for rayon's threads (where embeddings are wide, of down to 16), so
/// that the bits do not depend on the number of threads.
#[derive(Debug)]
pub struct Scorer<'a> {
    spec: ModelSpec,
    tables: Tables<'a>,
    forward: Forward,
    chunk: usize,
    /// Buffers that no thread uses at the moment.
    idle: Mutex<Vec<Worker>>,
}

impl<'a> Scorer<'a> {
    /// Takes over the network of an artefact; its tables are read where they are.
    ///
    /// # Errors
    /// When the artefact describes another network than its weights and tables make.
    pub fn new(artefact: &'a Artefact) -> Result<Self, ScoreError> {
        let spec = ModelSpec::of(artefact)?;
        Ok(Self {
            tables: Tables::new(artefact, &spec)?,
            forward: Forward::new(spec.network()?, &dense_weights(artefact)?)?,
            chunk: chunk(&spec),
            idle: Mutex::new(Vec::new()),
            spec,
        })
    }

    /// Which network it is.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Writes the logits of a batch, `[n]`.
    ///
    /// # Errors
    /// When a length does not fit or an id is no row of its table: names the field and the first such id
    /// with its position. What `out` holds then is not said.
    pub fn logits(&self, batch: &Batch<'_>, out: &mut [f32]) -> Result<(), ScoreError> {
        self.check(batch, out)?;
        let scored = if batch.n <= self.chunk {
            self.score_chunk(batch, 0, out)
        } else {
            let chunks = out.par_chunks_mut(self.chunk).enumerate();
            chunks.try_for_each(|(i, out)| self.score_chunk(batch, i * self.chunk, out))
        };
        // Another chunk may have met a bad id first: the first one of the batch is named.
        scored.map_err(|error| self.tables.first_bad_id(batch).unwrap_or(error))
    }

    /// Writes the probabilities `1 / (1 + e^(−logit))` of a batch, `[n]`.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn probabilities(&self, batch: &Batch<'_>, out: &mut [f32]) -> Result<(), ScoreError> {
        self.logits(batch, out)?;
        out.iter_mut().for_each(|z| *z = 1.0 / (1.0 + (-*z).exp()));
        Ok(())
    }

    fn score_chunk(
        &self,
        batch: &Batch<'_>,
        start: usize,
        out: &mut [f32],
    ) -> Result<(), ScoreError> {
        if out.is_empty() {
            return Ok(());
        }
        let mut worker = self.take_worker();
        let samples = start..start + out.len();
        let scored = worker.score(&self.tables, &self.forward, batch, samples, out);
        self.idle().push(worker);
        scored
    }

    fn take_worker(&self) -> Worker {
        let idle = self.idle().pop();
        idle.unwrap_or_else(|| Worker::new(&self.forward))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        // A panic elsewhere leaves the list as it was: a worker is not in it while it works.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, batch: &Batch<'_>, out: &[f32]) -> Result<(), ScoreError> {
        let (n_dense, ..) = self.spec.shape();
        check_len("dense features", batch.n * n_dense, batch.dense.len())?;
        check_len("logits", batch.n, out.len())?;
        self.tables.check(batch)
    }
}

/// Samples of each chunk of a batch; the last may have fewer.
fn chunk(spec: &ModelSpec) -> usize {
    let (_, n_fields, dim) = spec.shape();
    let bytes = n_fields
        .saturating_mul(dim)
        .saturating_mul(size_of::<f32>());
    (EMBEDDING_BYTES / bytes.max(1)).clamp(MIN_CHUNK, MAX_CHUNK)
}

fn check_len(what: &'static str, expected: usize, found: usize) -> Result<(), FusedError> {
    if expected == found {
        return Ok(());
    }
    Err(FusedError::size(what, format!("{expected} values"), found))
}
