//! Selection on the validation split.

use serde::{Deserialize, Serialize};

/// What a new validation result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The best so far: keep these weights.
    Best,
    /// Not better, go on.
    Worse,
    /// Not better for too long: stop.
    Stop,
}

/// Keeps the best validation AUC and counts the validations since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    patience: u64,
    best_auc: Option<f64>,
    best_step: u64,
    n_worse: u64,
}

impl EarlyStop {
    /// Stops after `patience` validations without a better AUC; 0: never.
    pub fn new(patience: u64) -> Self {
        Self {
            patience,
            best_auc: None,
            best_step: 0,
            n_worse: 0,
        }
    }

    /// Takes the AUC of the validation after `step` steps.
    pub fn observe(&mut self, auc: f64, step: u64) -> Verdict {
        if self.best_auc.is_none_or(|best| auc > best) {
            self.best_auc = Some(auc);
            self.best_step = step;
            self.n_worse = 0;
            return Verdict::Best;
        }
        self.n_worse += 1;
        if self.patience > 0 && self.n_worse >= self.patience {
            Verdict::Stop
        } else {
            Verdict::Worse
        }
    }

    /// The best AUC so far and the step it was reached at.
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best_auc.map(|auc| (auc, self.best_step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_patience_and_keeps_the_best() {
        let mut stop = EarlyStop::new(2);
        let aucs = [0.6, 0.7, 0.7, 0.65];
        let verdicts = aucs
            .iter()
            .enumerate()
            .map(|(i, &auc)| stop.observe(auc, i as u64));
        let verdicts: Vec<_> = verdicts.collect();
        assert_eq!(
            verdicts,
            [Verdict::Best, Verdict::Best, Verdict::Worse, Verdict::Stop]
        );
        assert_eq!(stop.best(), Some((0.7, 1)));
    }

    #[test]
    fn patience_zero_never_stops() {
        let mut stop = EarlyStop::new(0);
        stop.observe(0.9, 0);
        assert!((1..100).all(|step| stop.observe(0.1, step) == Verdict::Worse));
    }
}
