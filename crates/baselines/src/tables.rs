//! One table a field, of which the ids of a batch take rows that they may share.

use std::ops::Range;

use slimbed_embedding::{
    Bags, BatchIndex, EmbeddingError, FieldSpec, IdBatch, Pooling, RowSettings, StateTensor,
    StepSize, Table, TrainedRows, sum_of_squares,
};

/// Trained tables `[n_rows, width]`, one a field, some of them empty.
#[derive(Debug)]
pub struct SharedTables {
    rows: TrainedRows,
    /// The row of each unique id of the last batch, field by field.
    taken: Vec<Vec<u32>>,
    /// `[0, unique ids]` of each field.
    bounds: Vec<[u32; 2]>,
    /// Of the rows taken: its unique rows are those to be updated.
    index: BatchIndex,
    /// `[rows to be updated, width]` of each field, one after the other, and memory for more.
    gradients: Vec<f32>,
}

impl SharedTables {
    /// Makes and initialises tables of these names and `(rows, values of a row)`.
    ///
    /// # Errors
    /// When the system does not give the memory or a setting cannot work.
    pub fn new(
        tables: &[(String, (usize, usize))],
        settings: &RowSettings,
    ) -> Result<Self, EmbeddingError> {
        let specs = tables.iter().map(|(name, (n_rows, _))| FieldSpec {
            name: name.clone(),
            n_rows: *n_rows,
            pooling: Pooling::Sum,
        });
        let specs: Vec<_> = specs.collect();
        Ok(Self {
            rows: TrainedRows::with_widths(&specs, settings, |f| tables[f].1.1)?,
            taken: vec![Vec::new(); tables.len()],
            bounds: vec![[0; 2]; tables.len()],
            index: BatchIndex::default(),
            gradients: Vec::new(),
        })
    }

    pub fn rows(&self) -> &TrainedRows {
        &self.rows
    }

    pub fn rows_mut(&mut self) -> &mut TrainedRows {
        &mut self.rows
    }

    pub fn into_tables(self) -> Vec<Table> {
        self.rows.into_tables()
    }

    /// Notes which rows the unique ids of a batch take: `row(f, id)`, `None` where the field has no table here.
    ///
    /// # Errors
    /// When there are more ids than a batch may have.
    pub fn take(
        &mut self,
        index: &BatchIndex,
        row: impl Fn(usize, u32) -> Option<u32>,
    ) -> Result<(), EmbeddingError> {
        // As many as the batch has ids: it stops growing with the batch.
        let n_ids = (0..self.taken.len()).map(|f| index.unique_of(f).len());
        self.index.reserve(n_ids.clone());
        for (taken, n) in self.taken.iter_mut().zip(n_ids) {
            taken.reserve(n.saturating_sub(taken.len()));
        }
        for (f, (taken, bounds)) in self.taken.iter_mut().zip(&mut self.bounds).enumerate() {
            taken.clear();
            taken.extend(index.rows(f).iter().filter_map(|&id| row(f, id)));
            *bounds = [0, taken.len() as u32];
        }
        let fields = self.taken.iter().zip(&self.bounds);
        let fields = fields.map(|(ids, bounds)| Bags {
            ids,
            offsets: Some(bounds),
        });
        // As one sample: what counts is which rows there are.
        let batch = IdBatch {
            n: 1,
            fields: fields.collect(),
        };
        self.index.rebuild(&batch, self.rows.pooling())
    }

    /// The row that unique id `u` of field `f` takes.
    pub fn row(&self, f: usize, u: usize) -> &[f32] {
        self.rows.tables()[f].row(self.taken[f][u])
    }

    /// Sums what `add(f, u, sum)` adds for every unique id `u` over the ids that share a row.
    pub fn sum_gradients(&mut self, n_ids: usize, add: impl Fn(usize, usize, &mut [f32]) + Sync) {
        let (tables, taken, index) = (self.rows.tables(), &self.taken, &self.index);
        let size = |f: usize| index.rows(f).len() * tables[f].dim();
        let n = (0..tables.len()).map(size).sum();
        // Room for the most rows that so many ids can take: it stops growing with the batch.
        let widest = tables.iter().map(Table::dim).max().unwrap_or(0);
        grow(&mut self.gradients, n_ids * widest);
        let leaf = |f: usize, out: &mut [f32]| {
            out.fill(0.0);
            let width = tables[f].dim();
            for (u, &place) in index.unique_of(f).iter().enumerate().take(taken[f].len()) {
                add(f, u, &mut out[place as usize * width..][..width]);
            }
        };
        each_field(0..tables.len(), &mut self.gradients[..n], &size, &leaf);
    }

    /// The gradients last summed.
    pub fn gradients(&self) -> &[f32] {
        let tables = self.rows.tables().iter().enumerate();
        let sizes = tables.map(|(f, table)| self.index.rows(f).len() * table.dim());
        &self.gradients[..sizes.sum()]
    }

    pub fn norm_squared(&self) -> f64 {
        sum_of_squares(self.gradients())
    }

    /// Updates the rows taken.
    ///
    /// # Errors
    /// As [`TrainedRows::step`].
    pub fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        let n = self.gradients().len();
        let gradients = &self.gradients[..n];
        self.rows.step(&self.index, gradients, size.lr, size.scale)
    }

    pub fn state(&self) -> impl Iterator<Item = StateTensor<'_>> {
        self.rows.state()
    }
}

/// Works on every field's run of `out`, `size(f)` values each. Fields are halved whatever the number of threads.
pub fn each_field(
    fields: Range<usize>,
    out: &mut [f32],
    size: &(impl Fn(usize) -> usize + Sync),
    leaf: &(impl Fn(usize, &mut [f32]) + Sync),
) {
    if fields.len() < 2 {
        return fields.for_each(|f| leaf(f, out));
    }
    let middle = fields.start + fields.len() / 2;
    let n_left = (fields.start..middle).map(size).sum();
    let (left, right) = out.split_at_mut(n_left);
    rayon::join(
        || each_field(fields.start..middle, left, size, leaf),
        || each_field(middle..fields.end, right, size, leaf),
    );
}

/// Makes room for `n` values.
pub fn grow(buffer: &mut Vec<f32>, n: usize) {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
}
