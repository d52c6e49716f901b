//! Multi-head self-attention over the vectors of a sample (AutoInt), sample by sample in cache.
//!
//! Of a head the keys (backward the values too) are transposed once, so that the products of a query with
//! sixteen keys are one run of fused multiply-adds; what is weighted with them is added up vector by vector.
//! The way back computes the weights again: to keep them would take `n_heads · n_vectors²` numbers a sample.

use crate::exp::exp_of_negative;
use crate::lanes::{LANES, lanes, plus_scaled};
use crate::matrix::Write;
use crate::piece::Attention;
use crate::simd::multiversion;

/// Where the four products of a vector stand in it, in widths.
const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const RESIDUAL: usize = 3;

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
struct Dims {
    /// Vectors of a sample.
    n: usize,
    n_heads: usize,
    /// Numbers of a query of one head.
    dim: usize,
}

impl Dims {
    fn new(piece: &Attention) -> Self {
        Self {
            n: piece.n_vectors,
            n_heads: piece.n_heads,
            dim: piece.head_dim,
        }
    }

    /// Numbers of a vector of the output.
    fn width(self) -> usize {
        self.n_heads * self.dim
    }

    fn padded_n(self) -> usize {
        self.n.next_multiple_of(LANES)
    }

    /// Start of product `part` of vector `m` for head `h`.
    fn at(self, m: usize, part: usize, h: usize) -> usize {
        (4 * m + part) * self.width() + h * self.dim
    }

    /// Numbers of a transposed head.
    fn transposed_len(self) -> usize {
        self.dim * self.padded_n()
    }

    /// Numbers of a weight for each pair of vectors, a row for each query.
    fn weights_len(self) -> usize {
        self.n * self.padded_n()
    }
}

/// Writes `[rows, n_vectors · n_heads · head_dim]` from the products `x`, `[rows, n_vectors · 4 · …]`;
/// `scratch` is a buffer to reuse.
pub fn attention(piece: &Attention, x: &[f32], out: &mut [f32], scratch: &mut Vec<f32>) {
    let dims = Dims::new(piece);
    grow(scratch, dims.transposed_len() + dims.weights_len());
    forward_rows(dims, x, out, scratch);
}

/// Whatever is there goes into lanes that nobody reads.
fn grow(scratch: &mut Vec<f32>, needed: usize) {
    if scratch.len() < needed {
        scratch.resize(needed, 0.0);
    }
}

multiversion! {
    fn forward_rows(dims: Dims, x: &[f32], out: &mut [f32], scratch: &mut [f32]) {
        let (keys, weights) = scratch.split_at_mut(dims.transposed_len());
        let samples = x.chunks_exact(4 * dims.n * dims.width());
        for (x, y) in samples.zip(out.chunks_exact_mut(dims.n * dims.width())) {
            for (m, y) in y.chunks_exact_mut(dims.width()).enumerate() {
                y.copy_from_slice(&x[dims.at(m, RESIDUAL, 0)..][..dims.width()]);
            }
            for h in 0..dims.n_heads {
                attention_weights(dims, x, h, keys, weights);
                add_weighted_values(dims, x, h, weights, y);
            }
            // Not `max`, which would turn a NaN into 0 and hide it from the loss.
            y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
        }
    }
}

/// Writes `softmax_k(⟨q_m, k_k⟩)` of a head, a padded row for each `m`.
#[inline(always)]
fn attention_weights(dims: Dims, x: &[f32], h: usize, keys: &mut [f32], weights: &mut [f32]) {
    transpose(dims, x, KEY, h, keys);
    for m in 0..dims.n {
        let row = &mut weights[m * dims.padded_n()..][..dims.padded_n()];
        products(dims, &x[dims.at(m, QUERY, h)..][..dims.dim], keys, row);
        softmax(&mut row[..dims.n]);
    }
}

/// The products `part` of all vectors for a head as columns.
#[inline(always)]
fn transpose(dims: Dims, x: &[f32], part: usize, h: usize, out: &mut [f32]) {
    for m in 0..dims.n {
        for (d, &v) in x[dims.at(m, part, h)..][..dims.dim].iter().enumerate() {
            out[d * dims.padded_n() + m] = v;
        }
    }
}

/// Products of `vector` with all columns of a transposed head.
#[inline(always)]
fn products(dims: Dims, vector: &[f32], transposed: &[f32], out: &mut [f32]) {
    for first in (0..dims.n).step_by(LANES) {
        let mut sums = [0f32; LANES];
        for (&v, row) in vector.iter().zip(transposed.chunks_exact(dims.padded_n())) {
            sums = plus_scaled(sums, v, lanes(row, first));
        }
        out[first..first + LANES].copy_from_slice(&sums);
    }
}

#[inline(always)]
fn softmax(scores: &mut [f32]) {
    // A NaN among the scores makes all weights one.
    let largest = scores.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    scores
        .iter_mut()
        .for_each(|s| *s = exp_of_negative(*s - largest));
    let inverse = 1.0 / scores.iter().sum::<f32>();
    scores.iter_mut().for_each(|s| *s *= inverse);
}

