//! The layer without any reduction: one dense table a field.

use slimbed_rng::Seed;
use smallvec::SmallVec;

use crate::error::check_length;
use crate::lookup::pool_tables;
use crate::parts::IDS_PER_TASK;
use crate::{
    BatchIndex, EmbeddingError, EmbeddingLayer, IdBatch, Pooling, RowInit, SavedState,
    SparseOptimizer, SparseRule, StateTensor, Table, TableView, reduce,
};

/// Values whose squares one task adds.
const SQUARES_PER_TASK: usize = 1 << 15;

/// What a layer has to know of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    /// Name of the field; its rows are drawn from the stream of that name.
    pub name: String,
    /// Rows of its table.
    pub n_rows: usize,
    /// How its bags become one vector.
    pub pooling: Pooling,
}

/// One dense table `[n_rows, dim]` a field.
#[derive(Debug)]
pub struct PlainEmbedding {
    names: Vec<String>,
    pooling: Vec<Pooling>,
    dim: usize,
    tables: Vec<Table>,
    optimizer: SparseOptimizer,
    stage: Stage,
    /// Of the last forward pass.
    index: BatchIndex,
    /// Gradients of the unique rows, `[U, dim]`, and memory for more.
    gradients: Vec<f32>,
}

/// What a layer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Forward,
    Backward,
    Step,
}

impl PlainEmbedding {
    /// Makes and initialises the tables.
    ///
    /// # Errors
    /// When the system does not give the memory, `dim` is 0 or a setting of the optimiser cannot work.
    pub fn new(
        fields: &[FieldSpec],
        dim: usize,
        init: RowInit,
        seed: Seed,
        rule: SparseRule,
        weight_decay: f32,
    ) -> Result<Self, EmbeddingError> {
        if dim == 0 {
            return Err(EmbeddingError::Setting {
                what: "dim of the embeddings".into(),
                expected: "1 or more",
                found: dim.to_string(),
            });
        }
        let mut tables = Vec::with_capacity(fields.len());
        for field in fields {
            let mut table = Table::zeros(field.n_rows, dim)?;
            init.fill(&mut table, seed, &field.name);
            tables.push(table);
        }
        let shapes = fields.iter().map(|field| (field.n_rows, dim));
        Ok(Self {
            names: fields.iter().map(|field| field.name.clone()).collect(),
            pooling: fields.iter().map(|field| field.pooling).collect(),
            dim,
            tables,
            optimizer: SparseOptimizer::new(rule, weight_decay, shapes)?,
            stage: Stage::Forward,
            index: BatchIndex::default(),
            gradients: Vec::new(),
        })
    }

    /// The gradients of the last backward pass, `[U, dim]`.
    fn summed_gradients(&self) -> Result<&[f32], EmbeddingError> {
        match self.stage {
            Stage::Forward => Err(EmbeddingError::NoForward),
            Stage::Backward => Err(EmbeddingError::NoGradient),
            Stage::Step => Ok(&self.gradients[..self.index.n_unique() * self.dim]),
        }
    }
}

impl EmbeddingLayer for PlainEmbedding {
    fn n_fields(&self) -> usize {
        self.tables.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        ids.check(self.tables.iter().map(Table::n_rows))?;
        let expected = ids.n * self.tables.len() * self.dim;
        check_length("embeddings", expected, out.len())?;
        let views: SmallVec<[_; 32]> = views(&self.tables, &self.pooling).collect();
        let (index, pooling) = (&mut self.index, &self.pooling);
        let mut copy = || pool_tables(&views, ids, self.dim, out);
        let indexed = if ids.n_ids() <= IDS_PER_TASK {
            copy();
            index.rebuild(ids, pooling)
        } else {
            rayon::join(copy, || index.rebuild(ids, pooling)).1
        };
        self.stage = Stage::Backward;
        indexed
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        if self.stage == Stage::Forward {
            return Err(EmbeddingError::NoForward);
        }
        // Room for the most unique rows that so many ids can have: it stops growing with the batch.
        let (n_ids, n_unique) = (self.index.n_ids(), self.index.n_unique());
        if self.gradients.len() < n_ids * self.dim {
            self.gradients.resize(n_ids * self.dim, 0.0);
        }
        let sums = &mut self.gradients[..n_unique * self.dim];
        reduce(gradient, &self.index, self.dim, sums)?;
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.summed_gradients().map(sum_of_squares)
    }

    fn step(&mut self, lr: f32, scale: f32) -> Result<(), EmbeddingError> {
        let n_values = self.summed_gradients()?.len();
        let gradients = &self.gradients[..n_values];
        self.stage = Stage::Forward;
        self.optimizer
            .step(&mut self.tables, &self.index, gradients, lr, scale)
    }

    fn settle(&mut self) {
        self.optimizer.settle(&mut self.tables);
    }

    fn tables(&self) -> Vec<TableView<'_>> {
        views(&self.tables, &self.pooling).collect()
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let rows = self.tables.iter().zip(&self.names);
        let rows = rows.map(|(table, name)| table.state(format!("{name}/rows")));
        rows.chain(self.optimizer.state(&self.names)).collect()
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        for (table, name) in self.tables.iter_mut().zip(&self.names) {
            table.restore(&format!("{name}/rows"), saved)?;
        }
        self.stage = Stage::Forward;
        self.optimizer.restore(&self.names, saved)
    }
}

fn views<'a>(tables: &'a [Table], pooling: &'a [Pooling]) -> impl Iterator<Item = TableView<'a>> {
    let tables = tables.iter().zip(pooling);
    tables.map(|(table, &pooling)| TableView {
        values: table.values(),
        dim: table.dim(),
        pooling,
    })
}

/// `Σ g²` in f64, the terms grouped by the number of values alone.
fn sum_of_squares(values: &[f32]) -> f64 {
    if values.len() > SQUARES_PER_TASK {
        let (left, right) = values.split_at(values.len() / 2);
        let (left, right) = rayon::join(|| sum_of_squares(left), || sum_of_squares(right));
        return left + right;
    }
    let mut sums = [0.0; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (sum, &g) in sums.iter_mut().zip(eight) {
            *sum += f64::from(g) * f64::from(g);
        }
    }
    let rest: f64 = rest.iter().map(|&g| f64::from(g).powi(2)).sum();
    sums.iter().sum::<f64>() + rest
}
