//! The layer.

use slimbed_embedding::{
    BatchIndex, EmbeddingError, EmbeddingLayer, FieldSpec, FieldTables, IdBatch, LayerShape,
    RowSettings, SavedState, Stage, StateTensor, StepSize, TrainedRows, expand, gather_rows,
    reduce, sum_of_squares,
};
use slimbed_fused::{Mat, MatMut, Write, steady_product};

use crate::chunks::{Chunk, Chunks, Part};
use crate::fold::{fold, transform};
use crate::projections::Projections;
use crate::settings::{MletSettings, Shape};
use crate::spectrum::singular_values;

/// Rows of a field that [`MletEmbedding::check_fold`] looks at.
const CHECKED_ROWS: usize = 256;

/// Embeddings `E = W1·W2`, a pair of factors for each field with rows enough.
///
/// A field with fewer rows than its inner dim is a plain table `[n_rows, d]`. Columns from a field's dim on to the
/// model's are zero.
#[derive(Debug)]
pub struct MletEmbedding {
    ships: Ships,
    /// W1 of each field, `[n_rows, width]`.
    rows: TrainedRows,
    projections: Projections,
    stage: Stage,
    /// Of the last forward pass.
    index: BatchIndex,
    chunks: Chunks,
}

/// What is stored of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ships {
    /// E.
    Folded,
    /// W1, and W2 as its projection.
    Factors,
}

/// Which matrix of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// W1, `[n_rows, k]`.
    Inner,
    /// `E = W1·W2`, `[n_rows, d]`.
    Folded,
}

impl MletEmbedding {
    /// Makes and initialises the factors; `rows.dim` is the dim of the model.
    ///
    /// # Errors
    /// When the system does not give the memory or a setting cannot work.
    pub fn new(
        fields: &[FieldSpec],
        rows: &RowSettings,
        settings: &MletSettings,
    ) -> Result<Self, EmbeddingError> {
        settings.check(fields, rows.dim)?;
        let shapes = fields.iter().map(|field| settings.shape(field, rows.dim));
        Self::of_shapes(fields, rows, shapes.collect(), settings, Ships::Folded)
    }

    /// The same with the shapes of the fields given, which ships W1 and W2 as they are instead of their product:
    /// smaller where rows of W1 are narrow. Of `settings` only how W2 starts and learns counts.
    ///
    /// # Errors
    /// When the system does not give the memory, or a field with a dim of its own has no W2.
    pub fn of_factors(
        fields: &[FieldSpec],
        rows: &RowSettings,
        shapes: Vec<Shape>,
        settings: &MletSettings,
    ) -> Result<Self, EmbeddingError> {
        if let Some(shape) = shapes.iter().find(|shape| shape.dim != rows.dim) {
            return Err(EmbeddingError::Setting {
                what: "dim of a field that ships its factors".into(),
                expected: "that of the model",
                found: shape.dim.to_string(),
            });
        }
        Self::of_shapes(fields, rows, shapes, settings, Ships::Factors)
    }

    fn of_shapes(
        fields: &[FieldSpec],
        rows: &RowSettings,
        shapes: Vec<Shape>,
        settings: &MletSettings,
        ships: Ships,
    ) -> Result<Self, EmbeddingError> {
        Ok(Self {
            ships,
            rows: TrainedRows::with_widths(fields, rows, |f| shapes[f].width)?,
            projections: Projections::new(fields, shapes, settings, rows.seed),
            stage: Stage::Forward,
            index: BatchIndex::default(),
            chunks: Chunks::default(),
        })
    }

    /// The rows of W1 with their optimiser.
    pub fn rows(&self) -> &TrainedRows {
        &self.rows
    }

    /// The rows of W1, to be changed; a forward pass that waits for its gradient is forgotten.
    pub fn rows_mut(&mut self) -> &mut TrainedRows {
        self.stage = Stage::Forward;
        &mut self.rows
    }

    /// Values of a trained row of field `f`.
    pub fn width(&self, f: usize) -> usize {
        self.projections.shape(f).width
    }

    /// W2 of field `f`, `[k, d]` row by row; `None` where the field is a plain table.
    pub fn projection(&self, f: usize) -> Option<&[f32]> {
        self.projections.values(f)
    }

    /// The same, to be changed, and empty without W2; a forward pass that waits for its gradient is forgotten.
    pub fn projection_mut(&mut self, f: usize) -> &mut [f32] {
        self.stage = Stage::Forward;
        self.projections.values_mut(f)
    }

    /// Gradient of all W2, one after the other, of the last backward pass; empty when they are frozen.
    pub fn projection_gradient(&self) -> &[f32] {
        self.projections.gradient()
    }

