//! The training loop: where data, tables and a model meet.
//!
//! [`run`] does a whole run: it trains a [`Config`] on a prepared data set, validates every so many
//! steps, keeps the best weights by validation AUC, writes the exact rows and from them the artefact, reopens
//! both files and scores the test split with each, once. [`resume`] goes on with a run that was stopped, and ends it with the same
//! bits. [`Trainer`] is the loop itself and [`Learner`] one step of it;
//! [`score_artefact`] scores any split with any artefact. [`ship`] stores rows anew and [`prove`] measures
//! what that saves and costs.
//!
//! Settings come in layers ([`resolve`]): defaults, recipe, `key=value` pairs.

mod check;
mod checkpoint;
mod config;
mod dense;
mod early_stop;
mod environment;
mod error;
mod export;
mod export_config;
mod learner;
mod method;
mod model_config;
mod models;
mod observer;
mod progress;
mod proof;
mod rates;
mod recorder;
mod report;
mod restore;
mod run;
mod run_dir;
mod run_info;
mod saved_run;
mod schedule;
mod scoring;
mod select;
mod settings;
mod ship;
mod tensorboard;
mod times;
mod trainer;
mod validate;

pub use checkpoint::{
    Header, LossLog, Phase, Position, load as load_checkpoint, save as save_checkpoint,
};
pub use config::{
    Config, DenseOptimizerKind, EmbeddingInit, EngineKind, PrecisionKind, ScheduleKind,
    SparseOptimizerKind, TrainConfig,
};
pub use dense::{DenseNetwork, Engine};
pub use early_stop::{EarlyStop, Verdict};
pub use environment::{Environment, peak_rss_bytes};
pub use error::TrainError;
pub use export::export;
pub use export_config::ExportConfig;
pub use learner::{Learner, Ones, Rates, StepResult, id_batch, inputs};
pub use method::{MethodConfig, MethodKind, PhaseRecord, Retrain, with_fitted_dim};
pub use model_config::{ModelConfig, ModelKind};
pub use models::load_model;
pub use observer::{Flow, Observer, StepEvent, ValidationEvent};
pub use progress::Watched;
pub use proof::{Proof, byte_card, part_bytes, prove};
pub use recorder::Recorder;
pub use report::Report;
pub use restore::CheckpointPaths;
pub use run::{RunRequest, best_learner, rebuild_exact, resume, run, singular_values};
pub use run_dir::{RunDir, RunLock};
pub use run_info::RunInfo;
pub use saved_run::{SavedRun, Standing};
pub use schedule::Schedule;
pub use scoring::{Scores, check_artefact, score, score_artefact};
pub use select::Selection;
pub use settings::{parse_pair, resolve};
pub use ship::{ShipRequest, Shipped, ship};
pub use tensorboard::EventWriter;
pub use times::Times;
pub use trainer::{Outcome, Trainer};
