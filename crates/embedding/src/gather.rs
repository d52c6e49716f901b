//! The unique rows of a batch, for methods that transform rows before they are spread.

use crate::error::check_length;
use crate::lookup::check_dims;
use crate::parts::Parts;
use crate::pool::copy_rows;
use crate::prefetch::AHEAD;
use crate::{BatchIndex, EmbeddingError, TableView};

/// Copies the unique rows of a batch out of its tables, one a field, to `out`, `[U, dim]`.
///
/// # Errors
/// When a table lacks a row or has another dim, or `out` another length; nothing is written then.
pub fn gather(
    tables: &[TableView<'_>],
    index: &BatchIndex,
    dim: usize,
    out: &mut [f32],
) -> Result<(), EmbeddingError> {
    check_dims(tables, dim)?;
    index.check_rows(tables.iter().map(TableView::n_rows))?;
    check_length("unique rows", index.n_unique() * dim, out.len())?;
    let parts = Parts {
        index,
        dim,
        leaf: |f: usize, rows, out: &mut [f32]| {
            gather_rows(tables[f].values, &index.rows(f)[rows], dim, out);
        },
    };
    parts.run(0..index.n_unique(), out);
    Ok(())
}

/// Copies the rows `rows` of a table `[_, dim]` to `out`, `[rows, dim]`, on the calling thread.
///
/// # Panics
/// When the table lacks a row, or `out` is too long.
pub fn gather_rows(values: &[f32], rows: &[u32], dim: usize, out: &mut [f32]) {
    match dim {
        0 => {}
        16 => copy_rows(values, rows, AHEAD, 16, 16, out),
        64 => copy_rows(values, rows, AHEAD, 64, 64, out),
        _ => copy_rows(values, rows, AHEAD, dim, dim, out),
    }
}