    /// Gradients of the unique rows of W1 of the last backward pass, `[U_f, width]` of each field.
    pub fn row_gradients(&self) -> &[f32] {
        self.chunks.inner()
    }

    /// Singular values of a factor of field `f`, falling. Costs `n_rows·width²`, and for
    /// [`Factor::Folded`] the memory of the folded table.
    pub fn singular_values(&self, f: usize, factor: Factor) -> Vec<f64> {
        let (table, shape) = (&self.rows.tables()[f], self.projections.shape(f));
        if factor == Factor::Inner || !shape.is_projected {
            return singular_values(table.values(), shape.width);
        }
        let mut folded = vec![0.0; table.n_rows() * shape.dim];
        let w2 = self.projections.matrix(f);
        transform(table.values(), shape, w2, shape.dim, &mut folded);
        singular_values(&folded, shape.dim)
    }

    /// Largest difference between a folded value and the same in f64, relative to the largest folded value;
    /// over a few hundred rows of each field. What rounding in the product costs: 1e-6, not more.
    pub fn check_fold(&self) -> f64 {
        let fields = 0..self.n_fields();
        let errors = fields.map(|f| self.fold_error(f));
        errors.fold(0.0, f64::max)
    }

    fn fold_error(&self, f: usize) -> f64 {
        let (n_rows, mut out) = (self.n_rows(f), vec![0.0; self.dim()]);
        let (mut error, mut largest) = (0.0f64, f64::MIN_POSITIVE);
        for row in (0..n_rows).step_by(n_rows.div_ceil(CHECKED_ROWS).max(1)) {
            self.write_rows(f, row, &mut out);
            for (j, &x) in out[..self.projections.shape(f).dim].iter().enumerate() {
                largest = largest.max(f64::from(x).abs());
                error = error.max((self.value(f, row, j) - f64::from(x)).abs());
            }
        }
        error / largest
    }

    /// Element `(row, j)` of E of field `f`.
    fn value(&self, f: usize, row: usize, j: usize) -> f64 {
        let Shape { width, dim, .. } = self.projections.shape(f);
        let inner = &self.rows.tables()[f].values()[row * width..][..width];
        let Some(w2) = self.projections.values(f) else {
            return f64::from(inner[j]);
        };
        let column = w2[j..].iter().step_by(dim);
        let terms = inner.iter().zip(column);
        terms.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
    }

    /// Rows of E of checked ids, pooled to `out`.
    fn embed(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.rows.check(ids)?;
        let dim = self.rows.dim();
        check_length("embeddings", ids.n * self.n_fields() * dim, out.len())?;
        self.stage = Stage::Forward;
        self.index.rebuild(ids, self.rows.pooling())?;
        self.chunks.reserve(ids, &self.projections, dim);
        self.chunks.cut(&self.index, &self.projections, dim);
        let pass = Pass {
            rows: &self.rows,
            projections: &self.projections,
            index: &self.index,
        };
        self.chunks.run(|chunk, part| pass.forward(chunk, part));
        expand(self.chunks.outer(), &self.index, dim, out)
    }

    /// Brings the rows of the last batch back, where a backward pass has written gradients over them.
    fn gather_again(&mut self) {
        let pass = Pass {
            rows: &self.rows,
            projections: &self.projections,
            index: &self.index,
        };
        self.chunks
            .run(|chunk, part| pass.gather(chunk, part.inner));
    }
}

/// A pass over the unique rows of a batch; what its tasks share.
#[derive(Clone, Copy)]
struct Pass<'a> {
    rows: &'a TrainedRows,
    projections: &'a Projections,
    index: &'a BatchIndex,
}

