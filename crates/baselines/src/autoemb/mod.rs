//! AutoEmb (X. Zhao et al., arXiv 2002.11252), with candidates that share their values.
//!
//! A row `e` of `d` values has candidate sizes `d_1 < … < d_N = d`; the candidate of size `d_n` is its first `d_n`
//! values. A small controller sees how popular the id is and gives each candidate a weight, `a = softmax(MLP(x))`,
//! and the model sees `Σ a_n·(e_1 … e_{d_n}, 0 …)`. What is stored is one candidate of each row: the one with the
//! largest weight, or with a target that of the largest `ln a_n − τ·d_n/d` with the `τ` that meets it.
//!
//! In the paper each candidate is a table of its own behind a matrix, batch normalisation and tanh, all of which are
//! stored, so that nothing is saved; and the controller learns on the validation split, in turns with the model. Here
//! the candidates are prefixes of one row, as AutoDim shares them, and both learn on the training split, since the
//! validation split selects the weights. Lookups see the candidate that is stored.

mod net;
mod settings;
mod state;

use rayon::prelude::*;
use slimbed_embedding::{
    BatchIndex, EmbeddingError, EmbeddingLayer, FieldTables, IdBatch, LayerShape, SavedState,
    Stage, StateTensor, StepSize, TrainedRows, expand, reduce, sum_of_squares,
};
use slimbed_fused::{DenseRule, FlatOptimizer, WeightDecay};
use slimbed_rng::Seed;

use crate::plan::refuse;
use crate::tables::grow;
use net::{ATTRIBUTES, Net};
pub use settings::AutoEmbSettings;

/// Unique rows whose gradients of the controller are summed first; bits depend on it, threads do not enter.
const CHUNK: usize = 256;

/// Halvings of the interval of `τ`, and its ends: there the smallest or the largest candidate is taken whatever the
/// weights are.
const HALVINGS: usize = 40;
const MOST_TILT: f32 = 1e4;

/// Rows whose size a controller chooses softly in training, and hard in lookups.
#[derive(Debug)]
pub struct AutoEmbEmbedding {
    rows: TrainedRows,
    net: Net,
    optimizer: FlatOptimizer,
    lr: f64,
    /// Steps of the controller, low half first.
    step: [u32; 2],
    /// `τ`.
    tilt: [f32; 1],
    /// Standardised logarithm of the count of each row of each field.
    popularity: Vec<Vec<f32>>,
    stage: Stage,
    index: BatchIndex,
    /// Attributes of the unique rows, `[U, 2]`.
    attributes: Vec<f32>,
    /// Their tapes.
    tapes: Vec<f32>,
    /// Unique rows, `[U, dim]`.
    unique: Vec<f32>,
    /// The same weighed, then their gradients.
    weighed: Vec<f32>,
    /// For each chunk memory for the candidates and the gradient of the controller.
    partials: Vec<f32>,
    gradient: Vec<f32>,
}

/// Which rows a pass over a batch makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eye {
    /// All candidates, weighed.
    Training,
    /// The one that is stored.
    Scoring,
}

impl AutoEmbEmbedding {
    /// A layer over `rows`; `counts` says for each field how often each row occurs in the training split, row 0 first.
    /// The controller is drawn from `seed`.
    ///
    /// # Errors
    /// When a setting cannot work or the counts are not those of the rows.
    pub fn new(
        rows: TrainedRows,
        counts: &[&[u64]],
        settings: &AutoEmbSettings,
        seed: Seed,
    ) -> Result<Self, EmbeddingError> {
        let sizes = settings.candidates(rows.dim())?;
        let found: Vec<usize> = counts.iter().map(|counts| counts.len()).collect();
        let expected = rows.tables().iter().map(|table| table.n_rows());
        if !expected.eq(found.iter().copied()) {
            return refuse(
                "counts",
                "one for each row of each field",
                format!("{found:?}"),
            );
        }
        let net = Net::new(sizes, settings.hidden, seed);
        let n_weights = net.weights.len();
        Ok(Self {
            rows,
            optimizer: FlatOptimizer::new(n_weights, DenseRule::ADAM, WeightDecay::None),
            lr: settings.lr,
            step: [0; 2],
            tilt: [0.0],
            popularity: counts.iter().map(|counts| standardised(counts)).collect(),
            stage: Stage::Forward,
            index: BatchIndex::default(),
            attributes: Vec::new(),
            tapes: Vec::new(),
            unique: Vec::new(),
            weighed: Vec::new(),
            partials: Vec::new(),
            gradient: vec![0.0; n_weights],
            net,
        })
    }

    /// The rows with their optimiser, all values of them.
    pub fn rows(&self) -> &TrainedRows {
        &self.rows
    }

    /// The rows, to be changed; a forward pass that waits for its gradient is forgotten.
    pub fn rows_mut(&mut self) -> &mut TrainedRows {
        self.stage = Stage::Forward;
        &mut self.rows
    }

