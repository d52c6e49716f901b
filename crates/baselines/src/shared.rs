//! The layer of ids that share rows.

use slimbed_compact::{cut_row, hashed_row};
use slimbed_embedding::{
    BatchIndex, Combine, EmbeddingError, EmbeddingLayer, FieldSpec, FieldTables, IdBatch,
    LayerShape, RowSettings, SavedState, Sharing, Stage, StateTensor, StepSize, TrainedRows,
    expand, reduce,
};

use crate::plan::FieldPlan;
use crate::tables::{SharedTables, each_field, grow};

/// The state of the second tables that the first ones have saved as well: both count the same steps.
const CLOCK: &str = "clock";

/// Embeddings whose ids share rows: hashed, cut off, or made of quotient and remainder.
///
/// A step works on the unique ids of a batch, makes their rows, and sums their gradients again over the ids that
/// share a row of a table, in the order of the ids. A field without sharing is the plain table, bit for bit.
#[derive(Debug)]
pub struct SharedEmbedding {
    shape: LayerShape,
    sharing: Vec<Sharing>,
    first: SharedTables,
    /// Remainders; empty tables for the other fields.
    second: Option<SharedTables>,
    stage: Stage,
    /// Ids of the last forward pass.
    index: BatchIndex,
    /// Rows of its unique ids, then their gradients: `[U, dim]`, and memory for more.
    unique: Vec<f32>,
}

impl SharedEmbedding {
    /// Makes and initialises the tables of a plan for these fields.
    ///
    /// Rows of a hashed or cut-off field start as those of a plain table of as many rows. Of quotient and remainder
    /// the rows that are made have the variance of the plain table's: factors of the variance 1 for remainders,
    /// halves of it for terms of a sum.
    ///
    /// # Errors
    /// When the system does not give the memory or a setting of the optimiser cannot work.
    pub fn new(
        fields: &[FieldSpec],
        plan: &[FieldPlan],
        settings: &RowSettings,
    ) -> Result<Self, EmbeddingError> {
        let part = |i: usize| {
            let fields = fields.iter().zip(plan);
            let tables = fields.map(|(field, plan)| {
                let name = match i {
                    0 => field.name.clone(),
                    _ => format!("{}.remainder", field.name),
                };
                let width = plan.parts[0].1;
                (name, plan.parts.get(i).copied().unwrap_or((0, width)))
            });
            SharedTables::new(&tables.collect::<Vec<_>>(), settings)
        };
        let has_two = plan.iter().any(|field| field.parts.len() > 1);
        let mut layer = Self {
            shape: LayerShape::new(fields, settings.dim),
            sharing: plan.iter().map(|field| field.sharing).collect(),
            first: part(0)?,
            second: has_two.then(|| part(1)).transpose()?,
            stage: Stage::Forward,
            index: BatchIndex::default(),
            unique: Vec::new(),
        };
        layer.scale(settings);
        Ok(layer)
    }

    /// The tables of part `i` of all fields.
    pub fn part(&self, i: usize) -> Option<&TrainedRows> {
        self.tables(i).map(SharedTables::rows)
    }

    /// The same, to be changed; a forward pass that waits for its gradient is forgotten.
    pub fn part_mut(&mut self, i: usize) -> Option<&mut TrainedRows> {
        self.stage = Stage::Forward;
        match i {
            0 => Some(self.first.rows_mut()),
            _ => self.second.as_mut().map(SharedTables::rows_mut),
        }
    }

    /// How the ids of field `f` become rows.
    pub fn sharing(&self, f: usize) -> Sharing {
        self.sharing[f]
    }

    /// Gradients of the rows of part `i` that the last batch took, field after field, rows rising.
    pub fn part_gradients(&self, i: usize) -> &[f32] {
        self.tables(i).map_or(&[], SharedTables::gradients)
    }

    fn tables(&self, i: usize) -> Option<&SharedTables> {
        match i {
            0 => Some(&self.first),
            _ => self.second.as_ref(),
        }
    }

    /// Gives quotients and remainders their variance.
    fn scale(&mut self, settings: &RowSettings) {
        let Some(second) = &mut self.second else {
            return;
        };
        for (f, sharing) in self.sharing.iter().enumerate() {
            let Sharing::QuotientRemainder { combine, .. } = sharing else {
                continue;
            };
            let plain = settings.init.std(self.shape.n_rows[f], self.shape.dim);
            let stds = match combine {
                Combine::Product => [plain, 1.0],
                Combine::Sum => [plain * std::f32::consts::FRAC_1_SQRT_2; 2],
                Combine::Concat => [plain; 2],
            };
            for (tables, std) in [&mut self.first, second].into_iter().zip(stds) {
                let table = &mut tables.rows_mut().tables_mut()[f];
                let own = settings.init.std(table.n_rows(), table.dim());
                table.values_mut().iter_mut().for_each(|x| *x *= std / own);
            }
        }
    }

