//! What a user can set, and the schedule it makes.

use serde::{Deserialize, Serialize};
use slimbed_embedding::EmbeddingError;

use crate::plan::refuse;

/// Shares closer to 1 than this are 1: `D^(t/Ω)` never ends.
const CLOSE: f64 = 1e-3;

/// Share of the steps within which the schedule ends where `omega` is 0, and at the latest in any case.
const HALF: f64 = 0.5;
const LATEST: f64 = 0.8;

/// Settings of DeepLight's schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepLightSettings {
    /// `D`, in (0, 1); default 0.99, the authors'.
    pub decay: f64,
    /// `Ω` in steps, the authors' being 100. 0, the default: such that half of the steps see the full sparsity.
    pub omega: f64,
    /// Steps between two prunings, the authors' being 10. 0, the default: a hundredth of the training, since each
    /// costs passes over the tables.
    pub every: u64,
}

impl Default for DeepLightSettings {
    fn default() -> Self {
        Self {
            decay: 0.99,
            omega: 0.0,
            every: 0,
        }
    }
}

impl DeepLightSettings {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the first such setting.
    pub fn check(&self) -> Result<(), EmbeddingError> {
        if !(self.decay > 0.0 && self.decay < 1.0) {
            return refuse("deeplight.decay", "a number between 0 and 1", self.decay);
        }
        if !(self.omega >= 0.0 && self.omega.is_finite()) {
            return refuse("deeplight.omega", "0 or a positive number", self.omega);
        }
        Ok(())
    }

    /// The schedule of a training of `n_steps` that ends with `n_kept` values.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn schedule(&self, n_kept: u64, n_steps: u64) -> Result<Schedule, EmbeddingError> {
        self.check()?;
        let omega = match self.omega {
            0.0 => HALF * n_steps as f64 * self.decay.ln() / CLOSE.ln(),
            omega => omega,
        };
        let every = match self.every {
            0 => n_steps.div_ceil(100).max(1),
            every => every,
        };
        Ok(Schedule {
            n_kept,
            decay: self.decay,
            omega: omega.max(f64::MIN_POSITIVE),
            every,
            last: (LATEST * n_steps as f64) as u64,
        })
    }
}

/// How many values are kept at which step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Values that are kept in the end.
    n_kept: u64,
    decay: f64,
    omega: f64,
    /// Steps between two prunings.
    pub(crate) every: u64,
    /// From this step on the share is whole.
    last: u64,
}

impl Schedule {
    /// Share of the final sparsity after `step` steps: `1 − D^(t/Ω)`.
    pub fn share(&self, step: u64) -> f64 {
        let left = self.decay.powf(step as f64 / self.omega);
        if left < CLOSE || step >= self.last {
            return 1.0;
        }
        1.0 - left
    }

    /// Values of `n_values` that are kept after `step` steps.
    pub fn n_kept(&self, n_values: u64, step: u64) -> u64 {
        let pruned = n_values.saturating_sub(self.n_kept) as f64;
        n_values - (self.share(step) * pruned).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_schedule_is_that_of_the_formula() {
        let settings = DeepLightSettings {
            omega: 100.0,
            every: 10,
            ..DeepLightSettings::default()
        };
        let schedule = settings.schedule(100, 1_000_000).unwrap();
        assert_eq!(schedule.n_kept(1000, 0), 1000);
        // 900 · (1 − 0.99) and 900 · (1 − 0.99^50).
        assert_eq!(schedule.n_kept(1000, 100), 991);
        assert_eq!(schedule.n_kept(1000, 5000), 645);
        // 0.99^687 is the first power below 0.001.
        assert!(schedule.share(68_700) < 1.0);
        assert_eq!(schedule.share(68_800), 1.0);
        assert_eq!(schedule.n_kept(1000, 70_000), 100);
    }

    #[test]
    fn short_trainings_end_with_the_full_sparsity() {
        let own = DeepLightSettings::default().schedule(10, 40).unwrap();
        assert_eq!((own.share(20) >= 0.998, own.share(21)), (true, 1.0));
        let late = DeepLightSettings {
            omega: 100.0,
            ..DeepLightSettings::default()
        };
        let late = late.schedule(10, 40).unwrap();
        assert!(late.share(31) < 0.01);
        assert_eq!(late.share(32), 1.0);
    }

    #[test]
    fn bad_settings_are_named() {
        let settings = DeepLightSettings {
            decay: 1.0,
            ..DeepLightSettings::default()
        };
        let error = settings.schedule(1, 1).unwrap_err();
        assert!(error.to_string().contains("deeplight.decay"), "{error}");
    }
}