    /// Weights of the controller: W1 `[2, hidden]`, b1, W2 `[hidden, candidates]`, b2.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        self.stage = Stage::Forward;
        &mut self.net.weights
    }

    /// Gradient of the controller's weights of the last backward pass.
    pub fn controller_gradient(&self) -> &[f32] {
        &self.gradient
    }

    /// Gradients of the unique rows of the last backward pass, `[U, dim]`.
    pub fn row_gradients(&self) -> &[f32] {
        &self.weighed[..self.index.n_unique() * self.rows.dim()]
    }

    /// Values of row `row` of field `f` that are stored.
    pub fn size(&self, f: usize, row: usize) -> usize {
        let mut tape = vec![0.0; self.net.tape_len()];
        self.size_on(f, row, &mut tape)
    }

    /// Values stored of all rows.
    pub fn n_stored(&self) -> u64 {
        let fields = self.rows.tables().iter().enumerate();
        let stored = fields.map(|(f, table)| {
            let rows = (0..table.n_rows()).into_par_iter().with_min_len(CHUNK);
            let sizes = rows.map_init(
                || vec![0.0; self.net.tape_len()],
                |tape, row| self.size_on(f, row, tape) as u64,
            );
            sizes.sum::<u64>()
        });
        stored.sum()
    }

    /// Chooses `τ` so that at most `n` values are stored, and as many as that allows; returns how many.
    ///
    /// # Errors
    /// When the smallest candidate of every row is more; nothing is changed then.
    pub fn fit(&mut self, n: u64) -> Result<u64, EmbeddingError> {
        let before = self.tilt;
        self.tilt = [MOST_TILT];
        let least = self.n_stored();
        if least > n {
            self.tilt = before;
            return refuse(
                "values kept by autoemb",
                "the smallest size of every row or more",
                format!("{n}, which is less than {least}"),
            );
        }
        let (mut low, mut high) = (-MOST_TILT, MOST_TILT);
        for _ in 0..HALVINGS {
            self.tilt = [0.5 * (low + high)];
            if self.n_stored() <= n {
                high = self.tilt[0];
            } else {
                low = self.tilt[0];
            }
        }
        self.tilt = [high];
        Ok(self.n_stored())
    }

    /// Values of the smallest candidates of all rows.
    pub fn n_least(&self) -> u64 {
        let rows = self.rows.tables().iter().map(|table| table.n_rows() as u64);
        rows.sum::<u64>() * self.net.sizes[0] as u64
    }

    fn size_on(&self, f: usize, row: usize, tape: &mut [f32]) -> usize {
        self.net.forward(&self.attributes_of(f, row), tape);
        self.net.size(tape, self.tilt[0])
    }

    fn attributes_of(&self, f: usize, row: usize) -> [f32; ATTRIBUTES] {
        let popularity = &self.popularity[f];
        [popularity[row], row as f32 / popularity.len() as f32]
    }

    /// Indexes a batch, brings its unique rows, and spreads what becomes of them over `out`.
    fn bring(
        &mut self,
        ids: &IdBatch<'_>,
        eye: Eye,
        out: &mut [f32],
    ) -> Result<(), EmbeddingError> {
        self.rows.check(ids)?;
        let dim = self.rows.dim();
        let expected = ids.n * self.n_fields() * dim;
        if out.len() != expected {
            return Err(EmbeddingError::Length {
                what: "embeddings",
                expected,
                found: out.len(),
            });
        }
        self.stage = Stage::Forward;
        self.index.rebuild(ids, self.rows.pooling())?;
        self.reserve();
        let (n, tape_len) = (self.index.n_unique(), self.net.tape_len());
        self.note_attributes();
        self.rows.gather(&self.index, &mut self.unique[..n * dim])?;
        let (net, tilt) = (&self.net, self.tilt[0]);
        let (unique, weighed) = (&self.unique[..n * dim], &mut self.weighed[..n * dim]);
        weighed.copy_from_slice(unique);
        let chunks = weighed.par_chunks_mut(CHUNK * dim);
        let chunks = chunks.zip(self.tapes[..n * tape_len].par_chunks_mut(CHUNK * tape_len));
        let chunks = chunks.zip(self.attributes[..n * ATTRIBUTES].par_chunks(CHUNK * ATTRIBUTES));
        chunks.for_each(|((rows, tapes), attributes)| {
            let rows = rows
                .chunks_exact_mut(dim)
                .zip(tapes.chunks_exact_mut(tape_len));
            for ((row, tape), x) in rows.zip(attributes.chunks_exact(ATTRIBUTES)) {
                net.forward(x, tape);
                match eye {
                    Eye::Training => net.weigh(tape, row),
                    Eye::Scoring => row[net.size(tape, tilt)..].fill(0.0),
                }
            }
        });
        expand(weighed, &self.index, dim, out)
    }

    /// Makes room for the most unique rows that so many ids can have: it stops growing with the batch.
    fn reserve(&mut self) {
        let (most, dim) = (self.index.n_ids(), self.rows.dim());
        grow(&mut self.attributes, most * ATTRIBUTES);
        grow(&mut self.tapes, most * self.net.tape_len());
        grow(&mut self.unique, most * dim);
        grow(&mut self.weighed, most * dim);
        let n_partials = most.div_ceil(CHUNK) * self.partial_len();
        grow(&mut self.partials, n_partials);
    }

    fn partial_len(&self) -> usize {
        self.net.sizes.len() + self.net.weights.len()
    }

    fn note_attributes(&mut self) {
        for f in 0..self.popularity.len() {
            let start = self.index.span(f).start;
            for (u, &row) in self.index.rows(f).iter().enumerate() {
                let own = self.attributes_of(f, row as usize);
                self.attributes[(start + u) * ATTRIBUTES..][..ATTRIBUTES].copy_from_slice(&own);
            }
        }
    }
}

