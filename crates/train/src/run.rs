//! A whole run: train, select, export, reload, score, compare.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use serde_json::{Map, Value, json};
use slimbed_compact::{Artefact, StoredTables};
use slimbed_data::{Dataset, Split};
use slimbed_files::IoContext;
use slimbed_mlet::{Factor, MletEmbedding};
use slimbed_rng::Seed;

use crate::environment::{Environment, peak_rss_bytes};
use crate::export::export;
use crate::method::{Final, PhaseRecord, record, training_record, with_fitted_dim};
use crate::progress::Watched;
use crate::proof::{Proof, prove};
use crate::recorder::Recorder;
use crate::run_dir::{run_file, write_json};
use crate::ship::{ShipRequest, ship};
use crate::{
    Config, Learner, Outcome, Report, RunDir, RunInfo, SavedRun, Standing, TrainError, Trainer,
};

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

/// Trains, keeps the best weights by validation AUC, writes the exact rows and from them the artefact,
/// reopens both, and scores the validation and the test split with each.
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
    let config = with_fitted_dim(request.dataset, &request.config, request.seed)?;
    let dir = RunDir::create(&request.root, &request.name, |dir| {
        dir.write_config(&config)?;
        write_json(&dir.next_environment(), &environment)?;
        write_json(&dir.info(), &info)
    })?;
    let _lock = dir.lock()?;
    let job = Job {
        dir: &dir,
        dataset: request.dataset,
        config: &config,
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
    Job::of(saved, dataset, device).finish()
}

/// Writes the exact rows of a finished run's best step to `path`, from its checkpoint: the bytes that
/// `export.keep_exact` would have kept.
///
/// # Errors
/// When the run is not finished, the data has changed, or the checkpoint is missing or damaged.
pub fn rebuild_exact(
    saved: &SavedRun,
    dataset: &Dataset,
    device: &Device,
    path: &Path,
) -> Result<(), TrainError> {
    let job = Job::of(saved, dataset, device);
    let (trainer, best_step) = job.best_trainer(saved)?;
    job.export(trainer, best_step, path)
}

/// The network and the tables of a finished run as they were in training at its best step, from its checkpoint.
///
/// # Errors
/// As [`rebuild_exact`].
pub fn best_learner(
    saved: &SavedRun,
    dataset: &Dataset,
    device: &Device,
) -> Result<Learner, TrainError> {
    let job = Job::of(saved, dataset, device);
    let (trainer, _) = job.best_trainer(saved)?;
    Ok(trainer.into_learner())
}

/// Singular values of the largest tables of a finished MLET run, falling: of the rows that were trained, and of the
/// folded ones; each with the field's name.
///
/// # Errors
/// As [`rebuild_exact`]; and when the run is not one of MLET.
pub fn singular_values(
    saved: &SavedRun,
    dataset: &Dataset,
) -> Result<Vec<(String, Vec<f64>)>, TrainError> {
    let learner = best_learner(saved, dataset, &Device::Cpu)?;
    let layer: &dyn Any = learner.embedding.as_ref();
    let Some(mlet) = layer.downcast_ref::<MletEmbedding>() else {
        let folder = saved.dir().path();
        return Err(run_file(folder, "expected a run of method mlet"));
    };
    let mut fields: Vec<_> = dataset.fields().iter().enumerate().collect();
    fields.sort_by_key(|(_, field)| std::cmp::Reverse(field.n_rows));
    let of = |factor, label| {
        let largest = fields.iter().take(LARGEST);
        largest.map(move |(f, field)| {
            (
                format!("{} {label}", field.name),
                mlet.singular_values(*f, factor),
            )
        })
    };
    Ok(of(Factor::Inner, "trained")
        .chain(of(Factor::Folded, "folded"))
        .collect())
}

/// Tables whose singular values are looked at.
const LARGEST: usize = 3;

/// A run in its folder.
pub(crate) struct Job<'a> {
    pub dir: &'a RunDir,
    pub dataset: &'a Dataset,
    pub config: &'a Config,
    pub seed: Seed,
    pub device: &'a Device,
}

impl<'a> Job<'a> {
    /// That of a run that has begun.
    fn of(saved: &'a SavedRun, dataset: &'a Dataset, device: &'a Device) -> Self {
        Self {
            dir: saved.dir(),
            dataset,
            config: saved.config(),
            seed: Seed::new(saved.info().seed),
            device,
        }
    }

    /// The last phase of a finished run at its best step.
    fn best_trainer(&self, saved: &SavedRun) -> Result<(Trainer<'_>, u64), TrainError> {
        let Standing::Finished(report) = saved.standing()? else {
            return Err(run_file(
                self.dir.path(),
                "the run is not finished: `train --resume` ends it",
            ));
        };
        saved.info().check_data(self.dataset)?;
        let (mut trainer, _) = self.last_trainer()?;
        trainer.restore(&self.dir.checkpoints())?;
        trainer.load_best(&self.dir.checkpoints())?;
        self.fit_schedule(trainer.learner_mut().embedding.as_mut())?;
        Ok((trainer, report.best_step))
    }

