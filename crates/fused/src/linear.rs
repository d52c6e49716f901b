//! What stands around the products of an affine layer: bias, ReLU and their gradients, in one pass each.

use slimbed_rng::Seed;

use crate::piece::{Activation, Dropout};
use crate::simd::multiversion;

/// Adds `bias` `[n]` to every row of `y` `[rows, n]` and applies the activation.
pub fn bias_activation(y: &mut [f32], bias: &[f32], activation: Activation) {
    match activation {
        Activation::None => add_bias(y, bias),
        Activation::Relu => add_bias_relu(y, bias),
    }
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
                let z = *y + b;
                // Not `max`, which would turn a NaN into 0 and hide it from the loss.
                *y = if z <= 0.0 { 0.0 } else { z };
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
    match activation {
        Activation::None => column_sums(dy, bias_gradient),
        Activation::Relu => masked_column_sums(dy, y, kept, bias_gradient),
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
                *d = if y > 0.0 { *d * kept } else { 0.0 };
                *s += *d;
            }
        }
    }
}

/// The factor of what dropout keeps.
pub(crate) fn kept(dropout: Option<&Dropout>) -> f32 {
    dropout.map_or(1.0, |dropout| 1.0 / (1.0 - dropout.rate))
}

/// Drops entries of `y`, which starts at entry `start` of the whole batch.
pub(crate) fn drop_out(dropout: &Dropout, seed: Seed, step: u64, start: usize, y: &mut [f32]) {
    let mut stream = seed.stream(&dropout.purpose, step);
    stream.seek(start as u64);
    let kept = kept(Some(dropout));
    for y in y {
        let factor = if stream.uniform() < dropout.rate {
            0.0
        } else {
            kept
        };
        *y *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let dropout = Dropout {
            rate: 0.25,
            purpose: "dropout/a".into(),
        };
        let mut y = vec![1.0; n];
        drop_out(&dropout, Seed::new(3), step, start, &mut y);
        y
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
    }
}
