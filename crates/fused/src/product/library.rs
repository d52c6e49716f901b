//! Products by the `gemm` crate.

use super::{fill_trivial, is_trivial};
use crate::matrix::{Mat, MatMut, Write};
use crate::panels::OperandMut;

/// `c = a·b` or `c += a·b` in f32, by the `gemm` crate's kernels for this processor, on the calling thread.
///
/// Shapes: `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn product(c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write) {
    assert_eq!(
        (a.rows, a.cols, b.cols),
        (c.rows, b.rows, c.cols),
        "shapes of a product"
    );
    if is_trivial([c.rows, c.cols, a.cols]) {
        return fill_trivial(OperandMut::Rows(c), write);
    }
    debug_assert!(fits(a) && fits(b));
    // SAFETY: both operands have at least one element and their last one lies inside their slices,
    // `c` has room for all its rows and, being a unique borrow, overlaps neither.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.values.as_mut_ptr(),
            1,
            c.row_stride as isize,
            write == Write::Add,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Whether the last element lies inside the slice; [`Mat`]'s constructors see to it.
fn fits(m: Mat<'_>) -> bool {
    (m.rows - 1) * m.row_stride + (m.cols - 1) * m.col_stride < m.values.len()
}

/// The definition, element by element: the oracle of the fast products.
#[cfg(test)]
pub(crate) fn naive(a: Mat<'_>, b: Mat<'_>) -> Vec<f32> {
    let element = |i: usize, j: usize| -> f32 {
        let terms = (0..a.cols).map(|k| f64::from(a.at(i, k)) * f64::from(b.at(k, j)));
        terms.sum::<f64>() as f32
    };
    let index = (0..a.rows).flat_map(|i| (0..b.cols).map(move |j| (i, j)));
    index.map(|(i, j)| element(i, j)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slimbed_rng::Seed;

    use super::*;

    pub(crate) fn random(n: usize, purpose: &str) -> Vec<f32> {
        let mut values = vec![0.0; n];
        Seed::new(1)
            .stream(purpose, n as u64)
            .fill_uniform(&mut values, 1.0);
        values
    }

    proptest! {
        #[test]
        fn equals_the_definition_for_any_shape_and_stride(
            m in 0usize..20, n in 0usize..40, k in 0usize..30, ta: bool, tb: bool, add: bool,
        ) {
            let (a, b, c) = (random(m * k, "a"), random(k * n, "b"), random(m * n, "c"));
            let a = if ta { Mat::row_major(&a, k, m).t() } else { Mat::row_major(&a, m, k) };
            let b = if tb { Mat::row_major(&b, n, k).t() } else { Mat::row_major(&b, k, n) };
            let write = if add { Write::Add } else { Write::Set };
            let mut found = c.clone();
            product(MatMut::row_major(&mut found, m, n), a, b, write);
            for ((found, expected), before) in found.iter().zip(naive(a, b)).zip(c) {
                let expected = if add { expected + before } else { expected };
                prop_assert!((found - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn columns_are_a_view() {
        let (a, b) = (random(12, "a"), random(20, "b"));
        let (a, b) = (Mat::row_major(&a, 3, 4), Mat::row_major(&b, 4, 5));
        let mut found = vec![0.0; 6];
        product(
            MatMut::row_major(&mut found, 3, 2),
            a,
            b.columns(1..3),
            Write::Set,
        );
        let whole = naive(a, b);
        for i in 0..3 {
            for j in 0..2 {
                assert!((found[i * 2 + j] - whole[i * 5 + 1 + j]).abs() < 1e-6);
            }
        }
    }
}
