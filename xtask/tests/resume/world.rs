//! A finished run with its data, and others that are killed and compared with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use slimbed_rng::Stream;
use tempfile::TempDir;

use crate::kills::{Kills, Moment, temporaries};

/// Two epochs of 63 steps with everything that has a state: 6 validations, 15 checkpoints besides.
const SETTINGS: [&str; 18] = [
    "model.dim=4",
    "model.bottom=[16]",
    "model.top=[16]",
    "model.dropout=0.2",
    "train.epochs=2",
    "train.batch_size=256",
    "train.schedule=constant",
    "train.optimizer=adam",
    "train.lr=0.01",
    "train.weight_decay=0.01",
    "train.embedding_optimizer=lazy-adam",
    "train.embedding_lr=0.02",
    "train.embedding_weight_decay=0.01",
    "train.clip_norm=1",
    "train.validate_every=30",
    "train.checkpoint_every=7",
    "train.patience=0",
    "train.log_every=4",
];

/// What of a report may differ: the folder's name, paths, time and memory.
const MAY_DIFFER: [&str; 7] = [
    "run",
    "artefact",
    "data_dir",
    "peak_rss_bytes",
    "train_samples_per_s",
    "train_secs",
    "total_secs",
];

/// The same of a report's card.
const MAY_DIFFER_IN_CARD: [&str; 2] = ["lookups", "resident"];

/// A folder with a finished run, `runs/reference`, and its data.
pub struct World {
    pub folder: TempDir,
    pub report: Value,
    /// What the run took.
    pub time: Duration,
    method: &'static str,
    settings: &'static [&'static str],
}

impl World {
    /// A run of a method with settings of its own.
    pub fn new(method: &'static str, settings: &'static [&'static str]) -> Self {
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            report: Value::Null,
            time: Duration::ZERO,
            method,
            settings,
        };
        // The first run also generates the data, so that the second one's time is that of a run.
        finish(world.start("first", 1));
        let started = Instant::now();
        world.report = finish(world.start("reference", 1));
        world.time = started.elapsed();
        world
    }

    /// Folder of a run.
    pub fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join("runs").join(name)
    }

    /// Folder of the run that was never stopped.
    pub fn reference(&self) -> PathBuf {
        self.run("reference")
    }

    /// Kills and resumes a run until it ends, and compares it with the reference; `moment` is that of the
    /// first kill.
    pub fn round(&self, number: u64, mut moment: Moment, stream: &mut Stream) -> Kills {
        let name = format!("round-{number}");
        let run = self.run(&name);
        let mut kills = Kills::default();
        let mut left = 1 + stream.below(4);
        let report = loop {
            // The number of threads changes nothing either.
            let n_threads = 1 + stream.below(2);
            let child = match run.exists() {
                true => self.resume(&name, n_threads),
                false => self.start(&name, n_threads),
            };
            if left == 0 {
                break finish(child);
            }
            left -= 1;
            if let Some(output) = moment.kill(child, &run) {
                break report(&output);
            }
            kills.count(&run);
            moment = Moment::draw(stream, self, &run);
        };
        self.check(&run, &report);
        fs::remove_dir_all(&run).unwrap();
        kills
    }

    /// Expects the files and the report of the reference.
    fn check(&self, run: &Path, report: &Value) {
        let reference = self.reference();
        let files = lasting(&reference);
        assert_eq!(files, lasting(run), "files of {}", run.display());
        for file in files {
            let [expected, found] = [reference.as_path(), run].map(|run| run.join(&file));
            let same = fs::read(expected).unwrap() == fs::read(&found).unwrap();
            assert!(same, "{} differs", found.display());
        }
        let name = run.display();
        assert_eq!(figures(report), figures(&self.report), "report of {name}");
        assert_eq!(temporaries(run), 0, "leftovers in {name}");
    }

    fn start(&self, name: &str, n_threads: u64) -> Child {
        let threads = n_threads.to_string();
        let mut command = xtask(
            self.folder.path(),
            &["train", "--rows", "20000", "--seed", "3", "--json"],
        );
        command.args([
            "--method",
            self.method,
            "--threads",
            &threads,
            "--name",
            name,
        ]);
        for setting in SETTINGS.iter().chain(self.settings) {
            command.args(["--set", setting]);
        }
        command.spawn().unwrap()
    }

    pub fn resume(&self, name: &str, n_threads: u64) -> Child {
        let (threads, run) = (n_threads.to_string(), format!("runs/{name}"));
        let arguments = ["train", "--resume", &run, "--json", "--threads", &threads];
        xtask(self.folder.path(), &arguments).spawn().unwrap()
    }
}

pub fn xtask(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(folder).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn finish(child: Child) -> Value {
    report(&child.wait_with_output().unwrap())
}

/// The last line of a successful run.
fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// What has to be the same of a report.
fn figures(report: &Value) -> Value {
    let mut report = report.clone();
    let object = report.as_object_mut().unwrap();
    object.retain(|key, _| !MAY_DIFFER.contains(&key.as_str()));
    let card = object["card"].as_object_mut().unwrap();
    card.retain(|key, _| !MAY_DIFFER_IN_CARD.contains(&key.as_str()));
    for phase in object["phases"].as_array_mut().unwrap() {
        phase.as_object_mut().unwrap().remove("train_secs");
    }
    report
}

/// The files of a run that have to be the same byte for byte, sorted: logs, settings, tensors.
fn lasting(run: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(is_lasting) {
                files.push(path.strip_prefix(run).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// Files of other kinds hold times, the environment or the name of the run.
fn is_lasting(extension: &std::ffi::OsStr) -> bool {
    ["jsonl", "toml", "safetensors"]
        .iter()
        .any(|kind| extension == *kind)
}
