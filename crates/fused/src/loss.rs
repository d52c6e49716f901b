//! Binary cross-entropy on logits.

/// Adds up the binary cross-entropy of `logits` against `labels` in `[0, 1]` and writes the gradient of
/// its mean over `batch` samples.
///
/// `L = Σ max(z, 0) − z·y + ln(1 + e^{−|z|})`, gradient `(σ(z) − y) / batch`: finite for every finite
/// logit. The sum is in f64 and in order.
pub fn bce_with_logits(logits: &[f32], labels: &[f32], batch: usize, gradient: &mut [f32]) -> f64 {
    let mut total = 0.0;
    for ((&z, &y), gradient) in logits.iter().zip(labels).zip(gradient) {
        let (z, y) = (f64::from(z), f64::from(y));
        let e = (-z.abs()).exp();
        total += z.max(0.0) - z * y + e.ln_1p();
        let sigmoid = if z >= 0.0 {
            1.0 / (1.0 + e)
        } else {
            e / (1.0 + e)
        };
        *gradient = ((sigmoid - y) / batch as f64) as f32;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(logits: &[f32], labels: &[f32], mean: f64, gradient: &[f32]) {
        let mut found = vec![0.0; logits.len()];
        let total = bce_with_logits(logits, labels, logits.len(), &mut found);
        let value = total / logits.len() as f64;
        assert!(
            (value - mean).abs() <= 1e-7 * mean.abs().max(1.0),
            "{value} != {mean}"
        );
        for (f, g) in found.iter().zip(gradient) {
            assert!((f - g).abs() < 1e-7, "{found:?} != {gradient:?}");
        }
    }

    #[test]
    fn values_and_gradients_at_the_hard_points() {
        let ln2 = std::f64::consts::LN_2;
        check(&[0.0], &[1.0], ln2, &[-0.5]);
        check(&[0.0], &[0.0], ln2, &[0.5]);
        check(&[90.0], &[1.0], 0.0, &[0.0]);
        check(&[90.0], &[0.0], 90.0, &[1.0]);
        check(&[-90.0], &[1.0], 90.0, &[-1.0]);
        check(&[-90.0, 17.0], &[0.0, 0.0], 8.5, &[0.0, 0.5]);
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let (z, y) = ([0.7f32, -1.3, 2.1], [1f32, 0.0, 0.3]);
        let value = |z: &[f32]| bce_with_logits(z, &y, 3, &mut [0.0; 3]) / 3.0;
        let mut gradient = [0.0; 3];
        bce_with_logits(&z, &y, 3, &mut gradient);
        for i in 0..3 {
            let (mut up, mut down) = (z, z);
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let numeric = (value(&up) - value(&down)) / f64::from(up[i] - down[i]);
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-5);
        }
    }

    #[test]
    fn a_logit_that_is_not_a_number_makes_the_loss_one() {
        assert!(bce_with_logits(&[f32::NAN], &[1.0], 1, &mut [0.0]).is_nan());
    }
}
