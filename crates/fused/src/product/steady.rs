//! Products whose elements do not depend on how they are cut.

use crate::matrix::{Mat, MatMut, Write};
use crate::simd::multiversion;

/// `c = a·b` or `c += a·b` in f32 on the calling thread, for a `b` that has its columns side by side.
///
/// Shapes: `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`. Element `(i, j)` starts from 0 (or from `c`) and adds
/// `a[i, p]·b[p, j]` from `p = 0` on by fused multiply-adds, on every processor: its bits depend on row `i`
/// of `a` and column `j` of `b` alone, neither on the shapes nor on the place of the row in `a`.
/// Nothing is packed and nothing allocated, which suits an operand of a few kilobytes.
///
/// # Panics
/// When the shapes do not fit.
pub fn steady_product(c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write) {
    let shape = (c.rows, b.rows, c.cols);
    assert_eq!((a.rows, a.cols, b.cols), shape, "shapes of a product");
    if c.is_empty() {
        return;
    }
    assert!(
        b.col_stride == 1 || b.cols == 1 || b.rows == 0,
        "columns side by side"
    );
    if a.cols > 0 {
        assert!(fits(a) && fits(b), "operands inside of their slices");
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512 F, the operands lie inside of their slices and `c` has all its rows.
        return unsafe { wide::product(c, a, b, write) };
    }
    by_rows(c, a, b, write);
}

/// Whether the last element lies inside the slice.
fn fits(m: Mat<'_>) -> bool {
    (m.rows - 1) * m.row_stride + (m.cols - 1) * m.col_stride < m.values.len()
}

/// Columns whose sums are in registers: two of AVX2.
const COLUMNS: usize = 16;

multiversion! {
    /// The product row by row, for every processor.
    fn by_rows(c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write) {
        for (i, c) in c.each_row().enumerate() {
            if write == Write::Set {
                c.fill(0.0);
            }
            for (block, c) in c.chunks_mut(COLUMNS).enumerate() {
                let elements = a.values[(i * a.row_stride).min(a.values.len())..].iter();
                let elements = elements.step_by(a.col_stride.max(1)).take(a.cols);
                let rows = b.values[(block * COLUMNS).min(b.values.len())..].chunks(b.row_stride);
                match c.first_chunk_mut::<COLUMNS>() {
                    Some(c) => *c = whole_block(*c, elements.zip(rows)),
                    None => {
                        for (&x, row) in elements.zip(rows) {
                            c.iter_mut().zip(row).for_each(|(c, &b)| *c = x.mul_add(b, *c));
                        }
                    }
                }
            }
        }
    }
}

/// `sums + Σ x·row`, passed by value so that the sums stay in registers.
#[inline(always)]
fn whole_block<'a>(
    mut sums: [f32; COLUMNS],
    terms: impl Iterator<Item = (&'a f32, &'a [f32])>,
) -> [f32; COLUMNS] {
    for (x, row) in terms {
        let row: &[f32; COLUMNS] = row
            .first_chunk()
            .expect("a row has the columns that are asked for");
        sums = std::array::from_fn(|j| x.mul_add(row[j], sums[j]));
    }
    sums
}

