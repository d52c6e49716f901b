//! Reading embeddings without training them.

use crate::error::check_length;
use crate::pool::{Source, Sources, pool};
use crate::{EmbeddingError, IdBatch, Pooling};

/// A borrowed dense table, wherever its memory comes from.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    /// `[n_rows, dim]`, row by row.
    pub values: &'a [f32],
    /// Values of a row.
    pub dim: usize,
    /// How a bag becomes one vector.
    pub pooling: Pooling,
}

impl TableView<'_> {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }
}

/// Writes the pooled embeddings of a batch to `out`, `[batch, fields, dim]`; all tables have `dim`.
///
/// Row `(b, f)` is the sum or mean of the rows of the bag, added in the order of the batch; an empty bag
/// gives zeros. Samples are cut over threads, which does not change a bit.
///
/// # Errors
/// When an id does not exist or sizes do not fit; nothing is written then.
pub fn lookup(
    tables: &[TableView<'_>],
    batch: &IdBatch<'_>,
    dim: usize,
    out: &mut [f32],
) -> Result<(), EmbeddingError> {
    check_dims(tables, dim)?;
    batch.check(tables.iter().map(TableView::n_rows))?;
    check_length("embeddings", batch.n * tables.len() * dim, out.len())?;
    pool_tables(tables, batch, dim, out);
    Ok(())
}

/// [`lookup`] after all checks.
pub(crate) fn pool_tables(
    tables: &[TableView<'_>],
    batch: &IdBatch<'_>,
    dim: usize,
    out: &mut [f32],
) {
    let fields = tables.iter().zip(&batch.fields);
    let sources: Sources<'_> = fields
        .map(|(table, &bags)| Source {
            values: table.values,
            bags,
            pooling: table.pooling,
        })
        .collect();
    pool(&sources, dim, out);
}

/// Refuses tables of another dim.
pub(crate) fn check_dims(tables: &[TableView<'_>], dim: usize) -> Result<(), EmbeddingError> {
    match tables.iter().find(|table| table.dim != dim) {
        None => Ok(()),
        Some(table) => Err(EmbeddingError::Setting {
            what: "dim of a table".into(),
            expected: "that of the embeddings",
            found: table.dim.to_string(),
        }),
    }
}