#[inline(always)]
fn add_weighted_values(dims: Dims, x: &[f32], h: usize, weights: &[f32], y: &mut [f32]) {
    for m in 0..dims.n {
        let y = &mut y[m * dims.width() + h * dims.dim..][..dims.dim];
        let row = &weights[m * dims.padded_n()..][..dims.n];
        for (k, &weight) in row.iter().enumerate() {
            add_scaled(weight, &x[dims.at(k, VALUE, h)..][..dims.dim], y);
        }
    }
}

/// `out += scale · vector`.
#[inline(always)]
fn add_scaled(scale: f32, vector: &[f32], out: &mut [f32]) {
    for (out, &v) in out.iter_mut().zip(vector) {
        *out = scale.mul_add(v, *out);
    }
}

/// Writes or adds the gradient of the products `x` from that of the output `y`.
///
/// With `α` the weights and `g` the gradient behind ReLU: `∂L/∂r_m = g_m`, `∂L/∂v_k = Σ_m α_mk g_m`, and
/// with `s_mk = α_mk (⟨g_m, v_k⟩ − Σ_j α_mj ⟨g_m, v_j⟩)`, `∂L/∂q_m = Σ_k s_mk k_k`, `∂L/∂k_k = Σ_m s_mk q_m`.
pub fn attention_gradient(
    piece: &Attention,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: (&mut [f32], Write),
    scratch: &mut Vec<f32>,
) {
    let dims = Dims::new(piece);
    let len = dims.transposed_len() + 2 * dims.weights_len() + dims.n * dims.width();
    grow(scratch, len);
    let (dx, write) = dx;
    if write == Write::Set {
        dx.fill(0.0);
    }
    backward_rows(dims, x, y, dy, dx, scratch);
}

multiversion! {
    fn backward_rows(
        dims: Dims,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (transposed, rest) = scratch.split_at_mut(dims.transposed_len());
        let (weights, rest) = rest.split_at_mut(dims.weights_len());
        let (slopes, g) = rest.split_at_mut(dims.weights_len());
        let g = &mut g[..dims.n * dims.width()];
        let outputs = y.chunks_exact(g.len()).zip(dy.chunks_exact(g.len()));
        let inputs = x.chunks_exact(4 * g.len()).zip(dx.chunks_exact_mut(4 * g.len()));
        for ((x, dx), (y, dy)) in inputs.zip(outputs) {
            for ((g, &y), &dy) in g.iter_mut().zip(y).zip(dy) {
                *g = if y > 0.0 { dy } else { 0.0 };
            }
            for (m, g) in g.chunks_exact(dims.width()).enumerate() {
                add_scaled(1.0, g, &mut dx[dims.at(m, RESIDUAL, 0)..][..dims.width()]);
            }
            for h in 0..dims.n_heads {
                attention_weights(dims, x, h, transposed, weights);
                transpose(dims, x, VALUE, h, transposed);
                weight_slopes(dims, h, g, transposed, weights, slopes);
                add_head_gradient(dims, x, h, g, weights, slopes, dx);
            }
        }
    }
}

/// Writes the gradients `s` of the scores of a head.
#[inline(always)]
fn weight_slopes(
    dims: Dims,
    h: usize,
    g: &[f32],
    values: &[f32],
    weights: &[f32],
    slopes: &mut [f32],
) {
    for m in 0..dims.n {
        let g = &g[m * dims.width() + h * dims.dim..][..dims.dim];
        let row = &mut slopes[m * dims.padded_n()..][..dims.padded_n()];
        products(dims, g, values, row);
        let weights = &weights[m * dims.padded_n()..][..dims.n];
        let pairs = row.iter().zip(weights);
        let mean = pairs.fold(0.0, |sum: f32, (s, w)| s.mul_add(*w, sum));
        for (s, w) in row.iter_mut().zip(weights) {
            *s = w * (*s - mean);
        }
    }
}