/// `ln(1 + count)`, of mean 0 and variance 1 over the rows.
fn standardised(counts: &[u64]) -> Vec<f32> {
    let logs: Vec<f64> = counts.iter().map(|&n| (n as f64).ln_1p()).collect();
    let n = logs.len().max(1) as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    let values = logs.iter().map(|x| ((x - mean) / scale) as f32);
    values.collect()
}

impl EmbeddingLayer for AutoEmbEmbedding {
    fn shape(&self) -> &LayerShape {
        self.rows.shape()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.bring(ids, Eye::Training, out)?;
        self.stage = Stage::Backward;
        Ok(())
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.stage.check_backward()?;
        let (n, dim, len) = (self.index.n_unique(), self.rows.dim(), self.partial_len());
        let (net, tape_len) = (&self.net, self.net.tape_len());
        let gradients = &mut self.weighed[..n * dim];
        reduce(gradient, &self.index, dim, gradients)?;
        let partials = &mut self.partials[..n.div_ceil(CHUNK) * len];
        let chunks = gradients.par_chunks_mut(CHUNK * dim);
        let chunks = chunks.zip(self.unique[..n * dim].par_chunks(CHUNK * dim));
        let chunks = chunks.zip(self.tapes[..n * tape_len].par_chunks(CHUNK * tape_len));
        let chunks = chunks.zip(self.attributes[..n * ATTRIBUTES].par_chunks(CHUNK * ATTRIBUTES));
        chunks.zip(partials.par_chunks_mut(len)).for_each(
            |((((gradients, rows), tapes), attributes), partial)| {
                partial.fill(0.0);
                let (d_shares, sum) = partial.split_at_mut(net.sizes.len());
                let rows = gradients.chunks_exact_mut(dim).zip(rows.chunks_exact(dim));
                let rows = rows.zip(tapes.chunks_exact(tape_len));
                for (((g, e), tape), x) in rows.zip(attributes.chunks_exact(ATTRIBUTES)) {
                    net.backward((x, e), tape, g, (d_shares, sum));
                }
            },
        );
        self.gradient.fill(0.0);
        for partial in partials.chunks_exact(len) {
            let own = &partial[self.net.sizes.len()..];
            let sums = self.gradient.iter_mut().zip(own);
            sums.for_each(|(sum, x)| *sum += x);
        }
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.stage.check_step()?;
        Ok(sum_of_squares(self.row_gradients()) + sum_of_squares(&self.gradient))
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        self.stage.check_step()?;
        self.stage = Stage::Forward;
        let n = self.index.n_unique() * self.rows.dim();
        self.rows
            .step(&self.index, &self.weighed[..n], size.lr, size.scale)?;
        let lr = self.lr * f64::from(size.factor);
        self.optimizer
            .step(&mut self.net.weights, &self.gradient, lr, size.scale.into());
        let n_steps = self.optimizer.n_steps();
        self.step = [n_steps as u32, (n_steps >> 32) as u32];
        Ok(())
    }

    fn settle(&mut self) {
        self.rows.settle();
    }

    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.bring(ids, Eye::Scoring, out)
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        let dim = self.rows.dim();
        let values = self.rows.tables()[f].values();
        out.copy_from_slice(&values[first * dim..][..out.len()]);
        let mut tape = vec![0.0; self.net.tape_len()];
        for (row, out) in (first..).zip(out.chunks_exact_mut(dim)) {
            out[self.size_on(f, row, &mut tape)..].fill(0.0);
        }
    }

    fn into_tables(mut self: Box<Self>) -> Vec<FieldTables> {
        let dim = self.rows.dim();
        for f in 0..self.n_fields() {
            let mut rows = vec![0.0; CHUNK.min(self.n_rows(f)) * dim];
            for first in (0..self.n_rows(f)).step_by(CHUNK) {
                let n = CHUNK.min(self.n_rows(f) - first) * dim;
                self.write_rows(f, first, &mut rows[..n]);
                let values = self.rows.tables_mut()[f].values_mut();
                values[first * dim..][..n].copy_from_slice(&rows[..n]);
            }
        }
        let tables = self.rows.into_tables().into_iter();
        tables.map(FieldTables::from).collect()
    }

    /// `stored_values`: those of the candidates that are stored.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        vec![("stored_values", self.n_stored() as f64)]
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        self.rows.state().chain(self.controller_state()).collect()
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.stage = Stage::Forward;
        self.restore_controller(saved)?;
        self.rows.restore(saved)
    }
}