    /// Writes the rows of checked ids, pooled, to `out`.
    fn embed(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        ids.check(self.shape.n_rows.iter().copied())?;
        let expected = ids.n * self.n_fields() * self.shape.dim;
        if out.len() != expected {
            return Err(EmbeddingError::Length {
                what: "embeddings",
                expected,
                found: out.len(),
            });
        }
        self.stage = Stage::Forward;
        self.index.rebuild(ids, &self.shape.pooling)?;
        self.take()?;
        // Room for the most unique ids there can be: it stops growing with the batch.
        grow(&mut self.unique, self.index.n_ids() * self.shape.dim);
        let n = self.index.n_unique() * self.shape.dim;
        let mut unique = std::mem::take(&mut self.unique);
        let size = |f: usize| self.index.rows(f).len() * self.shape.dim;
        let leaf = |f: usize, out: &mut [f32]| {
            for (u, out) in out.chunks_exact_mut(self.shape.dim).enumerate() {
                let second = self.second.as_ref().filter(|_| self.is_composed(f));
                let second = second.map_or(&[][..], |second| second.row(f, u));
                combine(self.sharing[f], self.first.row(f, u), second, out);
            }
        };
        each_field(0..self.n_fields(), &mut unique[..n], &size, &leaf);
        self.unique = unique;
        expand(&self.unique[..n], &self.index, self.shape.dim, out)
    }

    /// Finds the rows of the unique ids in the tables.
    fn take(&mut self) -> Result<(), EmbeddingError> {
        let Self {
            first,
            second,
            sharing,
            index,
            ..
        } = self;
        let n_rows = |tables: &SharedTables, f: usize| tables.rows().tables()[f].n_rows() as u32;
        let sizes: smallvec::SmallVec<[u32; 32]> =
            (0..sharing.len()).map(|f| n_rows(first, f)).collect();
        first.take(index, |f, id| Some(first_row(sharing[f], id, sizes[f])))?;
        if let Some(second) = second {
            second.take(index, |f, id| match sharing[f] {
                Sharing::QuotientRemainder { divisor, .. } => Some(id % divisor),
                _ => None,
            })?;
        }
        Ok(())
    }

    fn is_composed(&self, f: usize) -> bool {
        matches!(self.sharing[f], Sharing::QuotientRemainder { .. })
    }

    /// Writes the row of id `id` of field `f`.
    fn write_row(&self, f: usize, id: u32, out: &mut [f32]) {
        let table = &self.first.rows().tables()[f];
        let row = table.row(first_row(self.sharing[f], id, table.n_rows() as u32));
        let second = match (self.sharing[f], &self.second) {
            (Sharing::QuotientRemainder { divisor, .. }, Some(second)) => {
                second.rows().tables()[f].row(id % divisor)
            }
            _ => &[],
        };
        combine(self.sharing[f], row, second, out);
    }
}

/// The row of an id in the first table.
fn first_row(sharing: Sharing, id: u32, n_rows: u32) -> u32 {
    match sharing {
        Sharing::None => id,
        Sharing::Hash { seed } => hashed_row(id, seed, n_rows),
        Sharing::Cutoff => cut_row(id, n_rows),
        Sharing::QuotientRemainder { divisor, .. } => id / divisor,
    }
}

/// What is made of two rows; of one where there is no second.
fn combine(sharing: Sharing, first: &[f32], second: &[f32], out: &mut [f32]) {
    let Sharing::QuotientRemainder { combine, .. } = sharing else {
        return out.copy_from_slice(first);
    };
    let pairs = first.iter().zip(second);
    match combine {
        Combine::Sum => out.iter_mut().zip(pairs).for_each(|(y, (a, b))| *y = a + b),
        Combine::Product => out.iter_mut().zip(pairs).for_each(|(y, (a, b))| *y = a * b),
        Combine::Concat => {
            let (left, right) = out.split_at_mut(first.len());
            left.copy_from_slice(first);
            right.copy_from_slice(second);
        }
    }
}

