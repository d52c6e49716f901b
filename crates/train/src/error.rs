//! What can go wrong in a run.

use std::path::PathBuf;

use slimbed_compact::{ArtefactError, EncodeError};
use slimbed_data::DataError;
use slimbed_embedding::EmbeddingError;
use slimbed_eval::MetricError;
use slimbed_files::FileError;
use slimbed_fused::FusedError;
use slimbed_nn::NnError;
use slimbed_score::ScoreError;

/// Errors of `slimbed-train`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Reading the data failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The dense part of the model failed on candle.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The dense part of the model cannot be made or run.
    #[error(transparent)]
    Network(#[from] FusedError),
    /// The embedding tables failed.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// A metric has no value.
    #[error("cannot evaluate the {split} split: {source}")]
    Metric {
        /// The split.
        split: &'static str,
        /// Why.
        #[source]
        source: MetricError,
    },
    /// The artefact cannot be written or opened.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The artefact cannot be scored with.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A setting is unknown or cannot work.
    #[error("setting `{key}`: expected {expected}, found {found}{hint}")]
    Setting {
        /// The setting's full key.
        key: String,
        /// What it has to be.
        expected: String,
        /// What was given.
        found: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// Rows of a table cannot be stored.
    #[error("table of field `{field}`: {source}")]
    Rows {
        /// The field.
        field: String,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// The tables cannot be made so small.
    #[error("expected a budget of at least {smallest} {what}, found {budget}")]
    Budget {
        /// What was asked for.
        budget: u64,
        /// The least that there can be.
        smallest: u64,
        /// What is counted.
        what: &'static str,
    },
    /// The loss or a gradient is no longer a number.
    #[error(
        "{quantity} is {value} at step {step} (epoch {epoch}, batch {batch}): lower the learning rate \
         or set `train.clip_norm`"
    )]
    NotFinite {
        /// `loss` or `gradient norm`.
        quantity: &'static str,
        /// Its value.
        value: f64,
        /// Number of the step, from 0.
        step: u64,
        /// Number of the epoch, from 0.
        epoch: u64,
        /// Number of the batch in the epoch, from 0.
        batch: u64,
    },
    /// The model has stopped to predict anything.
    #[error("the model is dead at step {step}: {cause}")]
    DeadModel {
        /// Number of steps taken.
        step: u64,
        /// What shows it.
        cause: String,
    },
    /// A checkpoint does not fit or is damaged.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of a run holds something else than expected.
    #[error("{}: {reason}", path.display())]
    RunFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The data does not suit the model that reads it.
    #[error("the data has {found} {what}, the model expects {expected}")]
    DataShape {
        /// The quantity.
        what: &'static str,
        /// What the model has.
        expected: String,
        /// What the data has.
        found: String,
    },
}
