//! What a smaller file saves, and what it costs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Metrics;

/// What was measured of a reduced file beside the one it was made from.
///
/// *Before* is the file it was made from, *after* the reduced one; both were written, closed and opened again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofCard {
    /// Bytes of the file before.
    pub bytes_before: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its parts; their sum is `bytes`.
    pub parts: PartBytes,
    /// Bytes of its tables and weights as dense 32-bit floats.
    pub dense_bytes: u64,
    /// `dense_bytes / bytes`.
    pub ratio: f64,
    /// Memory that the file takes; not known on every system.
    pub resident: Option<ResidentBytes>,
    /// Quality; a file without a model has none.
    pub quality: Option<Quality>,
    /// Speed; known where there is a test split.
    pub lookups: Option<LookupRates>,
}

/// Bytes of the parts of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartBytes {
    /// Of all tables.
    pub tables: u64,
    /// The same by what it is: `values`, and the kinds of indices and masks that the encodings have.
    pub table_parts: BTreeMap<String, u64>,
    /// Of the dense weights.
    pub weights: u64,
    /// Of the header.
    pub header: u64,
}

/// Physical memory behind a mapped file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentBytes {
    /// How it was measured.
    pub method: String,
    /// When it has just been opened.
    pub mapped: u64,
    /// When the test split has been scored with it; not known without a model.
    pub scored: Option<u64>,
}

/// Quality before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Of the validation split, which every choice was made with.
    pub validation: SplitQuality,
    /// Of the test split, which was scored once with each file.
    pub test: SplitQuality,
}

/// Quality of a split before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitQuality {
    /// Exact global AUC before.
    pub auc_before: f64,
    /// After.
    pub auc: f64,
    /// Mean log loss before.
    pub logloss_before: f64,
    /// After.
    pub logloss: f64,
}

/// Lookups of one thread in mapped files, with the ids of the test split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupRates {
    /// Ids looked up in a pass.
    pub n_ids: u64,
    /// Ids a second before.
    pub per_s_before: f64,
    /// After.
    pub per_s: f64,
}

impl SplitQuality {
    /// Puts the metrics of one split beside each other.
    pub fn new(before: &Metrics, after: &Metrics) -> Self {
        Self {
            auc_before: before.auc,
            auc: after.auc,
            logloss_before: before.logloss,
            logloss: after.logloss,
        }
    }

    /// What the AUC has lost; below 0 when it has won.
    pub fn auc_drop(&self) -> f64 {
        self.auc_before - self.auc
    }
}

impl PartBytes {
    /// Of the whole file.
    pub fn total(&self) -> u64 {
        self.tables + self.weights + self.header
    }
}
