//! The second-order term of factorisation machines.
//!
//! `½ ((Σe)² − Σe²)`, summed over the columns, takes one pass over the vectors, sixteen columns at a time;
//! backward, the sum is computed again rather than kept.

use crate::lanes::LANES;
use crate::matrix::Write;
use crate::piece::SecondOrder;
use crate::simd::multiversion;

/// Writes `[rows]` from `x` `[rows, n_vectors · dim]`.
pub fn second_order(piece: &SecondOrder, x: &[f32], out: &mut [f32]) {
    forward_rows(piece.n_vectors, piece.dim, x, out);
}

multiversion! {
    fn forward_rows(n_vectors: usize, dim: usize, x: &[f32], out: &mut [f32]) {
        for (x, out) in x.chunks_exact(n_vectors * dim).zip(out) {
            let blocks = (0..dim).step_by(LANES);
            *out = blocks.map(|first| block_term(x, dim, first)).sum();
        }
    }
}

/// The term of the columns from `first` on, up to sixteen.
#[inline(always)]
fn block_term(x: &[f32], dim: usize, first: usize) -> f32 {
    let (mut sums, mut squares) = ([0f32; LANES], [0f32; LANES]);
    for vector in x.chunks_exact(dim) {
        let block = padded(&vector[first..]);
        for lane in 0..LANES {
            sums[lane] += block[lane];
            squares[lane] = block[lane].mul_add(block[lane], squares[lane]);
        }
    }
    let term = |lane: usize| 0.5 * sums[lane].mul_add(sums[lane], -squares[lane]);
    (0..LANES).map(term).sum()
}

/// The first sixteen values, zeros behind the end.
#[inline(always)]
fn padded(values: &[f32]) -> [f32; LANES] {
    match values.first_chunk() {
        Some(block) => *block,
        None => {
            let mut block = [0.0; LANES];
            block[..values.len()].copy_from_slice(values);
            block
        }
    }
}

/// Writes or adds the gradient of `x` from that of the output, `[rows]`: `∂L/∂e_i = g (Σ_j e_j − e_i)`.
pub fn second_order_gradient(
    piece: &SecondOrder,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    write: Write,
) {
    backward_rows(piece.n_vectors, piece.dim, x, dy, dx, write);
}

multiversion! {
    fn backward_rows(
        n_vectors: usize,
        dim: usize,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        write: Write,
    ) {
        let samples = x.chunks_exact(n_vectors * dim).zip(dx.chunks_exact_mut(n_vectors * dim));
        for ((x, dx), &g) in samples.zip(dy) {
            for first in (0..dim).step_by(LANES) {
                block_gradient(x, g, dx, write, dim, first);
            }
        }
    }
}

#[inline(always)]
fn block_gradient(x: &[f32], g: f32, dx: &mut [f32], write: Write, dim: usize, first: usize) {
    let mut sums = [0f32; LANES];
    for vector in x.chunks_exact(dim) {
        let block = padded(&vector[first..]);
        sums = std::array::from_fn(|lane| sums[lane] + block[lane]);
    }
    for (vector, dx) in x.chunks_exact(dim).zip(dx.chunks_exact_mut(dim)) {
        let columns = vector[first..].iter().zip(&mut dx[first..]).zip(sums);
        for ((&x, dx), sum) in columns {
            let before = match write {
                Write::Set => 0.0,
                Write::Add => *dx,
            };
            *dx = g.mul_add(sum - x, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slimbed_rng::Seed;

    use super::*;
    use crate::piece::Value;

    fn piece(n_vectors: usize, dim: usize) -> SecondOrder {
        SecondOrder {
            input: Value::EMBEDDINGS,
            output: Value(3),
            n_vectors,
            dim,
        }
    }

    fn random(n: usize, purpose: &str) -> Vec<f32> {
        let mut values = vec![0.0; n];
        let mut stream = Seed::new(1).stream(purpose, 0);
        stream.fill_uniform(&mut values, 1.0);
        values
    }

    /// The sum over pairs for one sample, and its gradient.
    fn naive(piece: &SecondOrder, x: &[f32], g: f32) -> (f32, Vec<f32>) {
        let at = |i: usize| &x[i * piece.dim..][..piece.dim];
        let (mut sum, mut gradient) = (0.0, vec![0.0; x.len()]);
        for i in 0..piece.n_vectors {
            for j in (0..piece.n_vectors).filter(|&j| j != i) {
                for k in 0..piece.dim {
                    sum += 0.5 * at(i)[k] * at(j)[k];
                    gradient[i * piece.dim + k] += g * at(j)[k];
                }
            }
        }
        (sum, gradient)
    }

    #[test]
    fn hand_worked_sample() {
        let (piece, x) = (piece(3, 2), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let (mut y, mut dx) = ([0.0], [9.0; 6]);
        second_order(&piece, &x, &mut y);
        // (1,2)·(3,4) + (1,2)·(5,6) + (3,4)·(5,6)
        assert_eq!(y, [11.0 + 17.0 + 39.0]);
        second_order_gradient(&piece, &x, &[0.5], &mut dx, Write::Set);
        assert_eq!(dx, [4.0, 5.0, 3.0, 4.0, 2.0, 3.0]);
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let (piece, x) = (piece(4, 5), random(20, "x"));
        let value = |x: &[f32]| {
            let mut y = [0.0];
            second_order(&piece, x, &mut y);
            y[0]
        };
        let mut dx = vec![0.0; 20];
        second_order_gradient(&piece, &x, &[1.0], &mut dx, Write::Set);
        for i in 0..20 {
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let numeric = (value(&up) - value(&down)) / 2e-2;
            assert!(
                (numeric - dx[i]).abs() < 1e-3,
                "{i}: {numeric} != {}",
                dx[i]
            );
        }
    }

    proptest! {
        #[test]
        fn equals_the_sum_over_pairs(rows in 0usize..4, n_vectors in 1usize..30, dim in 1usize..40) {
            let (piece, width) = (piece(n_vectors, dim), n_vectors * dim);
            let (x, dy) = (random(rows * width, "x"), random(rows, "dy"));
            let (mut y, mut dx) = (vec![9.0; rows], vec![9.0; x.len()]);
            second_order(&piece, &x, &mut y);
            second_order_gradient(&piece, &x, &dy, &mut dx, Write::Set);
            second_order_gradient(&piece, &x, &dy, &mut dx, Write::Add);
            for b in 0..rows {
                let (sum, gradient) = naive(&piece, &x[b * width..][..width], dy[b]);
                prop_assert!((y[b] - sum).abs() < 1e-4 * sum.abs().max(1.0), "{} != {sum}", y[b]);
                for (found, expected) in dx[b * width..][..width].iter().zip(&gradient) {
                    prop_assert!((found / 2.0 - expected).abs() < 1e-5 * expected.abs().max(1.0));
                }
            }
        }
    }
}
