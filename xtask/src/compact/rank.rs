//! Tables cut to a lower rank: MLET's control that trains wide and cuts afterwards.

use std::cell::RefCell;

use slimbed_compact::{ArtefactError, PartShape, Sharing, SourceField, TableSource};
use slimbed_embedding::{EmbeddingError, Table};
use slimbed_mlet::{Truncated, truncate};

/// A source whose tables are the best ones of rank `rank`: narrow rows, and a matrix behind them.
///
/// Tables that this would not make smaller, share rows or have a matrix already stay as they are.
pub struct LowRank<'s> {
    source: &'s dyn TableSource,
    fields: Vec<SourceField>,
    /// The last table that was cut: its rows and its matrix are asked for one after the other.
    last: RefCell<Option<(usize, Truncated)>>,
}

impl<'s> LowRank<'s> {
    /// Cuts every table of `source` that gets smaller.
    pub fn new(source: &'s dyn TableSource, rank: usize) -> Self {
        let cut = |field: &SourceField| {
            let mut field = field.clone();
            if gains(&field, rank) {
                field.is_projected = true;
                field.parts = vec![PartShape {
                    n_rows: field.n_rows,
                    dim: rank,
                }];
            }
            field
        };
        Self {
            fields: source.fields().iter().map(cut).collect(),
            source,
            last: RefCell::new(None),
        }
    }

    /// Number of tables that are cut.
    pub fn n_cut(&self) -> usize {
        (0..self.fields.len()).filter(|&f| self.is_cut(f)).count()
    }

    fn is_cut(&self, f: usize) -> bool {
        self.fields[f].is_projected && !self.source.fields()[f].is_projected
    }

    /// Hands over the cut table `f`.
    fn with<T>(&self, f: usize, take: impl Fn(&Truncated) -> T) -> Result<T, ArtefactError> {
        let mut last = self.last.borrow_mut();
        if let Some((_, cut)) = last.as_ref().filter(|(of, _)| *of == f) {
            return Ok(take(cut));
        }
        let field = &self.fields[f];
        let rows = self.source.part(f, 0)?;
        let cut = cut(&rows, field).map_err(|error| refused(field, &error))?;
        let taken = take(&cut);
        *last = Some((f, cut));
        Ok(taken)
    }
}

impl TableSource for LowRank<'_> {
    fn fields(&self) -> &[SourceField] {
        &self.fields
    }

    fn part(&self, f: usize, i: usize) -> Result<Vec<f32>, ArtefactError> {
        if !self.is_cut(f) {
            return self.source.part(f, i);
        }
        self.with(f, |cut| cut.rows.values().to_vec())
    }

    fn projection(&self, f: usize) -> Result<Option<Vec<f32>>, ArtefactError> {
        if !self.is_cut(f) {
            return self.source.projection(f);
        }
        self.with(f, |cut| Some(cut.directions.clone()))
    }
}

/// Whether rows of `rank` values and a matrix are fewer values than the rows.
fn gains(field: &SourceField, rank: usize) -> bool {
    let is_plain = field.sharing == Sharing::None && !field.is_projected;
    is_plain && rank < field.dim && rank * (field.n_rows + field.dim) < field.n_rows * field.dim
}

fn cut(rows: &[f32], field: &SourceField) -> Result<Truncated, EmbeddingError> {
    let mut table = Table::zeros(field.n_rows, field.dim)?;
    table.values_mut().copy_from_slice(rows);
    truncate(&table, field.parts[0].dim)
}

fn refused(field: &SourceField, error: &EmbeddingError) -> ArtefactError {
    ArtefactError::Tensor {
        path: "--rank".into(),
        tensor: format!("table.{}", field.name),
        expected: "a table that can be cut".into(),
        found: error.to_string(),
    }
}
