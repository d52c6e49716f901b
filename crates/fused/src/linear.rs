//! What stands around the products of an affine layer: bias, ReLU and their gradients, in one pass each.

use slimbed_rng::Seed;

use crate::buffer::Buffer;
use crate::piece::{Activation, Dropout};
use crate::product::LANES;
use crate::simd::multiversion;

/// Adds `bias` `[n]` to every row of `y` `[rows, n]` and applies the activation.
pub fn bias_activation(y: &mut [f32], bias: &[f32], activation: Activation) {
    match (activation, bias.first_chunk()) {
        (Activation::None, _) => add_bias(y, bias),
        (Activation::Relu, Some(line)) if bias.len() == LANES => add_bias_relu_line(y, line),
        (Activation::Relu, _) => add_bias_relu(y, bias),
    }
}

/// [`bias_activation`] of a value in any layout.
pub(crate) fn add_bias_to(y: &mut Buffer, bias: &[f32], activation: Activation) {
    if y.is_row_major() {
        return bias_activation(y.row_major_mut(), bias, activation);
    }
    for block in y.blocks_mut() {
        bias_activation(block.values, &line(&bias[block.columns]), activation);
    }
}

/// A line of a panel's first columns, and zeros.
fn line(values: &[f32]) -> [f32; LANES] {
    let mut line = [0.0; LANES];
    line[..values.len()].copy_from_slice(values);
    line
}

/// `max(z, 0)`, but a NaN stays one, so that the loss shows it.
#[inline(always)]
fn relu(z: f32) -> f32 {
    if z <= 0.0 { 0.0 } else { z }
}

multiversion! {
    fn add_bias(y: &mut [f32], bias: &[f32]) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
}

multiversion! {
    fn add_bias_relu(y: &mut [f32], bias: &[f32]) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y = relu(*y + b);
            }
        }
    }
}

multiversion! {
    fn add_bias_relu_line(y: &mut [f32], bias: &[f32; LANES]) {
        for row in y.as_chunks_mut::<LANES>().0 {
            for (y, b) in row.iter_mut().zip(bias) {
                *y = relu(*y + b);
            }
        }
    }
}

/// Turns the gradient of a layer's output into that of its affine part, in place, and writes its column
/// sums, the gradient of the bias.
///
/// `y` is the layer's output: where it is 0, ReLU or dropout stopped the gradient; elsewhere `kept`, the
/// factor of dropout, scales it.
pub fn bias_activation_gradient(
    dy: &mut [f32],
    y: &[f32],
    activation: Activation,
    kept: f32,
    bias_gradient: &mut [f32],
) {
    bias_gradient.fill(0.0);
    let is_line = bias_gradient.len() == LANES;
    match (activation, bias_gradient.first_chunk_mut()) {
        (Activation::None, _) => column_sums(dy, bias_gradient),
        (Activation::Relu, Some(line)) if is_line => masked_line_sums(dy, y, kept, line),
        (Activation::Relu, _) => masked_column_sums(dy, y, kept, bias_gradient),
    }
}

/// [`bias_activation_gradient`] of values in any layout, both in the same.
pub(crate) fn gradient_of_affine(
    dy: &mut Buffer,
    y: &Buffer,
    activation: Activation,
    kept: f32,
    bias_gradient: &mut [f32],
) {
    if y.is_in_rows() {
        let dy = dy.row_major_mut();
        return bias_activation_gradient(dy, y.row_major(), activation, kept, bias_gradient);
    }
    for (dy, y) in dy.blocks_mut().zip(y.blocks()) {
        let mut sums = [0.0; LANES];
        bias_activation_gradient(dy.values, y.values, activation, kept, &mut sums);
        let bias = &mut bias_gradient[dy.columns];
        bias.copy_from_slice(&sums[..bias.len()]);
    }
}

multiversion! {
    fn column_sums(dy: &[f32], sums: &mut [f32]) {
        for row in dy.chunks_exact(sums.len()) {
            for (s, d) in sums.iter_mut().zip(row) {
                *s += d;
            }
        }
    }
}

multiversion! {
    fn masked_column_sums(dy: &mut [f32], y: &[f32], kept: f32, sums: &mut [f32]) {
        let n = sums.len();
        for (dy, y) in dy.chunks_exact_mut(n).zip(y.chunks_exact(n)) {
            for ((d, &y), s) in dy.iter_mut().zip(y).zip(sums.iter_mut()) {
                *d = masked(*d, y, kept);
                *s += *d;
            }
        }
    }
}

