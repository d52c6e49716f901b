//! The layer: rows are shrunk by thresholds after they are looked up.

use rayon::prelude::*;
use slimbed_embedding::{
    BatchIndex, EmbeddingError, EmbeddingLayer, FieldTables, IdBatch, LayerShape, SavedState,
    Stage, StateTensor, StepSize, TrainedRows, expand, reduce, sum_of_squares,
};

use crate::shrink::{mask_gradient, shrink};
use crate::spans::{ROWS_PER_TASK, for_rows, grow, span_of};
use crate::thresholds::{Dense, Gradients, Thresholds};
use crate::{Mode, PepSettings};

/// Rows of a table one task shrinks.
const TABLE_ROWS_PER_TASK: usize = 1 << 12;

/// Trained rows that the model sees through `V̂ = sign(V) · max(|V| − σ(s), 0)`.
///
/// Only the unique rows of a batch are shrunk. Autograd's gradients are taken: with `A = 1` where `|v| > σ(s)`,
///
/// - `∂L/∂v = A · ∂L/∂v̂`,
/// - `∂L/∂s = −σ(s)(1 − σ(s)) · Σ A · sign(v) · ∂L/∂v̂` over the values that share `s`.
///
/// Where `σ(s)` is exactly 0, `A` is 1 and everything is bit for bit what a
/// [`PlainEmbedding`](slimbed_embedding::PlainEmbedding) does. The gradient norm is that of the rows and the
/// logits together.
#[derive(Debug)]
pub struct PepEmbedding {
    rows: TrainedRows,
    thresholds: Thresholds,
    /// The optimisers of the rows in the faithful mode; elsewhere the rows bring theirs.
    dense: Option<Dense>,
    threshold_lr: f64,
    stage: Stage,
    /// Of the last forward pass.
    index: BatchIndex,
    /// `V̂` of its unique rows, `[U, dim]`, and memory for more.
    hats: Vec<f32>,
    /// `∂L/∂v` of these, likewise.
    gradients: Vec<f32>,
}

impl PepEmbedding {
    /// Puts thresholds before `rows`.
    ///
    /// In the faithful mode the optimiser of `rows` is not used.
    ///
    /// # Errors
    /// When a setting cannot work or the system does not give the memory.
    pub fn new(rows: TrainedRows, settings: &PepSettings) -> Result<Self, EmbeddingError> {
        settings.check()?;
        let dense = (settings.mode == Mode::Faithful).then(|| {
            let decay = settings.row_decay();
            Dense::new(rows.names(), rows.tables(), "rows", settings, decay)
        });
        Ok(Self {
            thresholds: Thresholds::new(&rows, settings)?,
            rows,
            dense,
            threshold_lr: settings.threshold_lr,
            stage: Stage::Forward,
            index: BatchIndex::default(),
            hats: Vec::new(),
            gradients: Vec::new(),
        })
    }

    /// The rows `V` before shrinking, with their optimiser.
    pub fn rows(&self) -> &TrainedRows {
        &self.rows
    }

    /// The thresholds `σ(s)` of row `row` of field `f`, to `out`, `[dim]`; panics when there is no such row.
    pub fn write_thresholds(&self, f: usize, row: usize, out: &mut [f32]) {
        self.thresholds.write(f, row, out);
    }

    /// Shrinks rows of field `f` from `first` on, `[_, dim]`.
    fn shrink_rows(&self, f: usize, first: usize, rows: &mut [f32]) {
        shrink_rows(&self.thresholds, f, first, self.rows.dim(), rows);
    }

    /// Writes the embeddings of a batch; the index and the shrunk unique rows stay.
    fn embed(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.rows.check(ids)?;
        let dim = self.rows.dim();
        let expected = ids.n * self.n_fields() * dim;
        if out.len() != expected {
            let (what, found) = ("embeddings", out.len());
            return Err(EmbeddingError::Length {
                what,
                expected,
                found,
            });
        }
        self.index.rebuild(ids, self.rows.pooling())?;
        let index = &self.index;
        grow(&mut self.hats, index, dim);
        let hats = &mut self.hats[..index.n_unique() * dim];
        self.rows.gather(index, hats)?;
        self.thresholds.gather(index)?;
        let thresholds = &self.thresholds;
        let tasks = hats.par_chunks_mut(ROWS_PER_TASK * dim).enumerate();
        tasks.for_each(|(task, hats)| {
            for_rows(index, span_of(task, hats.len(), dim), |f, u, i| {
                shrink(&mut hats[i * dim..][..dim], thresholds.of(f, u));
            });
        });
        expand(&self.hats[..index.n_unique() * dim], index, dim, out)
    }

