//! Every metric of one split.

use serde::{Deserialize, Serialize};

use crate::check::{Accept, check_classes};
use crate::loss::{entropy, mean_loss, sum_of_probabilities};
use crate::{Label, MetricError, Ranking};

/// Bins of [`Metrics::expected_calibration_error`].
pub const CALIBRATION_BINS: usize = 20;

/// How good the predictions for one split are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of samples.
    pub n: usize,
    /// Samples with label 1.
    pub n_positives: usize,
    /// Exact global AUC, ties counted half ([`auc`](crate::auc)).
    pub auc: f64,
    /// Mean log loss in nats ([`logloss_from_logits`](crate::logloss_from_logits)).
    pub logloss: f64,
    /// Log loss over the entropy of the click rate, below 1 for a model that has learned
    /// ([`normalised_entropy`](crate::normalised_entropy)).
    pub normalised_entropy: f64,
    /// Average precision ([`pr_auc`](crate::pr_auc)); the click rate for random scores.
    pub pr_auc: f64,
    /// Mean predicted probability.
    pub mean_prediction: f64,
    /// Mean predicted probability over the click rate ([`calibration`](crate::calibration)).
    pub calibration: f64,
    /// Mean gap between prediction and click rate over [`CALIBRATION_BINS`] bins of equal count
    /// ([`expected_calibration_error`](crate::expected_calibration_error)).
    pub expected_calibration_error: f64,
}

impl Metrics {
    /// Scores `logits` `[n]` against `labels` `[n]`; sorts once.
    ///
    /// # Errors
    /// [`MetricError`] names the first logit that is not finite, the first label that is not 0 or 1, a
    /// length that differs, or the class that is missing.
    pub fn from_logits<L: Label>(logits: &[f32], labels: &[L]) -> Result<Self, MetricError> {
        let n_positives = check_classes(logits, labels, Accept::Finite)?;
        let n = labels.len();
        let ranking = Ranking::new(logits, labels)?;
        let logloss = mean_loss(logits, labels);
        let sum_of_probabilities = sum_of_probabilities(logits);
        Ok(Self {
            n,
            n_positives,
            auc: ranking.auc(),
            logloss,
            normalised_entropy: logloss / entropy(n_positives as f64 / n as f64),
            pr_auc: ranking.pr_auc(),
            mean_prediction: sum_of_probabilities / n as f64,
            calibration: sum_of_probabilities / n_positives as f64,
            expected_calibration_error: ranking.expected_calibration_error(CALIBRATION_BINS)?,
        })
    }
}
