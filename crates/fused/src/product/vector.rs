//! A row times a matrix, where the kernel of this module's parent does not run.
//!
//! The library packs its operands even for a single row, into memory that it allocates.

use crate::matrix::{Mat, Write};
use crate::simd::multiversion;

/// Columns whose sums are in registers: eight of AVX2, four of AVX-512.
const COLUMNS: usize = 64;

/// Whether [`row_product`] takes these operands.
pub(super) fn fits(a: Mat<'_>, b: Mat<'_>) -> bool {
    a.rows == 1 && a.col_stride == 1 && b.col_stride == 1
}

multiversion! {
    /// `c = x·b` or `c += x·b` for `c` `[n]`, `x` `[k]` and a row-major `b` `[k, n]`; sums go from `k = 0` on.
    pub(super) fn row_product(c: &mut [f32], x: &[f32], b: Mat<'_>, write: Write) {
        if write == Write::Set {
            c.fill(0.0);
        }
        for (block, c) in c.chunks_mut(COLUMNS).enumerate() {
            let rows = b.values[block * COLUMNS..].chunks(b.row_stride);
            match c.first_chunk_mut::<COLUMNS>() {
                Some(c) => *c = whole_block(*c, x, rows),
                None => {
                    for (&x, row) in x.iter().zip(rows) {
                        c.iter_mut().zip(row).for_each(|(c, &b)| *c = x.mul_add(b, *c));
                    }
                }
            }
        }
    }
}

/// `sums + x·rows`, passed by value so that the sums stay in registers.
#[inline(always)]
fn whole_block<'a>(
    mut sums: [f32; COLUMNS],
    x: &[f32],
    rows: impl Iterator<Item = &'a [f32]>,
) -> [f32; COLUMNS] {
    for (&x, row) in x.iter().zip(rows) {
        let row: &[f32; COLUMNS] = row
            .first_chunk()
            .expect("a row has the columns that are asked for");
        sums = std::array::from_fn(|j| x.mul_add(row[j], sums[j]));
    }
    sums
}