/// Adds the gradient with respect to one of two rows: `g` that of what was made of them, `other` the other row.
fn add_gradient(sharing: Sharing, part: usize, g: &[f32], other: &[f32], sum: &mut [f32]) {
    match sharing {
        Sharing::QuotientRemainder {
            combine: Combine::Product,
            ..
        } => {
            let terms = g.iter().zip(other);
            sum.iter_mut()
                .zip(terms)
                .for_each(|(s, (g, x))| *s += g * x);
        }
        Sharing::QuotientRemainder {
            combine: Combine::Concat,
            ..
        } => {
            let start = if part == 0 { 0 } else { g.len() - sum.len() };
            let own = &g[start..start + sum.len()];
            sum.iter_mut().zip(own).for_each(|(s, g)| *s += g);
        }
        _ => sum.iter_mut().zip(g).for_each(|(s, g)| *s += g),
    }
}

impl EmbeddingLayer for SharedEmbedding {
    fn shape(&self) -> &LayerShape {
        &self.shape
    }

    fn n_trained(&self) -> u64 {
        let tables = [0, 1].into_iter().filter_map(|i| self.part(i));
        let tables = tables.flat_map(|rows| rows.tables());
        tables.map(|table| table.values().len() as u64).sum()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.embed(ids, out)?;
        self.stage = Stage::Backward;
        Ok(())
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.stage.check_backward()?;
        let Self {
            shape,
            index,
            unique,
            first,
            second,
            sharing,
            ..
        } = self;
        let (dim, n_ids) = (shape.dim, index.n_ids());
        let unique = &mut unique[..index.n_unique() * dim];
        reduce(gradient, index, dim, unique)?;
        let own = |f: usize, u: usize| &unique[(index.span(f).start + u) * dim..][..dim];
        {
            let second = second.as_ref();
            let other = |f: usize, u: usize| match (sharing[f], second) {
                (Sharing::QuotientRemainder { .. }, Some(second)) => second.row(f, u),
                _ => &[],
            };
            first.sum_gradients(n_ids, |f, u, sum| {
                add_gradient(sharing[f], 0, own(f, u), other(f, u), sum);
            });
        }
        if let Some(second) = second {
            second.sum_gradients(n_ids, |f, u, sum| {
                add_gradient(sharing[f], 1, own(f, u), first.row(f, u), sum);
            });
        }
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.stage.check_step()?;
        let second = self.second.as_ref().map_or(0.0, SharedTables::norm_squared);
        Ok(self.first.norm_squared() + second)
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        self.stage.check_step()?;
        self.stage = Stage::Forward;
        self.first.step(size)?;
        self.second
            .as_mut()
            .map_or(Ok(()), |second| second.step(size))
    }

    fn settle(&mut self) {
        self.first.rows_mut().settle();
        if let Some(second) = &mut self.second {
            second.rows_mut().settle();
        }
    }

    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.embed(ids, out)
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        assert!(
            first + out.len() / self.shape.dim <= self.shape.n_rows[f],
            "rows of the field"
        );
        for (id, out) in (first as u32..).zip(out.chunks_exact_mut(self.shape.dim)) {
            self.write_row(f, id, out);
        }
    }

    fn into_tables(self: Box<Self>) -> Vec<FieldTables> {
        let Self {
            sharing,
            first,
            second,
            ..
        } = *self;
        let mut second = second
            .map_or_else(Vec::new, SharedTables::into_tables)
            .into_iter();
        let fields = first.into_tables().into_iter().zip(sharing);
        let fields = fields.map(|(table, sharing)| {
            let is_composed = matches!(sharing, Sharing::QuotientRemainder { .. });
            let other = second.next().filter(|_| is_composed);
            FieldTables {
                parts: std::iter::once(table).chain(other).collect(),
                sharing,
                projection: None,
            }
        });
        fields.collect()
    }

    /// Rows and values stored.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let tables = [0, 1].into_iter().filter_map(|i| self.part(i));
        let n_rows = tables.flat_map(|rows| rows.tables().iter().map(|table| table.n_rows()));
        vec![
            ("stored_rows", n_rows.sum::<usize>() as f64),
            ("stored_values", self.n_trained() as f64),
        ]
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let second = self.second.iter().flat_map(SharedTables::state);
        let second = second.filter(|tensor| tensor.name != CLOCK);
        self.first.state().chain(second).collect()
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.stage = Stage::Forward;
        self.first.rows_mut().restore(saved)?;
        self.second
            .as_mut()
            .map_or(Ok(()), |second| second.rows_mut().restore(saved))
    }
}