impl Pass<'_> {
    /// Copies the rows of W1.
    fn gather(self, chunk: &Chunk, inner: &mut [f32]) {
        let table = &self.rows.tables()[chunk.field];
        let rows = &self.index.rows(chunk.field)[chunk.rows.clone()];
        gather_rows(table.values(), rows, table.dim(), inner);
    }

    /// Rows of E.
    fn forward(self, chunk: &Chunk, part: Part<'_>) {
        let (f, dim) = (chunk.field, self.rows.dim());
        let shape = self.projections.shape(f);
        if !shape.is_projected && shape.dim == dim {
            return self.gather(chunk, part.outer);
        }
        self.gather(chunk, part.inner);
        transform(
            part.inner,
            shape,
            self.projections.matrix(f),
            dim,
            part.outer,
        );
    }

    /// Turns the gradient of E's rows into that of W1's, which replaces them, and a part of W2's.
    fn backward(self, chunk: &Chunk, part: Part<'_>) {
        let (n, f, dim) = (chunk.rows.len(), chunk.field, self.rows.dim());
        let shape = self.projections.shape(f);
        let Some(transposed) = self.projections.transposed(f) else {
            let rows = part.outer.chunks_exact(dim);
            let inner = part.inner.chunks_exact_mut(shape.dim);
            return inner
                .zip(rows)
                .for_each(|(to, row)| to.copy_from_slice(&row[..shape.dim]));
        };
        let gradient = Mat::row_major(part.outer, n, dim).columns(0..shape.dim);
        if !part.partial.is_empty() {
            let inner = Mat::row_major(part.inner, n, shape.width).t();
            let sums = MatMut::row_major(part.partial, shape.width, shape.dim);
            steady_product(sums, inner, gradient, Write::Set);
        }
        let inner = MatMut::row_major(part.inner, n, shape.width);
        steady_product(inner, gradient, transposed, Write::Set);
    }
}

impl EmbeddingLayer for MletEmbedding {
    fn shape(&self) -> &LayerShape {
        self.rows.shape()
    }

    fn n_trained(&self) -> u64 {
        let rows = self.rows.tables().iter().map(|table| table.values().len());
        (rows.sum::<usize>() + self.projections.n_values()) as u64
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.embed(ids, out)?;
        self.stage = Stage::Backward;
        Ok(())
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.stage.check_backward()?;
        let dim = self.dim();
        reduce(gradient, &self.index, dim, self.chunks.outer_mut())?;
        if self.stage == Stage::Step {
            self.gather_again();
        }
        self.projections.transpose();
        let pass = Pass {
            rows: &self.rows,
            projections: &self.projections,
            index: &self.index,
        };
        self.chunks.run(|chunk, part| pass.backward(chunk, part));
        self.chunks.sum_partials(&mut self.projections);
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.stage.check_step()?;
        Ok(sum_of_squares(self.chunks.inner()) + sum_of_squares(self.projections.gradient()))
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        self.stage.check_step()?;
        self.stage = Stage::Forward;
        let gradients = self.chunks.inner();
        self.rows
            .step(&self.index, gradients, size.lr, size.scale)?;
        self.projections.step(size);
        Ok(())
    }

    fn settle(&mut self) {
        self.rows.settle();
    }

    /// The bits are those of the folded tables, in bags too.
    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.embed(ids, out)
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        let (shape, dim) = (self.projections.shape(f), self.dim());
        let n = out.len() / dim;
        let inner = &self.rows.tables()[f].values()[first * shape.width..][..n * shape.width];
        transform(inner, shape, self.projections.matrix(f), dim, out);
    }

    fn into_tables(self: Box<Self>) -> Vec<FieldTables> {
        let dim = self.dim();
        let projections = self.projections;
        let tables = self.rows.into_tables().into_iter().enumerate();
        let fields = tables.map(|(f, table)| match self.ships {
            Ships::Folded => fold(table, projections.shape(f), projections.matrix(f), dim).into(),
            Ships::Factors => FieldTables {
                projection: projections.values(f).map(<[f32]>::to_vec),
                ..table.into()
            },
        });
        fields.collect()
    }

    /// Mean width of the trained rows, values trained and shipped, the mean of `‖W2‖²/d` (what W2 multiplies a
    /// gradient with, about), and [`check_fold`](MletEmbedding::check_fold).
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let shapes = || self.projections.shapes().iter().zip(self.rows.tables());
        let n_rows: usize = shapes().map(|(_, table)| table.n_rows()).sum();
        let n_inner: usize = shapes().map(|(_, table)| table.values().len()).sum();
        let n_w2: usize = self.projections.n_values();
        let n_shipped: usize = match self.ships {
            Ships::Factors => n_inner + n_w2,
            Ships::Folded => shapes()
                .map(|(shape, table)| shape.dim * table.n_rows())
                .sum(),
        };
        vec![
            ("inner_dim", n_inner as f64 / n_rows.max(1) as f64),
            ("trained_values", (n_inner + n_w2) as f64),
            ("shipped_values", n_shipped as f64),
            ("projection_gain", self.projections.gain()),
            ("fold_error", self.check_fold()),
        ]
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        self.rows.state().chain(self.projections.state()).collect()
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.stage = Stage::Forward;
        self.projections.restore(saved)?;
        self.rows.restore(saved)
    }
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), EmbeddingError> {
    if expected == found {
        return Ok(());
    }
    Err(EmbeddingError::Length {
        what,
        expected,
        found,
    })
}
