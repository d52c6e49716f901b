//! What each phase of a method took and left.

use serde::{Deserialize, Serialize};

/// One phase of a run: `phase.json` of its folder, and a line of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRecord {
    /// Its name: `train`, `wide`, `dense`, `search` or `retrain`.
    pub phase: String,
    /// Steps taken.
    pub n_steps: u64,
    /// Seconds in training steps.
    pub train_secs: f64,
    /// Best AUC on the validation split, of live weights.
    pub val_auc: f64,
    /// Values of the tables in training.
    pub n_trained: u64,
    /// Values of the tables that are not zero afterwards.
    pub n_kept: u64,
    /// Bytes of the values that are not zero as 32-bit floats.
    pub bytes: u64,
}
