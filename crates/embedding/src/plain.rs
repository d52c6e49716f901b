//! The layer without any reduction: one dense table a field.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;
use slimbed_rng::Seed;

use crate::{
    BatchIndex, EmbeddingError, EmbeddingLayer, IdBatch, Pooling, RowInit, SparseOptimizer,
    SparseRule, StateTensor, Table, TableView, expand,
};

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
    pending: Option<Pending>,
}

/// The forward pass that waits for its gradient.
#[derive(Debug)]
struct Pending {
    index: Arc<BatchIndex>,
    leaf: Var,
    /// `[U, dim]`, empty before `take_gradients`.
    gradients: Vec<f32>,
}

impl PlainEmbedding {
    /// Makes and initialises the tables.
    ///
    /// # Errors
    /// When the system does not give the memory, or a setting of the optimiser cannot work.
    pub fn new(
        fields: &[FieldSpec],
        dim: usize,
        init: RowInit,
        seed: Seed,
        rule: SparseRule,
        weight_decay: f32,
    ) -> Result<Self, EmbeddingError> {
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
            pending: None,
        })
    }

    /// The unique rows of a batch, `[U, dim]`.
    fn gather(&self, index: &BatchIndex) -> Vec<f32> {
        let dim = self.dim;
        let mut rows = vec![0.0; index.n_unique() * dim];
        index
            .split_mut(&mut rows, dim)
            .into_par_iter()
            .enumerate()
            .for_each(|(f, out)| {
                for (&row, out) in index.rows(f).iter().zip(out.chunks_exact_mut(dim)) {
                    out.copy_from_slice(self.tables[f].row(row));
                }
            });
        rows
    }
}

impl EmbeddingLayer for PlainEmbedding {
    fn n_fields(&self) -> usize {
        self.tables.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&mut self, ids: &IdBatch<'_>, device: &Device) -> Result<Tensor, EmbeddingError> {
        ids.check(self.tables.iter().map(Table::n_rows))?;
        let index = Arc::new(BatchIndex::new(ids, &self.pooling)?);
        let rows = self.gather(&index);
        let leaf = Tensor::from_vec(rows, (index.n_unique(), self.dim), device)?;
        let leaf = Var::from_tensor(&leaf)?;
        let embeddings = expand(&leaf, &index)?;
        self.pending = Some(Pending {
            index,
            leaf,
            gradients: Vec::new(),
        });
        Ok(embeddings)
    }

    fn take_gradients(&mut self, grads: &mut GradStore) -> Result<f64, EmbeddingError> {
        let pending = self.pending.as_mut().ok_or(EmbeddingError::NoForward)?;
        let gradient = grads
            .remove(&pending.leaf)
            .ok_or(EmbeddingError::NoGradient)?;
        pending.gradients = gradient.flatten_all()?.to_vec1()?;
        Ok(pending
            .gradients
            .iter()
            .map(|&g| f64::from(g).powi(2))
            .sum())
    }

    fn step(&mut self, lr: f32, scale: f32) -> Result<(), EmbeddingError> {
        let pending = self.pending.take().ok_or(EmbeddingError::NoForward)?;
        if pending.gradients.len() != pending.index.n_unique() * self.dim {
            return Err(EmbeddingError::NoGradient);
        }
        let (tables, index) = (&mut self.tables, &pending.index);
        self.optimizer
            .step(tables, index, &pending.gradients, lr, scale);
        Ok(())
    }

    fn settle(&mut self) {
        self.optimizer.settle(&mut self.tables);
    }

