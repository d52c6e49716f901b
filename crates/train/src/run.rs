//! A whole run: train, select, export, reload, score.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use serde::Serialize;
use serde_json::json;
use slimbed_data::{Dataset, Split};
use slimbed_eval::Metrics;
use slimbed_rng::Seed;

use crate::environment::{Environment, peak_rss_bytes};
use crate::export::export;
use crate::progress::{Watched, bar};
use crate::recorder::Recorder;
use crate::scoring::score_artefact;
use crate::{Config, Outcome, RunDir, TrainError, Trainer};

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct RunRequest<'a> {
    /// Prepared data.
    pub dataset: &'a Dataset,
    /// Settings.
    pub config: Config,
    /// Seed of everything random.
    pub seed: Seed,
    /// Where the dense part lives.
    pub device: Device,
    /// Folder of all runs.
    pub root: PathBuf,
    /// Name of the run; its folder may get a number behind it.
    pub name: String,
}

/// The result of a run; quality is always that of the reloaded artefact.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the run's folder.
    pub run: String,
    /// Reduction method.
    pub method: &'static str,
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
    /// Largest resident size of the process.
    pub peak_rss_bytes: u64,
    /// Training speed, validation and checkpoints not counted.
    pub train_samples_per_s: f64,
    /// Seconds in training steps.
    pub train_secs: f64,
    /// Seconds of the whole run.
    pub total_secs: f64,
    /// Steps taken.
    pub n_steps: u64,
    /// Step whose weights were kept.
    pub best_step: u64,
    /// The artefact.
    pub artefact: PathBuf,
}

/// Trains, keeps the best weights by validation AUC, writes the artefact, reopens it, and scores the
/// validation and the test split with it.
///
/// # Errors
/// When any part fails; what the run's folder holds by then stays.
pub fn run(request: &RunRequest<'_>) -> Result<Report, TrainError> {
    let started = Instant::now();
    let run = RunDir::create(&request.root, &request.name)?;
    run.write_config(&request.config)?;
    run.write_json("env.json", &environment(request))?;
    let (outcome, dense_bytes) = train_and_export(request, &run)?;
    let validation = artefact_metrics(&run.artefact(), request, Split::Validation)?;
    let test = artefact_metrics(&run.artefact(), request, Split::Test)?;
    let train_secs = outcome.train_time.as_secs_f64();
    let report = Report {
        run: run.id(),
        method: "none",
        data: request.dataset.meta().name.clone(),
        data_dir: request.dataset.path().to_owned(),
        seed: request.seed.get(),
        val_auc: validation.auc,
        val_logloss: validation.logloss,
        test_auc: test.auc,
        test_logloss: test.logloss,
        test,
        artefact_bytes: file_bytes(&run.artefact())?,
        dense_bytes,
        peak_rss_bytes: peak_rss_bytes(),
        train_samples_per_s: outcome.n_samples as f64 / train_secs,
        train_secs,
        total_secs: started.elapsed().as_secs_f64(),
        n_steps: outcome.n_steps,
        best_step: outcome.best_step,
        artefact: run.artefact(),
    };
    run.write_json("report.json", &report)?;
    Ok(report)
}

fn train_and_export(request: &RunRequest<'_>, run: &RunDir) -> Result<(Outcome, u64), TrainError> {
    let RunRequest {
        dataset,
        config,
        seed,
        device,
        ..
    } = request;
    let mut trainer = Trainer::new(dataset, config, *seed, device)?;
    let n_samples = dataset.n_rows(Split::Train) * config.train.epochs;
    let mut watched = Watched::new(Recorder::create(run)?, n_samples);
    let outcome = trainer.run(&run.checkpoints(), &mut watched)?;
    drop(watched);
    trainer.load_best(&run.checkpoints())?;
    let training = json!({
        "data": dataset.meta().name,
        "method": "none",
        "seed": seed.get(),
        "best_step": outcome.best_step,
        "config": config,
    });
    let learner = trainer.learner();
    let manifest = export(&run.artefact(), learner, trainer.spec(), dataset, training)?;
    let tables: u64 = manifest
        .fields
        .iter()
        .map(|field| field.dense_bytes())
        .sum();
    Ok((
        outcome,
        tables + 4 * learner.dense.network().n_params() as u64,
    ))
}

fn artefact_metrics(
    path: &Path,
    request: &RunRequest<'_>,
    split: Split,
) -> Result<Metrics, TrainError> {
    let title = format!("score {}", split.name());
    let bar = bar(request.dataset.n_rows(split), &title);
    let scores = score_artefact(path, request.dataset, split, &request.device, &|n| {
        bar.inc(n)
    });
    bar.finish_and_clear();
    scores?.metrics(split)
}

fn environment(request: &RunRequest<'_>) -> serde_json::Value {
    json!({
        "environment": Environment::collect(),
        "device": format!("{:?}", request.device.location()),
        "seed": request.seed.get(),
        "data": request.dataset.meta(),
    })
}

fn file_bytes(path: &Path) -> Result<u64, TrainError> {
    use slimbed_files::IoContext;
    Ok(std::fs::metadata(path).at("read size of", path)?.len())
}
