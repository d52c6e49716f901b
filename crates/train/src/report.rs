//! The result of a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use slimbed_eval::{Metrics, ProofCard};

use crate::PhaseRecord;

/// The result of a run; quality is always that of the reloaded artefact, unless it says *before*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the run's folder.
    pub run: String,
    /// Reduction method.
    pub method: String,
    /// Name of the data.
    pub data: String,
    /// Folder of the prepared data.
    pub data_dir: PathBuf,
    /// Seed.
    pub seed: u64,
    /// AUC on the validation split.
    pub val_auc: f64,
    /// Logloss on the validation split.
    pub val_logloss: f64,
    /// AUC on the test split.
    pub test_auc: f64,
    /// Logloss on the test split.
    pub test_logloss: f64,
    /// All metrics of the test split.
    pub test: Metrics,
    /// Bytes of the artefact.
    pub artefact_bytes: u64,
    /// Bytes the tables and weights take as dense 32-bit floats.
    pub dense_bytes: u64,
    /// Largest resident size of the process; of a resumed run, of its last part.
    pub peak_rss_bytes: u64,
    /// Training speed, validation and checkpoints not counted.
    pub train_samples_per_s: f64,
    /// Seconds in training steps of all phases, without those that a resumed run had to take again.
    pub train_secs: f64,
    /// Seconds of the whole run, likewise.
    pub total_secs: f64,
    /// Steps taken.
    pub n_steps: u64,
    /// Step whose weights were kept.
    pub best_step: u64,
    /// The artefact.
    pub artefact: PathBuf,
    /// What it saves and costs beside the exact rows.
    pub card: ProofCard,
    /// What each phase of the method took and left, in order.
    pub phases: Vec<PhaseRecord>,
}
