//! The layer without any reduction: one dense table a field.

use crate::error::check_length;
use crate::parts::IDS_PER_TASK;
use crate::{
    BatchIndex, EmbeddingError, EmbeddingLayer, FieldTables, IdBatch, LayerShape, Pooling,
    RowSettings, SavedState, Stage, StateTensor, StepSize, TrainedRows, reduce, sum_of_squares,
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
    rows: TrainedRows,
    stage: Stage,
    /// Of the last forward pass.
    index: BatchIndex,
    /// Gradients of the unique rows, `[U, dim]`, and memory for more.
    gradients: Vec<f32>,
}

impl PlainEmbedding {
    /// Makes and initialises the tables.
    ///
    /// # Errors
    /// When the system does not give the memory, `dim` is 0 or a setting of the optimiser cannot work.
    pub fn new(fields: &[FieldSpec], settings: &RowSettings) -> Result<Self, EmbeddingError> {
        Ok(Self::of(TrainedRows::new(fields, settings)?))
    }

    /// A layer of rows that exist already.
    ///
    /// # Panics
    /// When the tables differ in width.
    pub fn of(rows: TrainedRows) -> Self {
        let has_one_dim = rows.tables().windows(2).all(|t| t[0].dim() == t[1].dim());
        assert!(has_one_dim, "tables of one dim");
        Self {
            rows,
            stage: Stage::Forward,
            index: BatchIndex::default(),
            gradients: Vec::new(),
        }
    }

    /// The rows with their optimiser.
    pub fn rows(&self) -> &TrainedRows {
        &self.rows
    }

    /// The rows, to be changed; a forward pass that waits for its gradient is forgotten.
    pub fn rows_mut(&mut self) -> &mut TrainedRows {
        self.stage = Stage::Forward;
        &mut self.rows
    }

    /// The gradients of the last backward pass, `[U, dim]`.
    fn summed_gradients(&self) -> Result<&[f32], EmbeddingError> {
        self.stage.check_step()?;
        Ok(&self.gradients[..self.index.n_unique() * self.rows.dim()])
    }

    /// The same to be changed before the step, with the rows they belong to.
    pub(crate) fn summed_gradients_mut(
        &mut self,
    ) -> Result<(&BatchIndex, &mut [f32]), EmbeddingError> {
        let n_values = self.summed_gradients()?.len();
        Ok((&self.index, &mut self.gradients[..n_values]))
    }
}

impl EmbeddingLayer for PlainEmbedding {
    fn shape(&self) -> &LayerShape {
        self.rows.shape()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.rows.check(ids)?;
        check_length(
            "embeddings",
            ids.n * self.n_fields() * self.dim(),
            out.len(),
        )?;
        let Self { rows, index, .. } = self;
        let mut copy = || rows.pool(ids, out);
        let indexed = if ids.n_ids() <= IDS_PER_TASK {
            copy();
            index.rebuild(ids, rows.pooling())
        } else {
            rayon::join(copy, || index.rebuild(ids, rows.pooling())).1
        };
        self.stage = Stage::Backward;
        indexed
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.stage.check_backward()?;
        // Room for the most unique rows that so many ids can have: it stops growing with the batch.
        let (n_ids, n_unique, dim) = (self.index.n_ids(), self.index.n_unique(), self.dim());
        if self.gradients.len() < n_ids * dim {
            self.gradients.resize(n_ids * dim, 0.0);
        }
        let sums = &mut self.gradients[..n_unique * dim];
        reduce(gradient, &self.index, dim, sums)?;
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.summed_gradients().map(sum_of_squares)
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        let n_values = self.summed_gradients()?.len();
        self.stage = Stage::Forward;
        let gradients = &self.gradients[..n_values];
        self.rows.step(&self.index, gradients, size.lr, size.scale)
    }

    fn settle(&mut self) {
        self.rows.settle();
    }

    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        crate::lookup(&self.rows.views(), ids, self.rows.dim(), out)
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        let values = self.rows.tables()[f].values();
        out.copy_from_slice(&values[first * self.rows.dim()..][..out.len()]);
    }

    fn into_tables(self: Box<Self>) -> Vec<FieldTables> {
        let tables = self.rows.into_tables().into_iter();
        tables.map(FieldTables::from).collect()
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        self.rows.state().collect()
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.stage = Stage::Forward;
        self.rows.restore(saved)
    }
}
