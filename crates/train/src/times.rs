//! How long a run has taken, over all its parts.

use serde::{Deserialize, Serialize};

/// `time.json`: written beside the checkpoints, which hold nothing that differs from run to run.
///
/// It follows a checkpoint, so a run that is killed between the two forgets the time of the steps since
/// the checkpoint before, and counts their samples as little as their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Seconds in training steps and their loading, without validation and checkpoints.
    pub train_secs: f64,
    /// Samples trained on in these seconds.
    pub n_samples: u64,
    /// Seconds of the run.
    pub total_secs: f64,
}

impl Times {
    /// Samples a second; 0 when no time was measured.
    pub fn samples_per_s(&self) -> f64 {
        if self.train_secs > 0.0 {
            self.n_samples as f64 / self.train_secs
        } else {
            0.0
        }
    }
}
