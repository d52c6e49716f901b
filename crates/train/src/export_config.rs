//! The settings of the shipped file.

use serde::{Deserialize, Serialize};
use slimbed_compact::{Encoder, Prefer, Values};

/// Settings of the shipped file, keys `export.*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// The least exact type that values may have.
    pub values: Values,
    /// What the encoder goes for.
    pub prefer: Prefer,
    /// Validation AUC that may be lost against the exact rows; each field then has the smallest type that keeps
    /// to it, in place of `values`. 0: not set.
    pub max_auc_drop: f64,
    /// Whether the exact rows stay beside the shipped file.
    pub keep_exact: bool,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            values: Values::Int8,
            prefer: Prefer::Speed,
            max_auc_drop: 0.0,
            keep_exact: false,
        }
    }
}

impl ExportConfig {
    /// The encoder of a field whose values may be as inexact as `values`.
    pub fn encoder(&self, values: Values) -> Encoder {
        Encoder {
            values,
            prefer: self.prefer,
        }
    }
}
