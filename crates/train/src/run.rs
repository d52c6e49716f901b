//! A whole run: train, select, export, reload, score.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use serde_json::{Map, Value, json};
use slimbed_data::{Dataset, Split};
use slimbed_eval::Metrics;
use slimbed_files::IoContext;
use slimbed_rng::Seed;

use crate::environment::{Environment, peak_rss_bytes};
use crate::export::export;
use crate::progress::{Watched, bar};
use crate::recorder::Recorder;
use crate::run_dir::write_json;
use crate::scoring::score_artefact;
use crate::{Config, Outcome, Report, RunDir, RunInfo, SavedRun, Standing, TrainError, Trainer};

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
    /// What the caller wants to find in [`RunInfo::extra`] when the run is resumed.
    pub extra: Map<String, Value>,
}

/// Trains, keeps the best weights by validation AUC, writes the artefact, reopens it, and scores the
/// validation and the test split with it.
///
/// A run that is killed can go on from its last checkpoint: see [`resume`].
///
/// # Errors
/// When any part fails; what the run's folder holds by then stays.
pub fn run(request: &RunRequest<'_>) -> Result<Report, TrainError> {
    let info = RunInfo::new(
        request.dataset,
        request.seed,
        &request.device,
        &request.extra,
    )?;
    let environment = environment(request.dataset, &info);
    let dir = RunDir::create(&request.root, &request.name, |dir| {
        dir.write_config(&request.config)?;
        write_json(&dir.next_environment(), &environment)?;
        write_json(&dir.info(), &info)
    })?;
    let _lock = dir.lock()?;
    let job = Job {
        dir: &dir,
        dataset: request.dataset,
        config: &request.config,
        seed: request.seed,
        device: &request.device,
    };
    job.finish()
}

/// Goes on with a run from its last checkpoint, or from its start when it has none, and ends it with
/// the bits it would have ended with had it never stopped. A finished run is left as it is.
///
/// `dataset` and `device` are those of [`SavedRun::info`].
///
/// # Errors
/// As [`run`]; and when another process works on the run, the data has changed, or a checkpoint is
/// missing or damaged.
pub fn resume(saved: &SavedRun, dataset: &Dataset, device: &Device) -> Result<Report, TrainError> {
    let (dir, info) = (saved.dir(), saved.info());
    let _lock = dir.lock()?;
    if let Standing::Finished(report) = saved.standing()? {
        return Ok(*report);
    }
    info.check_data(dataset)?;
    dir.remove_stale();
    write_json(&dir.next_environment(), &environment(dataset, info))?;
    let job = Job {
        dir,
        dataset,
        config: saved.config(),
        seed: Seed::new(info.seed),
        device,
    };
    job.finish()
}

/// A run in its folder.
struct Job<'a> {
    dir: &'a RunDir,
    dataset: &'a Dataset,
    config: &'a Config,
    seed: Seed,
    device: &'a Device,
}

impl Job<'_> {
    /// Does what is left of the run.
    fn finish(&self) -> Result<Report, TrainError> {
        // On a thread of the pool, so that a step forks from there instead of being handed over.
        let (outcome, dense_bytes) = rayon::scope(|_| self.train_and_export())?;
        let trained = Instant::now();
        let validation = self.artefact_metrics(Split::Validation)?;
        let test = self.artefact_metrics(Split::Test)?;
        let artefact = self.dir.artefact();
        let report = Report {
            run: self.dir.id(),
            method: "none".into(),
            data: self.dataset.meta().name.clone(),
            data_dir: self.dataset.path().to_owned(),
            seed: self.seed.get(),
            val_auc: validation.auc,
            val_logloss: validation.logloss,
            test_auc: test.auc,
            test_logloss: test.logloss,
            test,
            artefact_bytes: file_bytes(&artefact)?,
            dense_bytes,
            peak_rss_bytes: peak_rss_bytes(),
            train_samples_per_s: outcome.times.samples_per_s(),
            train_secs: outcome.times.train_secs,
            total_secs: outcome.times.total_secs + trained.elapsed().as_secs_f64(),
            n_steps: outcome.n_steps,
            best_step: outcome.best_step,
            artefact,
        };
        write_json(&self.dir.report(), &report)?;
        Ok(report)
    }

    /// Also returns the bytes that the exported values take as dense floats. The tables are gone
    /// afterwards: the file is scored without them.
    fn train_and_export(&self) -> Result<(Outcome, u64), TrainError> {
        let checkpoints = self.dir.checkpoints();
        let mut trainer = Trainer::new(self.dataset, self.config, self.seed, self.device)?;
        trainer.restore(&checkpoints)?;
        let mut watched = self.watched(&trainer)?;
        let outcome = trainer.run(&checkpoints, &mut watched)?;
        drop(watched);
        trainer.load_best(&checkpoints)?;
        let dense_bytes = self.export(&trainer, outcome.best_step)?;
        let times = trainer.times_now();
        Ok((Outcome { times, ..outcome }, dense_bytes))
    }

    fn watched(&self, trainer: &Trainer<'_>) -> Result<Watched, TrainError> {
        let n_samples = self.dataset.n_rows(Split::Train) * self.config.train.epochs;
        let recorder = Recorder::open(self.dir, trainer.metrics_bytes())?;
        Ok(Watched::new(recorder, n_samples, trainer.n_samples()))
    }

    /// Writes the artefact and returns the bytes its values take as dense floats.
    fn export(&self, trainer: &Trainer<'_>, best_step: u64) -> Result<u64, TrainError> {
        let training = json!({
            "data": self.dataset.meta().name,
            "method": "none",
            "seed": self.seed.get(),
            "best_step": best_step,
            "config": self.config,
        });
        let (learner, spec) = (trainer.learner(), trainer.spec());
        let path = self.dir.artefact();
        let manifest = export(&path, learner, spec, self.dataset, training)?;
        let tables = manifest.fields.iter().map(|field| field.dense_bytes());
        Ok(tables.sum::<u64>() + 4 * learner.dense.network().n_params() as u64)
    }

    fn artefact_metrics(&self, split: Split) -> Result<Metrics, TrainError> {
        let title = format!("score {}", split.name());
        let bar = bar(self.dataset.n_rows(split), &title);
        let path = self.dir.artefact();
        let scores = score_artefact(&path, self.dataset, split, self.device, &|n| bar.inc(n));
        bar.finish_and_clear();
        scores?.metrics(split)
    }
}

fn environment(dataset: &Dataset, info: &RunInfo) -> Value {
    json!({
        "environment": Environment::collect(),
        "device": info.device,
        "seed": info.seed,
        "data": dataset.meta(),
    })
}

fn file_bytes(path: &Path) -> Result<u64, TrainError> {
    Ok(std::fs::metadata(path).at("read size of", path)?.len())
}