    /// Zeroes the gradients of pruned values.
    fn mask_gradients(&mut self) {
        let (index, thresholds, dim) = (&self.index, &self.thresholds, self.rows.dim());
        let n_values = index.n_unique() * dim;
        let gradients = self.gradients[..n_values].par_chunks_mut(ROWS_PER_TASK * dim);
        let hats = self.hats[..n_values].par_chunks(ROWS_PER_TASK * dim);
        let tasks = gradients.zip(hats).enumerate();
        tasks.for_each(|(task, (gradients, hats))| {
            for_rows(index, span_of(task, hats.len(), dim), |f, u, i| {
                let values = i * dim..(i + 1) * dim;
                let gradient = &mut gradients[values.clone()];
                mask_gradient(gradient, &hats[values], thresholds.of(f, u));
            });
        });
    }

    /// The gradients of the last backward pass, `[U, dim]`.
    fn summed_gradients(&self) -> Result<&[f32], EmbeddingError> {
        self.stage.check_step()?;
        Ok(&self.gradients[..self.index.n_unique() * self.rows.dim()])
    }
}

impl EmbeddingLayer for PepEmbedding {
    fn shape(&self) -> &LayerShape {
        self.rows.shape()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.embed(ids, out)?;
        self.stage = Stage::Backward;
        Ok(())
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.stage.check_backward()?;
        let dim = self.rows.dim();
        grow(&mut self.gradients, &self.index, dim);
        let n_values = self.index.n_unique() * dim;
        let sums = &mut self.gradients[..n_values];
        reduce(gradient, &self.index, dim, sums)?;
        self.mask_gradients();
        self.thresholds.backward(Gradients {
            index: &self.index,
            dim,
            hats: &self.hats[..n_values],
            values: &self.gradients[..n_values],
        });
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        let rows = self.summed_gradients().map(sum_of_squares)?;
        Ok(rows + self.thresholds.norm_squared(&self.index))
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        let n_values = self.summed_gradients()?.len();
        self.stage = Stage::Forward;
        let (index, gradients) = (&self.index, &self.gradients[..n_values]);
        match &mut self.dense {
            None => self.rows.step(index, gradients, size.lr, size.scale)?,
            Some(dense) => {
                let tables = self.rows.tables_mut();
                dense.step(tables, index, gradients, size.lr.into(), size.scale);
            }
        }
        let lr = self.threshold_lr * f64::from(size.factor);
        self.thresholds.step(index, lr, size.scale);
        Ok(())
    }

    fn settle(&mut self) {
        self.rows.settle();
    }

    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.embed(ids, out)?;
        self.stage = Stage::Forward;
        Ok(())
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        let values = self.rows.tables()[f].values();
        out.copy_from_slice(&values[first * self.rows.dim()..][..out.len()]);
        self.shrink_rows(f, first, out);
    }

    fn into_tables(self: Box<Self>) -> Vec<FieldTables> {
        let Self {
            mut rows,
            thresholds,
            ..
        } = *self;
        let dim = rows.dim();
        for (f, table) in rows.tables_mut().iter_mut().enumerate() {
            let tasks = table.values_mut().par_chunks_mut(TABLE_ROWS_PER_TASK * dim);
            tasks.enumerate().for_each(|(task, rows)| {
                shrink_rows(&thresholds, f, task * TABLE_ROWS_PER_TASK, dim, rows);
            });
        }
        let tables = rows.into_tables().into_iter();
        tables.map(FieldTables::from).collect()
    }

    /// `sparsity`, the share of pruned values; `kept`, the number of the others; `threshold`, the mean one,
    /// or for thresholds of rows in the lazy mode that of a row which is never looked up.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let n_values = self.rows.tables().iter().map(|table| table.values().len());
        let (n_values, n_kept) = (n_values.sum::<usize>().max(1) as f64, self.n_kept() as f64);
        vec![
            ("sparsity", 1.0 - n_kept / n_values),
            ("kept", n_kept),
            ("threshold", self.thresholds.typical()),
        ]
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let mut state: Vec<_> = self.rows.state().collect();
        state.extend(self.thresholds.state(self.rows.names()));
        state.extend(self.dense.iter().flat_map(Dense::state));
        state
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.stage = Stage::Forward;
        self.rows.restore(saved)?;
        self.thresholds.restore(self.rows.names(), saved)?;
        self.dense
            .iter_mut()
            .try_for_each(|dense| dense.restore(saved))
    }
}

/// Shrinks rows of field `f` from `first` on, `[_, dim]`.
fn shrink_rows(thresholds: &Thresholds, f: usize, first: usize, dim: usize, rows: &mut [f32]) {
    let mut tau = vec![0.0; dim];
    for (row, values) in (first..).zip(rows.chunks_exact_mut(dim)) {
        thresholds.write(f, row, &mut tau);
        shrink(values, &tau);
    }
}
