//! Thresholds of rows: one logit a row, or one a value.

use rayon::prelude::*;
use slimbed_embedding::{
    BatchIndex, EmbeddingError, Pooling, SavedState, StateTensor, Table, TableView, TrainedRows,
    gather, sum_of_squares,
};
use smallvec::SmallVec;

use super::lazy::Lazy;
use super::{Dense, Gradients};
use crate::shrink::{signed, slope, to_thresholds};
use crate::sigmoid::sigmoid;
use crate::spans::{ROWS_PER_TASK, grow, span_of};
use crate::{Mode, PepSettings};

/// One logit for each row or each value; `width` of them a row.
#[derive(Debug)]
pub struct RowThresholds {
    width: usize,
    /// `[n_rows, width]` a field: logits, less the common one of the lazy mode.
    tables: Vec<Table>,
    update: Update,
    /// Thresholds of the unique rows of the last batch, `[U, width]`, and memory for more.
    tau: Vec<f32>,
    /// Gradients of their logits, likewise.
    gradients: Vec<f32>,
}

#[derive(Debug)]
enum Update {
    Lazy(Lazy),
    Dense(Dense),
}

impl RowThresholds {
    pub fn new(
        rows: &TrainedRows,
        width: usize,
        settings: &PepSettings,
    ) -> Result<Self, EmbeddingError> {
        let tables = rows.tables().iter();
        let tables = tables.map(|table| Table::zeros(table.n_rows(), width));
        let mut tables = tables.collect::<Result<Vec<Table>, _>>()?;
        let update = match settings.mode {
            Mode::Lazy => Update::Lazy(Lazy::new(&tables, settings)?),
            Mode::Faithful => {
                let values = tables.iter_mut().map(Table::values_mut);
                values.for_each(|values| values.fill(settings.start));
                let decay = settings.threshold_decay();
                Update::Dense(Dense::new(
                    rows.names(),
                    &tables,
                    "thresholds",
                    settings,
                    decay,
                ))
            }
        };
        Ok(Self {
            width,
            tables,
            update,
            tau: Vec::new(),
            gradients: Vec::new(),
        })
    }

    /// Brings the thresholds of the unique rows of a batch.
    pub fn gather(&mut self, index: &BatchIndex) -> Result<(), EmbeddingError> {
        grow(&mut self.tau, index, self.width);
        let tau = &mut self.tau[..index.n_unique() * self.width];
        let views: SmallVec<[TableView<'_>; 32]> = self.tables.iter().map(view).collect();
        gather(&views, index, self.width, tau)?;
        let base = self.update.base();
        let tasks = tau.par_chunks_mut(ROWS_PER_TASK * self.width);
        tasks.for_each(|tau| to_thresholds(tau, base));
        Ok(())
    }

    /// Those of unique row `u`, `[width]`.
    #[inline]
    pub fn of(&self, u: usize) -> &[f32] {
        &self.tau[u * self.width..][..self.width]
    }

    /// Writes those of any row to `out`, `[dim]`.
    #[inline]
    pub fn write(&self, f: usize, row: usize, out: &mut [f32]) {
        let base = self.update.base();
        if self.update.is_on_path(f, row) {
            return out.fill(sigmoid(base));
        }
        match self.tables[f].row(row as u32) {
            [logit] => out.fill(sigmoid(base + logit)),
            logits => {
                out.copy_from_slice(logits);
                to_thresholds(out, base);
            }
        }
    }

    pub fn backward(&mut self, gradients: Gradients<'_>) {
        let (index, width) = (gradients.index, self.width);
        grow(&mut self.gradients, index, width);
        let n_values = index.n_unique() * width;
        let tasks = self.gradients[..n_values].par_chunks_mut(ROWS_PER_TASK * width);
        let tau = self.tau[..n_values].par_chunks(ROWS_PER_TASK * width);
        tasks.zip(tau).enumerate().for_each(|(task, (out, tau))| {
            let rows = out.chunks_exact_mut(width).zip(tau.chunks_exact(width));
            for (u, (out, tau)) in span_of(task, tau.len(), width).zip(rows) {
                row_gradient(gradients.row(u), tau, out);
            }
        });
    }

    pub fn norm_squared(&self, index: &BatchIndex) -> f64 {
        sum_of_squares(&self.gradients[..index.n_unique() * self.width])
    }

    pub fn step(&mut self, index: &BatchIndex, lr: f64, scale: f32) {
        let gradients = &self.gradients[..index.n_unique() * self.width];
        match &mut self.update {
            Update::Lazy(lazy) => lazy.step(&mut self.tables, index, gradients, lr, scale),
            Update::Dense(dense) => dense.step(&mut self.tables, index, gradients, lr, scale),
        }
    }

    /// The threshold of a row that is never looked up, or the mean where there is no such thing.
    pub fn typical(&self) -> f64 {
        match &self.update {
            Update::Lazy(lazy) => sigmoid(lazy.base()).into(),
            Update::Dense(_) => {
                let values = self.tables.iter().flat_map(Table::values);
                let n_values = self.tables.iter().map(|table| table.values().len());
                let sum: f64 = values.map(|&s| f64::from(sigmoid(s))).sum();
                sum / n_values.sum::<usize>().max(1) as f64
            }
        }
    }

    pub fn state<'a>(&'a self, names: &[String]) -> Vec<StateTensor<'a>> {
        let tables = self.tables.iter().zip(names);
        let mut state: Vec<_> = tables
            .map(|(table, name)| table.state(format!("{name}/thresholds")))
            .collect();
        match &self.update {
            Update::Lazy(lazy) => state.extend(lazy.state(names)),
            Update::Dense(dense) => state.extend(dense.state()),
        }
        state
    }

    pub fn restore(
        &mut self,
        names: &[String],
        saved: &dyn SavedState,
    ) -> Result<(), EmbeddingError> {
        for (table, name) in self.tables.iter_mut().zip(names) {
            table.restore(&format!("{name}/thresholds"), saved)?;
        }
        match &mut self.update {
            Update::Lazy(lazy) => lazy.restore(names, saved),
            Update::Dense(dense) => dense.restore(saved),
        }
    }
}

impl Update {
    /// What is added to every value of the tables.
    #[inline]
    fn base(&self) -> f32 {
        match self {
            Self::Lazy(lazy) => lazy.base(),
            Self::Dense(_) => 0.0,
        }
    }

    /// Whether a row was never looked up, so that its logits need not be read.
    #[inline]
    fn is_on_path(&self, f: usize, row: usize) -> bool {
        match self {
            Self::Lazy(lazy) => lazy.is_on_path(f, row),
            Self::Dense(_) => false,
        }
    }
}

fn view(table: &Table) -> TableView<'_> {
    TableView {
        values: table.values(),
        dim: table.dim(),
        pooling: Pooling::Sum,
    }
}

/// `∂L/∂s` of one row: of each value, or their sum where the row has one logit.
#[inline]
fn row_gradient((gradient, hat): (&[f32], &[f32]), tau: &[f32], out: &mut [f32]) {
    let pulls = gradient.iter().zip(hat).map(|(&g, &hat)| signed(g, hat));
    match (tau, out) {
        ([tau], [out]) => *out = pulls.sum::<f32>() * slope(*tau),
        (tau, out) => {
            let values = out.iter_mut().zip(pulls).zip(tau);
            values.for_each(|((out, pull), &tau)| *out = pull * slope(tau));
        }
    }
}
