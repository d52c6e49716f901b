//! Stops at every place where a run looks up, and half-written files.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use slimbed_train::{
    Config, DenseOptimizerKind, Observer, Outcome, Recorder, Report, RunDir, SparseOptimizerKind,
    Standing, StepEvent, TrainError, Trainer, ValidationEvent, resume,
};

use crate::world::{SEED, World, config};

/// Lets `left` calls through and fails the next: the run ends there as if it had been killed.
pub struct Stopper {
    pub recorder: Recorder,
    pub left: u64,
}

impl Stopper {
    fn count(&mut self) -> Result<(), TrainError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                return Err(TrainError::DeadModel {
                    step: 0,
                    cause: "killed".into(),
                });
            }
        }
        Ok(())
    }
}

impl Observer for Stopper {
    fn samples(&mut self, n: u64) {
        self.recorder.samples(n);
    }

    fn step(&mut self, event: &StepEvent) -> Result<(), TrainError> {
        self.count()?;
        self.recorder.step(event)
    }

    fn validation(&mut self, event: &ValidationEvent<'_>) -> Result<(), TrainError> {
        self.count()?;
        self.recorder.validation(event)
    }

    fn sync(&mut self) -> Result<u64, TrainError> {
        self.count()?;
        self.recorder.sync()
    }
}

/// Trains in `dir` from wherever it stands for at most `n_calls` calls of the observer.
pub fn train(
    world: &World,
    dir: &RunDir,
    config: &Config,
    n_calls: u64,
) -> Result<Outcome, TrainError> {
    let paths = dir.checkpoints();
    let mut trainer = Trainer::new(&world.dataset, config, SEED, &Device::Cpu)?;
    trainer.restore(&paths)?;
    let mut stopper = Stopper {
        recorder: Recorder::open(dir, trainer.metrics_bytes())?,
        left: n_calls,
    };
    trainer.run(&paths, &mut stopper)
}

/// What has to be the same, byte for byte.
fn files(run: &Path) -> [PathBuf; 4] {
    [
        "metrics.jsonl",
        "ckpt/best.safetensors",
        "ckpt/last.safetensors",
        "export/model.safetensors",
    ]
    .map(|name| run.join(name))
}

pub fn assert_same_files(expected: &Path, found: &Path, when: &str) {
    for (expected, found) in files(expected).iter().zip(&files(found)) {
        let same = fs::read(expected).unwrap() == fs::read(found).unwrap();
        assert!(same, "{when}: {} differs", found.display());
    }
}

fn assert_same_outcome(expected: &Report, found: &Report) {
    let mut found = found.clone();
    found.run.clone_from(&expected.run);
    found.artefact.clone_from(&expected.artefact);
    found.peak_rss_bytes = expected.peak_rss_bytes;
    found.train_secs = expected.train_secs;
    found.total_secs = expected.total_secs;
    found.train_samples_per_s = expected.train_samples_per_s;
    for (found, expected) in found.phases.iter_mut().zip(&expected.phases) {
        found.train_secs = expected.train_secs;
    }
    found.card.lookups.clone_from(&expected.card.lookups);
    found.card.resident.clone_from(&expected.card.resident);
    assert_eq!(&found, expected);
}

#[test]
fn stopped_at_every_event_and_resumed_the_bits_are_the_same() {
    let world = World::new();
    let config = config();
    let whole = world.finished("whole", &config);
    let lines = fs::read_to_string(whole.dir().metrics()).unwrap();
    assert_eq!(lines.matches("validation").count(), 6, "{lines}");
    for n_calls in 0.. {
        let name = format!("stopped-{n_calls}");
        let folder = world.folder.path().join("runs").join(&name);
        let dir = RunDir::at(&folder);
        fs::create_dir(&folder).unwrap();
        let stopped = train(&world, &dir, &config, n_calls);
        let done = stopped.is_ok();
        let outcome = train(&world, &dir, &config, u64::MAX).unwrap();
        assert_eq!(outcome.n_steps, 42);
        for name in [
            "metrics.jsonl",
            "ckpt/last.safetensors",
            "ckpt/best.safetensors",
        ] {
            let [expected, found] = [whole.dir(), &dir].map(|run| run.path().join(name));
            let same = fs::read(expected).unwrap() == fs::read(found).unwrap();
            assert!(same, "stopped after {n_calls} events: {name} differs");
        }
        if done {
            // 14 lines, 6 validations, 6 checkpoints with them and 8 without.
            assert_eq!(n_calls, 14 + 6 + 6 + 8);
            break;
        }
    }
}

