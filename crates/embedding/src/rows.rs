//! Trained rows with their optimiser: what every layer is built on.

use slimbed_rng::Seed;
use smallvec::SmallVec;

use crate::lookup::pool_tables;
use crate::{
    BatchIndex, EmbeddingError, FieldSpec, IdBatch, LayerShape, Pooling, RowInit, SavedState,
    SparseOptimizer, SparseRule, StateTensor, Table, TableView, gather,
};

/// One trained table a field, `[n_rows, dim]` with one dim for all or a width of its own, and the optimiser of all of them.
#[derive(Debug)]
pub struct TrainedRows {
    names: Vec<String>,
    shape: LayerShape,
    tables: Vec<Table>,
    optimizer: SparseOptimizer,
}

/// How rows start and are updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSettings {
    /// Values of a row.
    pub dim: usize,
    /// Distribution of the initial values.
    pub init: RowInit,
    /// Seed of the initial values; the rows of a field are drawn from the stream of its name.
    pub seed: Seed,
    /// The update rule.
    pub rule: SparseRule,
    /// Decoupled, lazily applied weight decay, per step and unit of learning rate.
    pub weight_decay: f32,
}

impl TrainedRows {
    /// Makes and initialises the tables, all of `settings.dim`.
    ///
    /// # Errors
    /// When the system does not give the memory, `dim` is 0 or a setting of the optimiser cannot work.
    pub fn new(fields: &[FieldSpec], settings: &RowSettings) -> Result<Self, EmbeddingError> {
        Self::with_widths(fields, settings, |_| settings.dim)
    }

    /// Makes and initialises tables `[n_rows, width(f)]`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_widths(
        fields: &[FieldSpec],
        settings: &RowSettings,
        width: impl Fn(usize) -> usize,
    ) -> Result<Self, EmbeddingError> {
        check_dim(settings.dim)?;
        let mut tables = Vec::with_capacity(fields.len());
        for (f, field) in fields.iter().enumerate() {
            let dim = width(f);
            check_dim(dim)?;
            let mut table = Table::zeros(field.n_rows, dim)?;
            settings.init.fill(&mut table, settings.seed, &field.name);
            tables.push(table);
        }
        let shapes = tables.iter().map(|table| (table.n_rows(), table.dim()));
        Ok(Self {
            names: fields.iter().map(|field| field.name.clone()).collect(),
            shape: LayerShape::new(fields, settings.dim),
            optimizer: SparseOptimizer::new(settings.rule, settings.weight_decay, shapes)?,
            tables,
        })
    }

    /// Names of the fields.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Fields, rows and dim, as a layer of plain tables has them.
    pub fn shape(&self) -> &LayerShape {
        &self.shape
    }

    /// How the bags of each field become one vector.
    pub fn pooling(&self) -> &[Pooling] {
        &self.shape.pooling
    }

    /// That of the settings: the values of a row, unless tables were given widths of their own.
    pub fn dim(&self) -> usize {
        self.shape.dim
    }

    /// The tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The tables, to be changed.
    pub fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }

    /// The tables alone; the optimiser's state is given back.
    pub fn into_tables(self) -> Vec<Table> {
        self.tables
    }

    /// The tables as lookups take them.
    pub fn views(&self) -> SmallVec<[TableView<'_>; 32]> {
        let tables = self.tables.iter().zip(&self.shape.pooling);
        let views = tables.map(|(table, &pooling)| TableView {
            values: table.values(),
            dim: table.dim(),
            pooling,
        });
        views.collect()
    }

    /// Checks that every id of a batch is a row.
    ///
    /// # Errors
    /// Names the first that is not, with field and position.
    pub fn check(&self, ids: &IdBatch<'_>) -> Result<(), EmbeddingError> {
        ids.check(self.tables.iter().map(Table::n_rows))
    }

    /// Pools the rows of checked ids to `out`, `[batch, fields, dim]`.
    pub(crate) fn pool(&self, ids: &IdBatch<'_>, out: &mut [f32]) {
        pool_tables(&self.views(), ids, self.shape.dim, out);
    }

    /// Copies the unique rows of a batch to `out`, `[U, dim]`.
    ///
    /// # Errors
    /// As [`gather`].
    pub fn gather(&self, index: &BatchIndex, out: &mut [f32]) -> Result<(), EmbeddingError> {
        gather(&self.views(), index, self.shape.dim, out)
    }

    /// Updates the unique rows of a batch with their gradients times `scale`: `[U_f, width]` of each table,
    /// one after the other.
    ///
    /// # Errors
    /// As [`SparseOptimizer::step`].
    pub fn step(
        &mut self,
        index: &BatchIndex,
        gradients: &[f32],
        lr: f32,
        scale: f32,
    ) -> Result<(), EmbeddingError> {
        self.optimizer
            .step(&mut self.tables, index, gradients, lr, scale)
    }

    /// Applies the weight decay that untouched rows still owe.
    pub fn settle(&mut self) {
        self.optimizer.settle(&mut self.tables);
    }

    /// Everything a checkpoint has to keep.
    pub fn state(&self) -> impl Iterator<Item = StateTensor<'_>> {
        let rows = self.tables.iter().zip(&self.names);
        let rows = rows.map(|(table, name)| table.state(format!("{name}/rows")));
        rows.chain(self.optimizer.state(&self.names))
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape.
    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        for (table, name) in self.tables.iter_mut().zip(&self.names) {
            table.restore(&format!("{name}/rows"), saved)?;
        }
        self.optimizer.restore(&self.names, saved)
    }
}

fn check_dim(dim: usize) -> Result<(), EmbeddingError> {
    if dim > 0 {
        return Ok(());
    }
    Err(EmbeddingError::Setting {
        what: "dim of the embeddings".into(),
        expected: "1 or more",
        found: dim.to_string(),
    })
}
