//! The course of the learning rate.

/// A factor of the learning rate for every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Always 1.
    Constant,
    /// Rises linearly over `warmup_steps`, then falls as `(1 − progress)²` to 0 at `total_steps`, as
    /// facebookresearch/dlrm does.
    WarmupDecay {
        /// Steps of the rise.
        warmup_steps: u64,
        /// Steps of the whole run.
        total_steps: u64,
    },
}

impl Schedule {
    /// The factor at step `step`, from 0; never quite 0 within the run.
    pub fn factor(self, step: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::WarmupDecay { warmup_steps, .. } if step < warmup_steps => {
                (step + 1) as f64 / warmup_steps as f64
            }
            Self::WarmupDecay {
                warmup_steps,
                total_steps,
            } => {
                let left = total_steps.saturating_sub(step) as f64;
                let length = total_steps.saturating_sub(warmup_steps).max(1) as f64;
                (left / length).powi(2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_one_and_falls_with_the_square() {
        let schedule = Schedule::WarmupDecay {
            warmup_steps: 4,
            total_steps: 14,
        };
        let factors: Vec<f64> = [0, 3, 4, 9, 13].map(|step| schedule.factor(step)).to_vec();
        let expected = [0.25, 1.0, 1.0, 0.25, 0.01];
        assert!(
            factors
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-12),
            "{factors:?}"
        );
        assert_eq!(Schedule::Constant.factor(1_000_000), 1.0);
    }
}