    /// Does what is left of the run.
    fn finish(&self) -> Result<Report, TrainError> {
        // On a thread of the pool, so that a step forks from there instead of being handed over. The tables
        // are gone afterwards: everything else is done with files.
        let (outcome, phases) = rayon::scope(|_| self.train())?;
        let trained = Instant::now();
        let (exact, artefact) = (self.dir.exact(), self.dir.artefact());
        self.ship(&exact, &artefact)?;
        let proof = prove(&exact, &artefact, self.dataset, self.device)?;
        if !self.config.export.keep_exact {
            std::fs::remove_file(&exact).at("remove", &exact)?;
        }
        let total_secs = outcome.times.total_secs + trained.elapsed().as_secs_f64();
        let report = self.report(&outcome, phases, total_secs, proof);
        write_json(&self.dir.report(), &report)?;
        Ok(report)
    }

    fn report(
        &self,
        outcome: &Outcome,
        phases: Vec<PhaseRecord>,
        total_secs: f64,
        proof: Proof,
    ) -> Report {
        let Proof {
            card,
            validation,
            test,
        } = proof;
        Report {
            run: self.dir.id(),
            method: self.config.method.name.name().into(),
            data: self.dataset.meta().name.clone(),
            data_dir: self.dataset.path().to_owned(),
            seed: self.seed.get(),
            val_auc: validation.auc,
            val_logloss: validation.logloss,
            test_auc: test.auc,
            test_logloss: test.logloss,
            test,
            artefact_bytes: card.bytes,
            dense_bytes: card.dense_bytes,
            peak_rss_bytes: peak_rss_bytes(),
            train_samples_per_s: outcome.times.samples_per_s(),
            train_secs: phases.iter().map(|phase| phase.train_secs).sum(),
            total_secs,
            n_steps: outcome.n_steps,
            best_step: outcome.best_step,
            artefact: self.dir.artefact(),
            card,
            phases,
        }
    }

    /// Trains all phases, and writes the exact rows of the best step of the last.
    fn train(&self) -> Result<(Outcome, Vec<PhaseRecord>), TrainError> {
        let checkpoints = self.dir.checkpoints();
        let (mut trainer, mut phases) = self.last_trainer()?;
        trainer.restore(&checkpoints)?;
        let mut watched = self.watched(&trainer)?;
        let outcome = trainer.run(&checkpoints, &mut watched)?;
        drop(watched);
        trainer.load_best(&checkpoints)?;
        self.fit_schedule(trainer.learner_mut().embedding.as_mut())?;
        let times = trainer.times_now();
        let outcome = Outcome { times, ..outcome };
        let name = if phases.is_empty() {
            "train"
        } else {
            "retrain"
        };
        phases.push(record(name, &trainer, &outcome));
        self.export(trainer, outcome.best_step, &self.dir.exact())?;
        Ok((outcome, phases))
    }

    /// The trainer of the last phase at its start, and what the phases before it took.
    fn last_trainer(&self) -> Result<(Trainer<'_>, Vec<PhaseRecord>), TrainError> {
        let Final {
            layer,
            dense,
            ledger,
        } = self.final_layer()?;
        let (dataset, config) = (self.dataset, self.config);
        let mut trainer = Trainer::with_layer(dataset, config, self.seed, self.device, layer)?;
        if let Some(path) = dense {
            trainer.import_dense(&path)?;
        }
        Ok((trainer, ledger))
    }

    fn watched(&self, trainer: &Trainer<'_>) -> Result<Watched, TrainError> {
        let n_samples = self.dataset.n_rows(Split::Train) * self.config.train.epochs;
        let recorder = Recorder::open(self.dir, trainer.metrics_bytes())?;
        let n_done = trainer.n_samples();
        Ok(Watched::new("train", recorder, n_samples, n_done))
    }

    fn export(&self, trainer: Trainer<'_>, best_step: u64, path: &Path) -> Result<(), TrainError> {
        let training = training_record(self.dataset, self.config, self.seed, best_step);
        let spec = trainer.spec().clone();
        let learner = trainer.into_learner();
        export(path, learner, &spec, self.dataset, training)?;
        Ok(())
    }

    fn ship(&self, exact: &Path, artefact: &Path) -> Result<(), TrainError> {
        let source = StoredTables::open(exact)?;
        let training = Artefact::open(exact)?.manifest().training.clone();
        let request = ShipRequest {
            before: exact,
            source: &source,
            settings: &self.config.export,
            dataset: Some(self.dataset),
        };
        ship(&request, artefact, training)?;
        Ok(())
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