#[inline(always)]
fn add_head_gradient(
    dims: Dims,
    x: &[f32],
    h: usize,
    g: &[f32],
    weights: &[f32],
    slopes: &[f32],
    dx: &mut [f32],
) {
    for m in 0..dims.n {
        let row = m * dims.padded_n();
        let g = &g[m * dims.width() + h * dims.dim..][..dims.dim];
        let query = &x[dims.at(m, QUERY, h)..][..dims.dim];
        for k in 0..dims.n {
            let (weight, slope) = (weights[row + k], slopes[row + k]);
            let key = &x[dims.at(k, KEY, h)..][..dims.dim];
            add_scaled(slope, key, &mut dx[dims.at(m, QUERY, h)..][..dims.dim]);
            add_scaled(slope, query, &mut dx[dims.at(k, KEY, h)..][..dims.dim]);
            add_scaled(weight, g, &mut dx[dims.at(k, VALUE, h)..][..dims.dim]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slimbed_rng::Seed;

    use super::*;
    use crate::piece::Value;

    fn piece(n_vectors: usize, n_heads: usize, head_dim: usize) -> Attention {
        Attention {
            input: Value::EMBEDDINGS,
            output: Value(3),
            n_vectors,
            n_heads,
            head_dim,
        }
    }

    fn random(n: usize, purpose: &str) -> Vec<f32> {
        let mut values = vec![0.0; n];
        let mut stream = Seed::new(1).stream(purpose, 0);
        stream.fill_uniform(&mut values, 1.5);
        values
    }

    /// The definition for one sample, in f64.
    fn naive(piece: &Attention, x: &[f32]) -> Vec<f64> {
        let (n, width) = (piece.n_vectors, piece.n_heads * piece.head_dim);
        let at = |m: usize, part: usize, h: usize, d: usize| {
            f64::from(x[(4 * m + part) * width + h * piece.head_dim + d])
        };
        let mut y = Vec::new();
        for m in 0..n {
            for h in 0..piece.n_heads {
                let score = |k: usize| -> f64 {
                    let products = (0..piece.head_dim).map(|d| at(m, 0, h, d) * at(k, 1, h, d));
                    products.sum::<f64>().exp()
                };
                let total: f64 = (0..n).map(score).sum();
                for d in 0..piece.head_dim {
                    let weighted = (0..n).map(|k| score(k) / total * at(k, 2, h, d));
                    y.push((weighted.sum::<f64>() + at(m, 3, h, d)).max(0.0));
                }
            }
        }
        y
    }

    #[test]
    fn hand_worked_sample() {
        // Two vectors, one head of one number. The first query is 0: both keys weigh ½. The second one finds
        // scores ln 3 and 0: the weights are ¾ and ¼.
        let x = [[0.0, 3f32.ln(), 4.0, 1.0], [1.0, 0.0, 8.0, -10.0]];
        let (piece, mut y) = (piece(2, 1, 1), [0.0; 2]);
        attention(&piece, x.as_flattened(), &mut y, &mut Vec::new());
        assert!((y[0] - 7.0).abs() < 1e-6 && y[1] == 0.0, "{y:?}");
        // 5 − 10 is below 0, so that only the first vector has a gradient.
        let mut dx = [9.0; 8];
        let (dy, set) = ([1.0, 1.0], Write::Set);
        attention_gradient(
            &piece,
            x.as_flattened(),
            &y,
            &dy,
            (&mut dx, set),
            &mut Vec::new(),
        );
        let expected = [-(3f32.ln()), 0.0, 0.5, 1.0, 0.0, 0.0, 0.5, 0.0];
        for (found, expected) in dx.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{dx:?}");
        }
    }

    #[test]
    fn a_score_that_is_not_a_number_shows() {
        let piece = piece(2, 1, 1);
        let (mut x, mut y) = ([1.0; 8], [0.0; 2]);
        x[1] = f32::NAN;
        attention(&piece, &x, &mut y, &mut Vec::new());
        assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
    }

    proptest! {
        #[test]
        fn equals_the_definition_and_its_finite_differences(
            rows in 0usize..3, n in 1usize..28, heads in 1usize..4, dim in 1usize..20, picks in any::<u64>(),
        ) {
            let (piece, width) = (piece(n, heads, dim), n * heads * dim);
            let (x, dy) = (random(rows * 4 * width, "x"), random(rows * width, "dy"));
            let (mut y, mut scratch) = (vec![9.0; rows * width], Vec::new());
            attention(&piece, &x, &mut y, &mut scratch);
            let mut dx = vec![9.0; x.len()];
            attention_gradient(&piece, &x, &y, &dy, (&mut dx, Write::Set), &mut scratch);
            attention_gradient(&piece, &x, &y, &dy, (&mut dx, Write::Add), &mut scratch);
            for b in 0..rows {
                let x = &x[b * 4 * width..][..4 * width];
                let dy = &dy[b * width..][..width];
                let expected = naive(&piece, x);
                for (found, expected) in y[b * width..][..width].iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} != {expected}");
                }
                // A step that moves an output over the edge of ReLU has no finite difference to compare.
                let on_edge = |y: &[f64]| y.iter().zip(&expected).any(|(a, b)| (*a > 0.0) != (*b > 0.0));
                for i in (0..8).map(|j| (picks.rotate_left(8 * j) % (4 * width as u64)) as usize) {
                    let moved = |step: f32| {
                        let mut moved = x.to_vec();
                        moved[i] += step;
                        naive(&piece, &moved)
                    };
                    let (up, down) = (moved(1e-3), moved(-1e-3));
                    if on_edge(&up) || on_edge(&down) {
                        continue;
                    }
                    let loss = |y: &[f64]| y.iter().zip(dy).map(|(y, g)| y * f64::from(*g)).sum::<f64>();
                    let numeric = (loss(&up) - loss(&down)) / 2e-3;
                    let found = f64::from(dx[b * 4 * width + i]) / 2.0;
                    prop_assert!((numeric - found).abs() < 2e-3 * numeric.abs().max(1.0), "{i}: {found} != {numeric}");
                }
            }
        }
    }
}
