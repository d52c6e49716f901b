//! The operator of the method and its gradient, on one row.
//!
//! A slice of thresholds has one for each value of the row, or a single one for all.

use crate::sigmoid::sigmoid;

/// `v ← sign(v) · max(|v| − τ, 0)`.
///
/// Where `τ` is exactly 0, `v` keeps its bits. A pruned value becomes +0, and a NaN stays one.
#[inline]
pub fn shrink(row: &mut [f32], tau: &[f32]) {
    match *tau {
        [tau] => row.iter_mut().for_each(|v| *v = shrunk(*v, tau)),
        _ => {
            let values = row.iter_mut().zip(tau);
            values.for_each(|(v, &tau)| *v = shrunk(*v, tau));
        }
    }
}

/// Replaces logits by thresholds `σ(base + s)`.
#[inline]
pub fn to_thresholds(logits: &mut [f32], base: f32) {
    logits.iter_mut().for_each(|s| *s = sigmoid(base + *s));
}

/// From `∂L/∂v̂` to `∂L/∂v = A · ∂L/∂v̂`, where `A` is 1 for the values that are not pruned.
#[inline]
pub fn mask_gradient(gradient: &mut [f32], hat: &[f32], tau: &[f32]) {
    let values = gradient.iter_mut().zip(hat);
    match *tau {
        [tau] => values.for_each(|(g, &hat)| *g = masked(*g, hat, tau)),
        _ => {
            let values = values.zip(tau);
            values.for_each(|((g, &hat), &tau)| *g = masked(*g, hat, tau));
        }
    }
}

/// `sign(v) · ∂L/∂v̂` of one value, from a gradient that is masked already.
#[inline(always)]
pub fn signed(gradient: f32, hat: f32) -> f32 {
    gradient * 1f32.copysign(hat)
}

/// `∂τ/∂s` with the sign it has in `∂v̂/∂s`: `−σ'(s) = −τ(1 − τ)`.
#[inline(always)]
pub fn slope(tau: f32) -> f32 {
    -(tau * (1.0 - tau))
}

#[inline(always)]
fn shrunk(v: f32, tau: f32) -> f32 {
    let is_pruned = v.abs() <= tau && tau > 0.0;
    let shorter = (v.abs() - tau).copysign(v);
    if is_pruned { 0.0 } else { shorter }
}

/// A value that is not pruned is not 0 either, except where the threshold is 0.
#[inline(always)]
fn masked(gradient: f32, hat: f32, tau: f32) -> f32 {
    let survives = hat != 0.0 || tau == 0.0;
    if survives { gradient } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_worked_row() {
        let mut row = [0.75, -0.75, 0.5, -0.25, 0.0];
        shrink(&mut row, &[0.5]);
        assert_eq!(row, [0.25, -0.25, 0.0, 0.0, 0.0]);
        assert!(row[2..].iter().all(|v| v.to_bits() == 0));
        let mut gradient = [1.0; 5];
        mask_gradient(&mut gradient, &row, &[0.5]);
        assert_eq!(gradient, [1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(signed(3.0, row[1]) * slope(0.5), 0.75);
    }

    #[test]
    fn a_threshold_of_zero_changes_no_bit_and_masks_nothing() {
        let row = [0.5, -0.0, 0.0, f32::MIN_POSITIVE / 4.0, -3.0, f32::INFINITY];
        let mut hat = row;
        shrink(&mut hat, &[0.0; 6]);
        assert_eq!(hat.map(f32::to_bits), row.map(f32::to_bits));
        let mut gradient = [2.0; 6];
        mask_gradient(&mut gradient, &hat, &[0.0; 6]);
        assert_eq!(gradient, [2.0; 6]);
        assert_eq!(slope(0.0), 0.0);
    }

    #[test]
    fn a_survivor_is_never_zero_and_nan_stays_visible() {
        let mut row = [0.5f32.next_up(), f32::NAN, 1e-40];
        shrink(&mut row, &[0.5, 0.5, 9e-41]);
        assert!(row[0] > 0.0 && row[1].is_nan() && row[2] > 0.0, "{row:?}");
    }
}