#[test]
fn every_optimiser_goes_on_with_the_same_bits() {
    let world = World::new();
    for (dense, sparse) in [
        (DenseOptimizerKind::Sgd, SparseOptimizerKind::Sgd),
        (DenseOptimizerKind::Adagrad, SparseOptimizerKind::Adagrad),
        (
            DenseOptimizerKind::Adagrad,
            SparseOptimizerKind::RowWiseAdagrad,
        ),
    ] {
        let mut config = config();
        config.train.optimizer = dense;
        config.train.embedding_optimizer = sparse;
        let name = format!("{dense:?}-{sparse:?}");
        let whole = world.finished(&name, &config);
        let report = match whole.standing().unwrap() {
            Standing::Finished(report) => report,
            other => panic!("{other:?}"),
        };
        // The same folder, taken back to the middle.
        let request = world.request("again", &config);
        let again = world.finished("again", &config);
        let folder = again.dir().path();
        for part in ["ckpt", "export"] {
            fs::remove_dir_all(folder.join(part)).unwrap();
        }
        fs::remove_file(again.dir().report()).unwrap();
        fs::remove_file(again.dir().metrics()).unwrap();
        train(&world, again.dir(), &config, 25).unwrap_err();
        let standing = again.standing().unwrap();
        assert!(matches!(standing, Standing::Training(_)), "{standing:?}");
        let resumed = resume(&again, request.dataset, &request.device).unwrap();
        assert_same_files(whole.dir().path(), folder, &name);
        assert_same_outcome(&report, &resumed);
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn checkpoints_change_nothing() {
    let world = World::new();
    let often = config();
    let mut never = config();
    never.train.checkpoint_every = 0;
    let logs = [("often", often), ("never", never)].map(|(name, config)| {
        let run = world.finished(name, &config);
        fs::read_to_string(run.dir().metrics()).unwrap()
    });
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn a_run_killed_while_it_wrote_goes_on_and_leaves_nothing_behind() {
    let world = World::new();
    let config = config();
    let whole = world.finished("whole", &config);
    let killed = world.finished("killed", &config);
    let folder = killed.dir().path();
    // The state behind the last checkpoint: no artefact, no report, and half of everything.
    fs::remove_dir_all(folder.join("export")).unwrap();
    fs::remove_file(killed.dir().report()).unwrap();
    fs::create_dir(folder.join("export")).unwrap();
    let halves = [
        "ckpt/.slimbed-last.safetensors-Ab3dEf.tmp",
        "ckpt/.slimbed-best.safetensors-Ab3dEf.tmp",
        "ckpt/.slimbed-time.json-Ab3dEf.tmp",
        "export/.slimbed-model.safetensors-Ab3dEf.tmp",
        ".slimbed-report.json-Ab3dEf.tmp",
    ];
    for half in halves {
        fs::write(folder.join(half), "half").unwrap();
    }
    assert_eq!(killed.standing().unwrap(), Standing::Trained);
    resume(&killed, &world.dataset, &Device::Cpu).unwrap();
    assert_same_files(whole.dir().path(), folder, "trained");
    for half in halves {
        assert!(!folder.join(half).exists(), "{half}");
    }
    assert!(folder.join("env-2.json").is_file());
}

#[test]
fn early_stopping_goes_on_counting() {
    let world = World::new();
    let mut config = config();
    config.train.epochs = 50;
    config.train.patience = 2;
    config.train.validate_every = 10;
    config.train.checkpoint_every = 0;
    config.train.lr = 0.05;
    let whole = world.finished("whole", &config);
    let folder = world.folder.path().join("runs/stopped");
    let dir = RunDir::at(&folder);
    fs::create_dir(&folder).unwrap();
    // Stopped again and again: 6 calls are more than a validation takes.
    let mut n_parts = 0;
    let outcome = loop {
        n_parts += 1;
        if let Ok(outcome) = train(&world, &dir, &config, 6) {
            break outcome;
        }
    };
    assert!(
        n_parts > 2 && outcome.n_steps < 1000,
        "{n_parts} {outcome:?}"
    );
    let Standing::Finished(report) = whole.standing().unwrap() else {
        panic!("not finished");
    };
    assert_eq!(
        (outcome.n_steps, outcome.best_step),
        (report.n_steps, report.best_step)
    );
    let [expected, found] = [whole.dir(), &dir].map(|run| fs::read(run.metrics()).unwrap());
    assert!(expected == found);
}