multiversion! {
    fn masked_line_sums(dy: &mut [f32], y: &[f32], kept: f32, sums: &mut [f32; LANES]) {
        // Two loops, each of which becomes one over whole registers; a panel stays in the L1 cache.
        for (d, &y) in dy.iter_mut().zip(y) {
            *d = masked(*d, y, kept);
        }
        let mut total = *sums;
        for line in dy.as_chunks::<LANES>().0 {
            for (s, d) in total.iter_mut().zip(line) {
                *s += d;
            }
        }
        *sums = total;
    }
}

/// A gradient behind an output of ReLU and dropout.
#[inline(always)]
fn masked(d: f32, y: f32, kept: f32) -> f32 {
    if y > 0.0 { d * kept } else { 0.0 }
}

/// The factor of what dropout keeps.
pub(crate) fn kept(dropout: Option<&Dropout>) -> f32 {
    dropout.map_or(1.0, |dropout| 1.0 / (1.0 - dropout.rate))
}

/// Drops entries of `y`, whose rows are those of the whole batch from `first_row` on.
pub(crate) fn drop_out(dropout: &Dropout, seed: Seed, step: u64, first_row: usize, y: &mut Buffer) {
    let mut stream = seed.stream(&dropout.purpose, step);
    stream.seek((first_row * y.width()) as u64);
    let kept = kept(Some(dropout));
    for i in 0..y.rows() {
        for value in y.row_mut(i) {
            let factor = if stream.uniform() < dropout.rate {
                0.0
            } else {
                kept
            };
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Layout;

    #[test]
    fn bias_and_relu_and_back() {
        let mut y = [1.0, -1.0, 0.5, 0.0, 2.0, -3.0];
        bias_activation(&mut y, &[0.5, 0.0, -0.5], Activation::Relu);
        assert_eq!(y, [1.5, 0.0, 0.0, 0.5, 2.0, 0.0]);
        let mut dy = [1.0; 6];
        let mut bias = [9.0; 3];
        bias_activation_gradient(&mut dy, &y, Activation::Relu, 2.0, &mut bias);
        assert_eq!(dy, [2.0, 0.0, 0.0, 2.0, 2.0, 0.0]);
        assert_eq!(bias, [4.0, 2.0, 0.0]);
        bias_activation_gradient(&mut dy, &y, Activation::None, 1.0, &mut bias);
        assert_eq!(bias, [4.0, 2.0, 0.0]);
    }

    #[test]
    fn a_nan_survives_relu() {
        let mut y = [f32::NAN; 40];
        bias_activation(&mut y, &[0.0; 40], Activation::Relu);
        assert!(y.iter().all(|y| y.is_nan()));
    }

    fn dropped(start: usize, n: usize, step: u64) -> Vec<f32> {
        dropped_rows(Layout::Rows, 1, start, n, step)
    }

    /// What is left of `n` ones from `start` on, in rows of `width`.
    fn dropped_rows(layout: Layout, width: usize, start: usize, n: usize, step: u64) -> Vec<f32> {
        let dropout = Dropout {
            rate: 0.25,
            purpose: "dropout/a".into(),
        };
        let mut y = Buffer::of(layout, width, &vec![1.0; n]);
        drop_out(&dropout, Seed::new(3), step, start / width, &mut y);
        y.copy_rows()
    }

    #[test]
    fn dropout_keeps_the_mean_and_does_not_depend_on_the_cut() {
        let whole = dropped(0, 100_000, 0);
        let mean = whole.iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert_eq!(
            whole[..1000],
            [dropped(0, 333, 0), dropped(333, 667, 0)].concat()
        );
        assert_ne!(whole[..1000], dropped(0, 1000, 1));
        let in_panels = dropped_rows(Layout::Panels, 40, 400, 2000, 0);
        assert_eq!(in_panels, whole[400..2400]);
    }

    #[test]
    fn bias_and_relu_do_not_depend_on_the_layout() {
        let (rows, width) = (70, 37);
        let mut stream = Seed::new(4).stream("values", 0);
        let mut random = |n: usize| {
            let mut values = vec![0.0; n];
            stream.fill_uniform(&mut values, 1.0);
            values
        };
        let (z, bias, dy) = (random(rows * width), random(width), random(rows * width));
        for activation in [Activation::None, Activation::Relu] {
            let run = |layout| {
                let (mut y, mut dy) = (
                    Buffer::of(layout, width, &z),
                    Buffer::of(layout, width, &dy),
                );
                let mut sums = vec![9.0; width];
                add_bias_to(&mut y, &bias, activation);
                gradient_of_affine(&mut dy, &y, activation, 2.0, &mut sums);
                (y.copy_rows(), dy.copy_rows(), sums)
            };
            assert_eq!(run(Layout::Panels), run(Layout::Rows));
        }
    }
}
