//! Singular values of tables, and tables cut to their largest ones.

use rayon::prelude::*;
use slimbed_embedding::{EmbeddingError, Table};
use slimbed_fused::{Mat, MatMut, Write, steady_product};

use crate::symmetric::{Eigen, eigen};

/// Rows whose squares one task adds; a fixed number, so that bits do not depend on threads.
const ROWS_PER_TASK: usize = 1 << 12;

/// Tasks whose sums are in memory at a time.
const TASKS_AT_ONCE: usize = 32;

/// Rows that are projected at a time.
const ROWS_AT_ONCE: usize = 1 << 10;

/// The best table of lower rank: `X ≈ rows · directions`.
#[derive(Debug)]
pub struct Truncated {
    /// `X·V_d = U_d·S_d`, `[n_rows, d]`.
    pub rows: Table,
    /// The first `d` right singular vectors of X, one a row, `[d, k]`.
    pub directions: Vec<f32>,
    /// All singular values of X, falling.
    pub singular_values: Vec<f64>,
}

/// Cuts a table X `[n_rows, k]` to rank `d`, with the least sum of squared errors (Eckart and Young 1936).
///
/// `rows` is a table of dim `d`, `directions` turns its rows back into the `k` values that the model was trained
/// with; both are shipped. Costs `n_rows·k²` in f64 and a second table of `n_rows·d` values.
///
/// # Errors
/// When `d` is not 1 to `k`, or the system does not give the memory.
pub fn truncate(table: &Table, d: usize) -> Result<Truncated, EmbeddingError> {
    let k = table.dim();
    if !(1..=k).contains(&d) {
        return Err(EmbeddingError::Setting {
            what: "rank of a truncated table".into(),
            expected: "1 to the dim of the table",
            found: d.to_string(),
        });
    }
    let Eigen { values, vectors } = eigen(gram(table.values(), k), k);
    let directions: Vec<f32> = vectors[..d * k].iter().map(|&x| x as f32).collect();
    let columns: Vec<f32> = (0..k * d)
        .map(|at| directions[at % d * k + at / d])
        .collect();
    let mut rows = Table::zeros(table.n_rows(), d)?;
    let out = rows.values_mut().par_chunks_mut(ROWS_AT_ONCE * d);
    let wide = table.values().par_chunks(ROWS_AT_ONCE * k);
    out.zip(wide).for_each(|(out, wide)| {
        let n = out.len() / d;
        let (a, b) = (Mat::row_major(wide, n, k), Mat::row_major(&columns, k, d));
        steady_product(MatMut::row_major(out, n, d), a, b, Write::Set);
    });
    Ok(Truncated {
        rows,
        directions,
        singular_values: roots(&values),
    })
}

/// Singular values of a matrix `[_, k]`, falling; computed in f64 through its Gram matrix, so that values
/// below about 1e-8 of the largest are noise.
pub fn singular_values(values: &[f32], k: usize) -> Vec<f64> {
    roots(&eigen(gram(values, k), k).values)
}

fn roots(eigenvalues: &[f64]) -> Vec<f64> {
    eigenvalues.iter().map(|x| x.max(0.0).sqrt()).collect()
}

/// `XᵀX`, `[k, k]`, added in a fixed order.
fn gram(values: &[f32], k: usize) -> Vec<f64> {
    let mut sums = vec![0.0; k * k];
    for values in values.chunks((ROWS_PER_TASK * TASKS_AT_ONCE * k).max(1)) {
        let parts = values.par_chunks(ROWS_PER_TASK * k);
        let parts: Vec<Vec<f64>> = parts.map(|rows| gram_of(rows, k)).collect();
        for part in parts {
            sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
    }
    sums
}

fn gram_of(values: &[f32], k: usize) -> Vec<f64> {
    let mut sums = vec![0.0; k * k];
    let mut row = vec![0.0; k];
    for values in values.chunks_exact(k) {
        row.iter_mut()
            .zip(values)
            .for_each(|(x, &v)| *x = f64::from(v));
        for (&x, sums) in row.iter().zip(sums.chunks_exact_mut(k)) {
            sums.iter_mut().zip(&row).for_each(|(sum, y)| *sum += x * y);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use slimbed_rng::Seed;

    use super::*;

    /// A table of this rank.
    fn table(n_rows: usize, k: usize, rank: usize) -> Table {
        let mut stream = Seed::new(1).stream("test/spectrum", 0);
        let (mut left, mut right) = (vec![0.0; n_rows * rank], vec![0.0; rank * k]);
        stream.fill_normal(&mut left, 1.0);
        stream.fill_normal(&mut right, 1.0);
        let mut table = Table::zeros(n_rows, k).unwrap();
        let (a, b) = (
            Mat::row_major(&left, n_rows, rank),
            Mat::row_major(&right, rank, k),
        );
        let c = MatMut::row_major(table.values_mut(), n_rows, k);
        steady_product(c, a, b, Write::Set);
        table
    }

    /// `Σ (X − rows·directions)²`.
    fn squared_error(table: &Table, cut: &Truncated) -> f64 {
        let (k, d) = (table.dim(), cut.rows.dim());
        let mut sum = 0.0;
        for row in 0..table.n_rows() as u32 {
            for j in 0..k {
                let back: f32 = (0..d)
                    .map(|p| cut.rows.row(row)[p] * cut.directions[p * k + j])
                    .sum();
                sum += f64::from(table.row(row)[j] - back).powi(2);
            }
        }
        sum
    }

    #[test]
    fn a_table_of_low_rank_is_kept() {
        let table = table(5000, 24, 6);
        let cut = truncate(&table, 6).unwrap();
        let norm: f64 = table.values().iter().map(|&x| f64::from(x).powi(2)).sum();
        assert!(squared_error(&table, &cut) < 1e-10 * norm);
        assert!(cut.singular_values[6] < 1e-6 * cut.singular_values[0]);
        let squares: f64 = cut.singular_values.iter().map(|s| s * s).sum();
        assert!((squares / norm - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_error_is_that_of_the_values_cut_off() {
        let table = table(300, 12, 12);
        for d in [1, 5, 12] {
            let cut = truncate(&table, d).unwrap();
            let expected: f64 = cut.singular_values[d..].iter().map(|s| s * s).sum();
            let all: f64 = cut.singular_values.iter().map(|s| s * s).sum();
            assert!(
                (squared_error(&table, &cut) - expected).abs() < 1e-5 * all,
                "{d}"
            );
        }
    }

    #[test]
    fn a_hand_worked_case() {
        // XᵀX = diag(9, 25).
        let found = singular_values(&[3.0, 0.0, 0.0, 4.0, 0.0, -3.0], 2);
        assert_eq!(found, [5.0, 3.0]);
    }

    #[test]
    fn impossible_ranks_are_refused() {
        for d in [0, 5] {
            let error = truncate(&table(9, 4, 2), d).unwrap_err().to_string();
            assert!(error.contains("1 to the dim of the table"), "{error}");
        }
    }
}
