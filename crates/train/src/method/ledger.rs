//! What each phase of a method took and left.

use std::path::Path;

use serde::{Deserialize, Serialize};
use slimbed_embedding::EmbeddingLayer;

use crate::TrainError;
use crate::run_dir::read_json;
use crate::trainer::{Outcome, Trainer};

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

/// Folders of the phases in front of the last.
pub const EARLY_PHASES: [&str; 4] = ["wide", "dense", "search", "sizes"];

/// The file that says a phase is done.
pub const RECORD: &str = "phase.json";

/// What a finished phase says; `None` when it is not finished.
pub fn record_of(folder: &Path) -> Result<Option<PhaseRecord>, TrainError> {
    let path = folder.join(RECORD);
    if !path.is_file() {
        return Ok(None);
    }
    read_json(&path).map(Some)
}

/// What a phase took and left.
pub fn record(name: &str, trainer: &Trainer<'_>, outcome: &Outcome) -> PhaseRecord {
    let embedding = trainer.learner().embedding.as_ref();
    // Of rows that share values each counts once.
    let n_kept = n_nonzero(embedding).min(embedding.n_trained());
    PhaseRecord {
        phase: name.into(),
        n_steps: outcome.n_steps,
        train_secs: outcome.times.train_secs,
        val_auc: outcome.best_auc,
        n_trained: embedding.n_trained(),
        n_kept,
        bytes: 4 * n_kept,
    }
}

/// Values that are not zero as scoring sees them.
pub fn n_nonzero(embedding: &dyn EmbeddingLayer) -> u64 {
    const ROWS: usize = 4096;
    let mut rows = vec![0.0; ROWS * embedding.dim()];
    let mut n = 0;
    for f in 0..embedding.n_fields() {
        for first in (0..embedding.n_rows(f)).step_by(ROWS) {
            let some = &mut rows[..(embedding.n_rows(f) - first).min(ROWS) * embedding.dim()];
            embedding.write_rows(f, first, some);
            n += some.iter().filter(|x| **x != 0.0).count() as u64;
        }
    }
    n
}
