//! Reading embeddings without a graph.

use rayon::prelude::*;

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
    batch.check(tables.iter().map(TableView::n_rows))?;
    let width = tables.len() * dim;
    if out.len() != batch.n * width || tables.iter().any(|table| table.dim != dim) {
        return Err(EmbeddingError::Setting {
            what: "output of a lookup".into(),
            expected: "batch × fields × dim values, all tables of that dim",
            found: format!("{} values", out.len()),
        });
    }
    if width == 0 {
        return Ok(());
    }
    out.par_chunks_mut(width).enumerate().for_each(|(b, out)| {
        for (f, out) in out.chunks_exact_mut(dim).enumerate() {
            pool(&tables[f], batch, f, b, out);
        }
    });
    Ok(())
}

fn pool(table: &TableView<'_>, batch: &IdBatch<'_>, f: usize, b: usize, out: &mut [f32]) {
    let bags = &batch.fields[f];
    let range = bags.range(b);
    let weight = table.pooling.weight(range.len());
    out.fill(0.0);
    for &id in &bags.ids[range] {
        let row = &table.values[id as usize * table.dim..][..table.dim];
        for (o, v) in out.iter_mut().zip(row) {
            *o += weight * v;
        }
    }
}
