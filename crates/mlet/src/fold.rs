//! The product of the factors: one row or all of them.

use rayon::prelude::*;
use slimbed_embedding::Table;
use slimbed_fused::{Mat, MatMut, Write, steady_product};

use crate::settings::Shape;

/// Rows folded at a time, and rows of them that one task folds.
const ROWS_AT_ONCE: usize = 1 << 14;
const ROWS_PER_TASK: usize = 1 << 10;

/// Writes `inner·W2` (or `inner`, without W2) to `out` `[rows, dim]`, with zeros behind the field's columns.
///
/// Every product of the crate with W2 is this one: a row has the same bits wherever it is computed.
pub fn transform(inner: &[f32], shape: Shape, w2: Option<Mat<'_>>, dim: usize, out: &mut [f32]) {
    let n = out.len() / dim;
    match w2 {
        None => {
            let rows = inner.chunks_exact(shape.width);
            for (out, row) in out.chunks_exact_mut(dim).zip(rows) {
                out[..shape.dim].copy_from_slice(row);
            }
        }
        Some(w2) => {
            let rows = Mat::row_major(inner, n, shape.width);
            let out = MatMut::row_major(out, n, dim).columns(0..shape.dim);
            steady_product(out, rows, w2, Write::Set);
        }
    }
    if shape.dim < dim {
        out.chunks_exact_mut(dim)
            .for_each(|row| row[shape.dim..].fill(0.0));
    }
}

/// Turns a table of W1 into one of E, `[n_rows, dim]`, in its own memory when its rows are wide enough.
///
/// # Panics
/// When they are not and the system does not give the memory of another table.
pub fn fold(mut table: Table, shape: Shape, w2: Option<Mat<'_>>, dim: usize) -> Table {
    if w2.is_none() && shape.width == dim {
        return table;
    }
    let n_rows = table.n_rows();
    if shape.width < dim {
        let mut out =
            Table::zeros(n_rows, dim).expect("memory for a table wider than the trained one");
        let rows = out.values_mut().par_chunks_mut(ROWS_PER_TASK * dim);
        let inner = table.values().par_chunks(ROWS_PER_TASK * shape.width);
        rows.zip(inner)
            .for_each(|(out, inner)| transform(inner, shape, w2, dim, out));
        return out;
    }
    // Row `i` goes to `i·dim ≤ i·width`, where only rows before it were.
    let mut folded = vec![0.0; ROWS_AT_ONCE.min(n_rows) * dim];
    for first in (0..n_rows).step_by(ROWS_AT_ONCE) {
        let n = ROWS_AT_ONCE.min(n_rows - first);
        let folded = &mut folded[..n * dim];
        let inner = &table.values()[first * shape.width..][..n * shape.width];
        let inner = inner.par_chunks(ROWS_PER_TASK * shape.width);
        let rows = folded.par_chunks_mut(ROWS_PER_TASK * dim);
        rows.zip(inner)
            .for_each(|(out, inner)| transform(inner, shape, w2, dim, out));
        table.values_mut()[first * dim..][..n * dim].copy_from_slice(folded);
    }
    table.narrow(dim)
}
