//! Validation within a run: metrics, and whether the model is alive.

use slimbed_data::Split;
use slimbed_eval::{DeadCause, Metrics};

use crate::early_stop::Verdict;
use crate::observer::{Observer, ValidationEvent};
use crate::scoring::score;
use crate::{TrainError, Trainer};

/// A validation AUC up to here is that of random scores on a small split.
const RANDOM_AUC: f64 = 0.52;

impl Trainer<'_> {
    /// Scores the validation split and says what that means for the run.
    pub(crate) fn validate(&mut self, observer: &mut dyn Observer) -> Result<Verdict, TrainError> {
        let metrics = self.validation_metrics()?;
        let verdict = match self.learner.embedding.is_ready() {
            true => self.stop.observe(metrics.auc, self.position.step),
            false => Verdict::Worse,
        };
        observer.validation(&ValidationEvent {
            step: self.position.step,
            epoch: self.position.epoch,
            is_best: verdict == Verdict::Best,
            metrics: &metrics,
        })?;
        Ok(verdict)
    }

    fn validation_metrics(&mut self) -> Result<Metrics, TrainError> {
        let split = Split::Validation;
        let scores = score(&mut self.learner, self.dataset, split, &|_| {})?;
        let step = self.position.step;
        if let Some(row) = scores.logits.iter().position(|logit| !logit.is_finite()) {
            let logit = scores.logits[row];
            let cause =
                format!("validation row {row} scores {logit}: the learning rate is too high");
            return Err(TrainError::DeadModel { step, cause });
        }
        let metrics = scores.metrics(Split::Validation)?;
        let cause = slimbed_eval::dead_cause(&scores.logits, &scores.labels).map_err(|source| {
            TrainError::Metric {
                split: "validation",
                source,
            }
        })?;
        match cause.filter(|cause| self.is_fatal(cause, metrics.auc)) {
            Some(cause) => Err(TrainError::DeadModel {
                step,
                cause: cause.to_string(),
            }),
            None => Ok(metrics),
        }
    }

    /// A model that is no better than the click rate gets one epoch to change that, and may be an
    /// over-confident one that ranks well.
    fn is_fatal(&self, cause: &DeadCause, auc: f64) -> bool {
        let had_its_chance = self.position.step >= self.steps_per_epoch;
        match cause {
            DeadCause::NoBetterThanBaseRate { .. } => had_its_chance && auc <= RANDOM_AUC,
            _ => true,
        }
    }
}
