//! Losses and calibration from logits.

use rayon::prelude::*;

use crate::check::{Accept, check_classes, check_samples};
use crate::{Label, MetricError};

/// Samples per partial sum; fixed, so that the bits do not depend on the number of threads.
const SUM_CHUNK: usize = 4096;

/// Mean log loss in nats, `1/n Σ max(z, 0) - z y + ln(1 + exp(-|z|))`, in f64.
///
/// `logits` and `labels` are `[n]`. This form never takes the logarithm of a rounded probability, so
/// it needs no clipping.
///
/// # Errors
/// [`MetricError`] names the first logit that is not finite, the first label that is not 0 or 1, or a
/// length that differs; [`MetricError::Empty`] without samples.
pub fn logloss_from_logits<L: Label>(logits: &[f32], labels: &[L]) -> Result<f64, MetricError> {
    check_samples(logits, labels, Accept::Finite)?;
    if logits.is_empty() {
        return Err(MetricError::Empty);
    }
    Ok(mean_loss(logits, labels))
}

/// Log loss divided by the [`entropy`] of the base rate: 1 means no better than always predicting
/// the click rate, 0 is perfect.
///
/// `logits` and `labels` are `[n]`.
///
/// # Errors
/// As [`logloss_from_logits`]; [`MetricError::OneClass`] where the entropy is 0.
///
/// Source: He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at Facebook", section 3.
pub fn normalised_entropy<L: Label>(logits: &[f32], labels: &[L]) -> Result<f64, MetricError> {
    let n_positives = check_classes(logits, labels, Accept::Finite)?;
    let base_rate = n_positives as f64 / labels.len() as f64;
    Ok(mean_loss(logits, labels) / entropy(base_rate))
}

/// Mean predicted probability divided by the click rate; 1 is calibrated, above 1 over-predicts.
///
/// `logits` and `labels` are `[n]`.
///
/// # Errors
/// As [`logloss_from_logits`]; [`MetricError::OneClass`] without positives.
pub fn calibration<L: Label>(logits: &[f32], labels: &[L]) -> Result<f64, MetricError> {
    let n_positives = check_samples(logits, labels, Accept::Finite)?;
    if n_positives == 0 {
        return Err(MetricError::OneClass {
            n_positives,
            n_negatives: labels.len(),
        });
    }
    Ok(sum_of_probabilities(logits) / n_positives as f64)
}

/// Entropy in nats of a coin with probability `rate` of 1, `-r ln r - (1 - r) ln(1 - r)`; 0 at both
/// ends.
pub fn entropy(rate: f64) -> f64 {
    let term = |r: f64| if r > 0.0 { -r * r.ln() } else { 0.0 };
    term(rate) + term(1.0 - rate)
}

/// The probability of a logit, `1 / (1 + exp(-z))`, in f64.
pub fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

/// Mean loss of checked samples; at least one.
pub(crate) fn mean_loss<L: Label>(logits: &[f32], labels: &[L]) -> f64 {
    let chunks = logits
        .par_chunks(SUM_CHUNK)
        .zip(labels.par_chunks(SUM_CHUNK));
    let losses = |(logits, labels): (&[f32], &[L])| {
        let pairs = logits.iter().zip(labels);
        pairs.map(|(&z, label)| loss(z, label.is_positive())).sum()
    };
    sum_in_order(chunks.map(losses)) / logits.len() as f64
}

/// `Σ sigmoid(z)`.
pub(crate) fn sum_of_probabilities(logits: &[f32]) -> f64 {
    let chunks = logits.par_chunks(SUM_CHUNK);
    sum_in_order(chunks.map(|chunk| chunk.iter().map(|&z| sigmoid(z)).sum()))
}

/// `max(z, 0) - z y` is `max(-z, 0)` for a positive label.
fn loss(logit: f32, is_positive: bool) -> f64 {
    let z = f64::from(logit);
    let linear = if is_positive { -z } else { z };
    linear.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Adds the partial sums in the order of the samples: rayon's own `sum` follows the threads.
fn sum_in_order(partial_sums: impl IndexedParallelIterator<Item = f64>) -> f64 {
    partial_sums.collect::<Vec<_>>().iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LN_2: f64 = std::f64::consts::LN_2;

    #[test]
    fn losses_worked_by_hand() {
        assert_eq!(logloss_from_logits(&[0.0, 0.0], &[0u8, 1]).unwrap(), LN_2);
        // ln(1 + exp(-ln 3)) = ln(4/3) on the right side, ln 4 on the wrong one.
        let z = 3f32.ln();
        let found = logloss_from_logits(&[z, z], &[1u8, 0]).unwrap();
        let expected = ((4f64 / 3.0).ln() + 4f64.ln()) / 2.0;
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }

    #[test]
    fn large_logits_neither_overflow_nor_vanish() {
        assert_eq!(logloss_from_logits(&[1e4], &[0u8]).unwrap(), 1e4);
        assert_eq!(logloss_from_logits(&[-1e4], &[1u8]).unwrap(), 1e4);
        assert_eq!(logloss_from_logits(&[1e4], &[1u8]).unwrap(), 0.0);
        let small = logloss_from_logits(&[50.0], &[1u8]).unwrap();
        assert!((small / (-50f64).exp() - 1.0).abs() < 1e-12, "{small}");
    }

    #[test]
    fn predicting_the_base_rate_gives_one() {
        let labels = [1u8, 0, 0, 0];
        let logits = [(1f32 / 3.0).ln(); 4];
        assert!((normalised_entropy(&logits, &labels).unwrap() - 1.0).abs() < 1e-7);
        assert!((calibration(&logits, &labels).unwrap() - 1.0).abs() < 1e-7);
        assert!((calibration(&[0.0; 4], &labels).unwrap() - 2.0).abs() < 1e-15);
    }

    #[test]
    fn missing_classes_and_overflow_are_errors() {
        assert_eq!(logloss_from_logits::<u8>(&[], &[]), Err(MetricError::Empty));
        assert!(logloss_from_logits(&[f32::INFINITY], &[1u8]).is_err());
        assert!(normalised_entropy(&[0.0], &[1u8]).is_err());
        assert!(calibration(&[0.0], &[0u8]).is_err());
        assert_eq!(entropy(0.0), 0.0);
        assert_eq!(entropy(1.0), 0.0);
        assert!((entropy(0.5) - LN_2).abs() < 1e-15);
    }
}
