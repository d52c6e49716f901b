//! What both sides of a measurement of scoring are told, and what they answer.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use slimbed_dlrm::DlrmConfig;

use super::super::data::Samples;

/// One measurement of one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreWorkload {
    /// The network.
    pub model: DlrmConfig,
    /// Rows of each field's table.
    pub n_rows: Vec<usize>,
    /// Samples scored together.
    pub batch: usize,
    /// Batches in the data file; a run loops over them.
    pub n_batches: usize,
    /// The data file, see [`data`](super::super::data).
    pub data: PathBuf,
    /// Our tables and weights.
    pub artefact: PathBuf,
    /// The same for the other side: flat little-endian f32, the tables in the order of the fields, then weight
    /// and bias of each layer of the bottom and of the top MLP.
    pub params: PathBuf,
    /// How PyTorch's forward is written.
    pub form: Form,
    /// Seconds to warm up.
    pub warm_up_seconds: f64,
    /// Seconds to measure.
    pub seconds: f64,
    /// Batches whose logits are answered.
    pub n_checked: usize,
    /// Threads of the process.
    pub threads: usize,
}

/// How PyTorch's forward is written; all compute the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Modules, as people write them: `nn.Sequential` of `nn.Linear` and `nn.ReLU`, an `nn.EmbeddingBag` for all
    /// fields, batched products.
    Modules,
    /// The ops alone, without the calls of modules, and rows picked with `index_select`.
    Functions,
    /// For one sample only: products of a matrix and a vector, `torch.addmv`.
    Vectors,
}

impl Form {
    /// Its name on the command line and in the names of the cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Modules => "modules",
            Self::Functions => "functions",
            Self::Vectors => "vectors",
        }
    }
}

/// What one side found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScoreAnswer {
    /// Microseconds for a batch, the median over slices of the time.
    pub batch_us: f64,
    /// Logits of the first batches.
    pub logits: Vec<f32>,
    /// What the parts take at the least; from our side, for one sample.
    #[serde(default)]
    pub floor: Option<Floor>,
    /// Threads that were used.
    pub threads: usize,
}

/// What one sample needs, measured in turns with the whole.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// The products of a vector with the same bytes of weights, and nothing else.
    pub products_us: f64,
    /// The lookups alone.
    pub lookups_us: f64,
}

impl ScoreWorkload {
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
