//! Is the model dead?

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::check::{Accept, check_classes};
use crate::loss::{entropy, mean_loss};
use crate::{Label, MetricError, sigmoid};

/// Probabilities closer together than this are one prediction.
const LEAST_RANGE: f64 = 1e-6;

/// The share of the entropy by which a living model beats it.
const LEAST_GAIN: f64 = 1e-5;

/// Why a model counts as dead. As an error it stops a run whose AUC would silently be 0.5.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DeadCause {
    /// Every sample gets the same probability.
    #[error(
        "the model predicts a constant (all probabilities within {range:.1e}): \
         dead units, a zero initialisation, or inputs that do not reach the model"
    )]
    ConstantPredictions {
        /// Largest minus smallest probability.
        range: f64,
    },
    /// The click rate alone, predicted for every sample, loses no more.
    #[error(
        "the model is no better than the click rate (log loss {logloss:.6}, entropy {entropy:.6}): \
         a learning rate too high or too low, labels out of step with the inputs, or too few steps"
    )]
    NoBetterThanBaseRate {
        /// Mean log loss in nats.
        logloss: f64,
        /// Entropy of the click rate in nats.
        entropy: f64,
    },
}

/// Looks for signs that the model behind `logits` `[n]` has learned nothing about `labels` `[n]`.
///
/// Dead means: the probabilities span less than 1e-6, or the log loss is not below the entropy of the
/// click rate by at least 1e-5 of it.
///
/// # Errors
/// [`MetricError`] names the first logit that is not finite, the first label that is not 0 or 1, a
/// length that differs, or the class that is missing.
pub fn dead_cause<L: Label>(
    logits: &[f32],
    labels: &[L],
) -> Result<Option<DeadCause>, MetricError> {
    let n_positives = check_classes(logits, labels, Accept::Finite)?;
    let range = range_of_probabilities(logits);
    if range < LEAST_RANGE {
        return Ok(Some(DeadCause::ConstantPredictions { range }));
    }
    let logloss = mean_loss(logits, labels);
    let entropy = entropy(n_positives as f64 / labels.len() as f64);
    let learned = logloss < entropy * (1.0 - LEAST_GAIN);
    Ok((!learned).then_some(DeadCause::NoBetterThanBaseRate { logloss, entropy }))
}

/// The sigmoid is monotone: the extremes of the logits are those of the probabilities.
fn range_of_probabilities(logits: &[f32]) -> f64 {
    let lowest = logits.par_iter().copied().reduce(|| f32::MAX, f32::min);
    let highest = logits.par_iter().copied().reduce(|| f32::MIN, f32::max);
    sigmoid(highest) - sigmoid(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [u8; 4] = [1, 0, 0, 0];

    #[test]
    fn constants_are_dead_whatever_their_loss() {
        for logit in [0.0, (1f32 / 3.0).ln(), 40.0] {
            let found = dead_cause(&[logit; 4], &LABELS).unwrap();
            assert_eq!(found, Some(DeadCause::ConstantPredictions { range: 0.0 }));
        }
    }

    #[test]
    fn a_model_that_loses_to_the_base_rate_is_dead() {
        let found = dead_cause(&[-2.0, 2.0, 0.0, 0.0], &LABELS).unwrap();
        let Some(DeadCause::NoBetterThanBaseRate { logloss, entropy }) = found else {
            panic!("{found:?}");
        };
        assert!(logloss > entropy);
        assert!((entropy - 0.562_335_144_6).abs() < 1e-9, "{entropy}");
    }

    #[test]
    fn a_model_that_ranks_and_fits_lives() {
        assert_eq!(dead_cause(&[1.0, -2.0, -1.0, -2.0], &LABELS), Ok(None));
    }

    #[test]
    fn one_class_cannot_be_judged() {
        assert!(dead_cause(&[0.0, 1.0], &[0u8, 0]).is_err());
    }
}
