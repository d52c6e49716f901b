//! Eigenvalues of small symmetric matrices.

/// Sweeps after which the method has converged for any matrix of this size; six or seven are usual.
const MAX_SWEEPS: usize = 60;

/// Eigenvalues of a symmetric matrix, falling, with their vectors.
#[derive(Clone, Debug)]
pub struct Eigen {
    pub values: Vec<f64>,
    /// Vector `i` is row `i`, `[n, n]`.
    pub vectors: Vec<f64>,
}

/// Diagonalises a symmetric `a` `[n, n]` by cyclic Jacobi rotations: slow for large matrices, but every
/// eigenvalue of a Gram matrix comes out with a small relative error (Demmel and Veselić 1992).
pub fn eigen(mut a: Vec<f64>, n: usize) -> Eigen {
    let mut vectors = vec![0.0; n * n];
    vectors.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    for _ in 0..MAX_SWEEPS {
        let mut has_rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                has_rotated |= rotate(&mut a, &mut vectors, n, p, q);
            }
        }
        if !has_rotated {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    Eigen {
        values: order.iter().map(|&i| a[i * n + i]).collect(),
        vectors: order
            .iter()
            .flat_map(|&i| vectors[i * n..][..n].to_vec())
            .collect(),
    }
}

/// Makes `a[p, q]` zero by a rotation; false when it is small enough already.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) -> bool {
    let (app, aqq, apq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
    if apq.abs() <= f64::EPSILON * (app * aqq).abs().sqrt() || apq == 0.0 {
        return false;
    }
    let theta = (aqq - app) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    turn(a, n, p, q, c, s);
    for i in 0..n {
        let (x, y) = (a[i * n + p], a[i * n + q]);
        (a[i * n + p], a[i * n + q]) = (c * x - s * y, s * x + c * y);
    }
    turn(vectors, n, p, q, c, s);
    true
}

/// Rotates rows `p` and `q`.
fn turn(a: &mut [f64], n: usize, p: usize, q: usize, c: f64, s: f64) {
    let (before, after) = a.split_at_mut(q * n);
    let rows = before[p * n..][..n].iter_mut().zip(&mut after[..n]);
    rows.for_each(|(x, y)| (*x, *y) = (c * *x - s * *y, s * *x + c * *y));
}

#[cfg(test)]
mod tests {
    use slimbed_rng::Seed;

    use super::*;

    #[test]
    fn a_hand_worked_case() {
        let found = eigen(vec![2.0, 1.0, 1.0, 2.0], 2);
        assert!((found.values[0] - 3.0).abs() < 1e-15 && (found.values[1] - 1.0).abs() < 1e-15);
        assert!((found.vectors[0] - found.vectors[1]).abs() < 1e-15);
    }

    #[test]
    fn vectors_are_orthonormal_and_rebuild_the_matrix() {
        for n in [1, 5, 40] {
            let mut stream = Seed::new(1).stream("test/symmetric", n as u64);
            let b: Vec<f64> = (0..n * n).map(|_| stream.normal()).collect();
            let a = |i: usize, j: usize| b[i * n + j] + b[j * n + i];
            let matrix = (0..n * n).map(|at| a(at / n, at % n)).collect();
            let Eigen { values, vectors } = eigen(matrix, n);
            assert!(values.is_sorted_by(|x, y| x >= y));
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n)
                        .map(|p| vectors[i * n + p] * vectors[j * n + p])
                        .sum();
                    let one = if i == j { 1.0 } else { 0.0 };
                    assert!((dot - one).abs() < 1e-12, "{i} {j}: {dot}");
                    let terms = (0..n).map(|p| values[p] * vectors[p * n + i] * vectors[p * n + j]);
                    assert!((terms.sum::<f64>() - a(i, j)).abs() < 1e-11);
                }
            }
        }
    }

    #[test]
    fn nothing_is_done_to_a_diagonal() {
        let found = eigen(vec![1.0, 0.0, 0.0, 4.0], 2);
        assert_eq!(
            (found.values, found.vectors),
            (vec![4.0, 1.0], vec![0.0, 1.0, 1.0, 0.0])
        );
    }
}
