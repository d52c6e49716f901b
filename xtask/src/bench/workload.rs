//! What both sides of a measurement are told, and what they answer.
//!
//! The workload is a JSON file, and the answer the last line of stdout, so that any program can be the
//! other side: `benches/compare/train.py` is one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slimbed_dlrm::DlrmConfig;
use slimbed_files::{FileError, IoContext, write_atomically};

use super::data::Samples;
use crate::failure::BadInput;

/// One measurement of one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// The network; its loss is binary cross-entropy on logits, its dense optimiser SGD.
    pub model: DlrmConfig,
    /// Rows of each field's table.
    pub n_rows: Vec<usize>,
    /// Samples of a step.
    pub batch: usize,
    /// Batches in the data file; a run loops over them.
    pub n_batches: usize,
    /// The data file, see [`data`](super::data).
    pub data: PathBuf,
    /// The optimiser of the tables.
    pub optimizer: TableOptimizer,
    /// Type of the products' operands.
    pub precision: Precision,
    /// How PyTorch holds the tables.
    pub their_tables: TheirTables,
    /// Learning rate of the dense parameters.
    pub lr: f64,
    /// Learning rate of the tables.
    pub embedding_lr: f64,
    /// Seed of our initial parameters.
    pub seed: u64,
    /// Threads of the process.
    pub threads: usize,
    /// How long it goes on.
    pub task: Task,
}

/// How long a measurement goes on, and what it is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Task {
    /// Speed: warm up, then count whole steps until the time is over.
    Time {
        /// Steps to warm up with, at least.
        warm_up_steps: u64,
        /// Seconds to warm up for, at least.
        warm_up_seconds: f64,
        /// Seconds to count for.
        seconds: f64,
    },
    /// The loss of each of `n_steps` steps, each taken before its update.
    Losses {
        /// Number of steps.
        n_steps: u64,
        /// Flat little-endian f32: the tables in the order of the fields, then weight and bias of each
        /// layer of the bottom and of the top MLP. We write the file, the other side starts from it.
        params: PathBuf,
    },
}

/// The optimiser of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TableOptimizer {
    /// Plain gradient descent.
    Sgd,
    /// Adagrad with one sum for each row.
    RowWiseAdagrad,
}

/// How PyTorch holds the tables of all fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TheirTables {
    /// One `EmbeddingBag`, field below field: the fastest.
    One,
    /// One for each field, as facebookresearch/dlrm.
    PerField,
}

/// Type of the products' operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// Operands of the products in bf16, parameters in f32.
    Bf16,
}

/// What one side found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Speed of the counted steps.
    pub samples_per_s: f64,
    /// The largest resident size of the process.
    pub peak_rss_bytes: u64,
    /// Loss of each step of [`Task::Losses`]; `None` where it is not finite. Empty for [`Task::Time`].
    pub losses: Vec<Option<f64>>,
    /// Threads that were used.
    pub threads: usize,
}

impl TableOptimizer {
    /// Its name on the command line and in the names of the cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::RowWiseAdagrad => "row-wise-adagrad",
        }
    }

    /// The learning rate of the tables in every measurement.
    pub fn learning_rate(self) -> f64 {
        match self {
            Self::Sgd => 0.1,
            Self::RowWiseAdagrad => 0.02,
        }
    }
}

impl std::fmt::Display for TheirTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One => "one EmbeddingBag",
            Self::PerField => "an EmbeddingBag per field",
        })
    }
}

impl Precision {
    /// Its name on the command line and in the names of the cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl Workload {
    /// The samples of its data file.
    pub fn samples(&self) -> Samples<'_> {
        Samples {
            path: &self.data,
            n_dense: self.model.n_dense,
            n_rows: &self.n_rows,
            batch: self.batch,
            n_batches: self.n_batches,
        }
    }
}

/// Reads a workload.
///
/// # Errors
/// When the file cannot be read or is no workload.
pub fn read<W: DeserializeOwned>(path: &Path) -> anyhow::Result<W> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    serde_json::from_str(&text)
        .map_err(|e| BadInput(e.to_string()))
        .with_context(|| format!("{}: expected a workload of `bench`", path.display()))
}

/// Writes the file that both sides read.
///
/// # Errors
/// When it cannot be written.
pub fn write(workload: &impl Serialize, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(workload)?;
    write_atomically(path, |file, path| {
        std::io::Write::write_all(file, text.as_bytes()).at("write", path)
    })
    .map_err(|e: FileError| e.into())
}