    fn tables(&self) -> Vec<TableView<'_>> {
        let tables = self.tables.iter().zip(&self.pooling);
        tables
            .map(|(table, &pooling)| TableView {
                values: table.values(),
                dim: self.dim,
                pooling,
            })
            .collect()
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let rows = self.tables.iter().zip(&self.names);
        let rows = rows.map(|(table, name)| table.state(format!("{name}/rows")));
        rows.chain(self.optimizer.state(&self.names)).collect()
    }

    fn restore(&mut self, saved: &[StateTensor<'_>]) -> Result<(), EmbeddingError> {
        for (table, name) in self.tables.iter_mut().zip(&self.names) {
            table.restore(&format!("{name}/rows"), saved)?;
        }
        self.optimizer.restore(&self.names, saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bags, lookup};

    fn layer(rule: SparseRule) -> PlainEmbedding {
        let field = |name: &str, n_rows, pooling| FieldSpec {
            name: name.into(),
            n_rows,
            pooling,
        };
        let fields = [field("a", 50, Pooling::Sum), field("b", 9, Pooling::Mean)];
        PlainEmbedding::new(
            &fields,
            3,
            RowInit::Normal { std: 1.0 },
            Seed::new(1),
            rule,
            0.0,
        )
        .unwrap()
    }

    fn batch() -> IdBatch<'static> {
        let single = Bags {
            ids: &[4, 49, 4],
            offsets: None,
        };
        let multi = Bags {
            ids: &[1, 1, 8],
            offsets: Some(&[0, 2, 2, 3]),
        };
        IdBatch {
            n: 3,
            fields: vec![single, multi],
        }
    }

    fn train_step(layer: &mut PlainEmbedding) {
        let embeddings = layer.forward(&batch(), &Device::Cpu).unwrap();
        let loss = embeddings.sqr().unwrap().sum_all().unwrap();
        let mut grads = loss.backward().unwrap();
        layer.take_gradients(&mut grads).unwrap();
        layer.step(0.1, 1.0).unwrap();
    }

    #[test]
    fn forward_equals_lookup_bit_for_bit() {
        let mut layer = layer(SparseRule::Sgd);
        let mut looked_up = vec![0.0; 3 * 2 * 3];
        lookup(&layer.tables(), &batch(), 3, &mut looked_up).unwrap();
        let graph = layer.forward(&batch(), &Device::Cpu).unwrap();
        assert_eq!(
            graph.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            looked_up
        );
        assert_eq!(looked_up[9..12], [0.0; 3], "an empty bag gives zeros");
    }

    #[test]
    fn sgd_step_sums_duplicates() {
        let mut layer = layer(SparseRule::Sgd);
        let before: Vec<f32> = layer.tables[0].row(4).to_vec();
        train_step(&mut layer);
        // Row 4 stands in two samples, each with gradient 2w: w − 0.1·4w.
        for (after, before) in layer.tables[0].row(4).iter().zip(before) {
            assert!((after - 0.6 * before).abs() < 1e-6);
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let mut layer = layer(SparseRule::ROW_WISE_ADAGRAD);
                (0..3).for_each(|_| train_step(&mut layer));
                layer
                    .tables
                    .iter()
                    .flat_map(|t| t.values().to_vec())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn restore_brings_rows_and_optimizer_back() {
        let mut whole = layer(SparseRule::LAZY_ADAM);
        train_step(&mut whole);
        let mut resumed = layer(SparseRule::LAZY_ADAM);
        resumed.restore(&whole.state()).unwrap();
        for layer in [&mut whole, &mut resumed] {
            train_step(layer);
        }
        assert_eq!(whole.state(), resumed.state());
    }

    #[test]
    fn misuse_is_an_error() {
        let mut layer = layer(SparseRule::Sgd);
        assert!(matches!(
            layer.step(0.1, 1.0),
            Err(EmbeddingError::NoForward)
        ));
        layer.forward(&batch(), &Device::Cpu).unwrap();
        assert!(matches!(
            layer.step(0.1, 1.0),
            Err(EmbeddingError::NoGradient)
        ));
        let ids = [
            Bags {
                ids: &[50],
                offsets: None,
            },
            Bags {
                ids: &[0],
                offsets: None,
            },
        ];
        let bad = IdBatch {
            n: 1,
            fields: ids.to_vec(),
        };
        let error = layer.forward(&bad, &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("id 50 at position 0"), "{error}");
    }
}