/// The product in tiles for AVX-512.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::super::LANES;
    use crate::matrix::{Mat, MatMut, Write};

    /// Rows of a tile. Eight sums keep both multipliers busy, whose latency is four cycles.
    const ROWS: usize = 8;

    /// A tile: where it is, and how far its values are apart.
    #[derive(Clone, Copy)]
    struct Tile {
        c: *mut f32,
        c_row: usize,
        a: *const f32,
        a_row: usize,
        a_col: usize,
        b: *const f32,
        b_row: usize,
        k: usize,
        /// The columns of the last register.
        mask: __mmask16,
        write: Write,
    }

    /// # Safety
    /// The processor has AVX-512 F, both operands lie in their slices, `b` has its columns side by side, and
    /// `c` has all its rows.
    pub unsafe fn product(c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write) {
        for column in (0..c.cols).step_by(2 * LANES) {
            let width = (c.cols - column).min(2 * LANES);
            let in_last = width - (width - 1) / LANES * LANES;
            let mut i = 0;
            while i < c.rows {
                let n = if c.rows - i < ROWS { 1 } else { ROWS };
                let tile = Tile {
                    c: c.values[i * c.row_stride + column..].as_mut_ptr(),
                    c_row: c.row_stride,
                    a: a.values.as_ptr().wrapping_add(i * a.row_stride),
                    a_row: a.row_stride,
                    a_col: a.col_stride,
                    b: b.values.as_ptr().wrapping_add(column),
                    b_row: b.row_stride,
                    k: a.cols,
                    mask: ((1u32 << in_last) - 1) as __mmask16,
                    write,
                };
                // SAFETY: the tile lies in the product.
                unsafe {
                    match (n, width > LANES) {
                        (1, false) => multiply::<1, 1>(tile),
                        (1, true) => multiply::<1, 2>(tile),
                        (_, false) => multiply::<ROWS, 1>(tile),
                        (_, true) => multiply::<ROWS, 2>(tile),
                    }
                }
                i += n;
            }
        }
    }

    /// Computes a tile of `M` rows and `N` registers of columns.
    ///
    /// # Safety
    /// The processor has AVX-512 F, and the tile lies in its operands and in `c`.
    #[target_feature(enable = "avx512f")]
    unsafe fn multiply<const M: usize, const N: usize>(tile: Tile) {
        let mask = |j: usize| if j + 1 < N { 0xffff } else { tile.mask };
        let mut sums = [[_mm512_setzero_ps(); N]; M];
        // SAFETY: all places lie in the tile, which the caller vouches for.
        unsafe {
            let c = |i: usize, j: usize| tile.c.add(i * tile.c_row + j * LANES);
            if tile.write == Write::Add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_maskz_loadu_ps(mask(j), c(i, j));
                    }
                }
            }
            for p in 0..tile.k {
                let b = tile.b.add(p * tile.b_row);
                let b: [__m512; N] =
                    std::array::from_fn(|j| _mm512_maskz_loadu_ps(mask(j), b.add(j * LANES)));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*tile.a.add(i * tile.a_row + p * tile.a_col));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = _mm512_fmadd_ps(a, b, *sum);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (j, &sum) in sums.iter().enumerate() {
                    _mm512_mask_storeu_ps(c(i, j), mask(j), sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slimbed_rng::Seed;

    use super::*;

    fn random(n: usize, purpose: &str) -> Vec<f32> {
        let mut values = vec![0.0; n];
        let mut stream = Seed::new(1).stream(purpose, n as u64);
        stream.fill_uniform(&mut values, 1.0);
        values
    }

    /// The definition.
    fn naive(start: f32, a: Mat<'_>, b: Mat<'_>, i: usize, j: usize) -> f32 {
        (0..a.cols).fold(start, |sum, p| a.at(i, p).mul_add(b.at(p, j), sum))
    }

    proptest! {
        #[test]
        fn equals_the_definition_bit_for_bit(
            m in 0usize..20, n in 0usize..70, k in 0usize..30, gap in 0usize..3, ta: bool, add: bool,
        ) {
            let (a, b) = (random(m * k, "a"), random(k * (n + gap), "b"));
            let a = if ta { Mat::row_major(&a, k, m).t() } else { Mat::row_major(&a, m, k) };
            let b = Mat::row_major(&b, k, n + gap).columns(0..n);
            let before = random(m * (n + gap), "c");
            let mut found = before.clone();
            let write = if add { Write::Add } else { Write::Set };
            steady_product(MatMut::row_major(&mut found, m, n + gap).columns(0..n), a, b, write);
            let mut plain = before.clone();
            by_rows(MatMut::row_major(&mut plain, m, n + gap).columns(0..n), a, b, write);
            prop_assert_eq!(&plain, &found);
            for (at, (&found, &before)) in found.iter().zip(&before).enumerate() {
                let (i, j) = (at / (n + gap), at % (n + gap));
                let start = if add { before } else { 0.0 };
                let expected = if j < n { naive(start, a, b, i, j) } else { before };
                prop_assert_eq!(found.to_bits(), expected.to_bits());
            }
        }
    }

    #[test]
    #[should_panic(expected = "shapes of a product")]
    fn misfits_are_refused() {
        let (a, mut c) = ([0.0; 6], [0.0; 4]);
        let (a, b) = (Mat::row_major(&a, 2, 3), Mat::row_major(&a, 2, 3));
        steady_product(MatMut::row_major(&mut c, 2, 2), a, b, Write::Set);
    }
}
