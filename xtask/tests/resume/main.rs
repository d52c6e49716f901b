//! Runs killed with SIGKILL at random moments, through the real binary: each one, resumed until it
//! ends, leaves the bits of a run that was never stopped.
//!
//! `cargo test -p xtask --test resume -- --nocapture` also says where the kills fell.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use slimbed_rng::{Seed, Stream};
use tempfile::TempDir;

const N_ROUNDS: u64 = 20;

/// Two epochs of 63 steps with everything that has a state: 6 validations, 15 checkpoints besides.
const SETTINGS: [&str; 17] = [
    "model.dim=4",
    "model.bottom=[16]",
    "model.top=[16]",
    "model.dropout=0.2",
    "train.epochs=2",
    "train.batch_size=256",
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

/// What has to be the same, byte for byte.
const FILES: [&str; 5] = [
    "metrics.jsonl",
    "config.resolved.toml",
    "ckpt/last.safetensors",
    "ckpt/best.safetensors",
    "export/model.safetensors",
];

/// What of a report may differ: the folder's name, paths, time and memory.
const MAY_DIFFER: [&str; 8] = [
    "run",
    "artefact",
    "data_dir",
    "peak_rss_bytes",
    "train_samples_per_s",
    "train_secs",
    "total_secs",
    // Their times; what they trained is in the files that are compared.
    "phases",
];

/// The same of a report's card.
const MAY_DIFFER_IN_CARD: [&str; 2] = ["lookups", "resident"];

/// A folder with a finished run, `runs/reference`, and its data.
struct World {
    folder: TempDir,
    report: Value,
    /// What the run took.
    time: Duration,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The first run also generates the data, so that the second one's time is that of a run.
        let start = |name| start(folder.path(), name, 1);
        finish(start("first"));
        let started = Instant::now();
        let report = finish(start("reference"));
        let time = started.elapsed();
        Self {
            folder,
            report,
            time,
        }
    }

    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join("runs").join(name)
    }

    /// Kills and resumes a run until it ends, and compares it with the reference.
    fn round(&self, number: u64) -> Kills {
        let mut stream = Seed::new(11).stream("resume/kills", number);
        let name = format!("round-{number}");
        let run = self.run(&name);
        let mut kills = Kills::default();
        // The first moments are spread over the whole run, the later ones are anywhere.
        let mut moment = Moment::nth(number, &mut stream, self);
        let mut left = 1 + stream.below(4);
        let report = loop {
            // The number of threads changes nothing either.
            let n_threads = 1 + stream.below(2);
            let child = match run.exists() {
                true => resume(self.folder.path(), &name, n_threads),
                false => start(self.folder.path(), &name, n_threads),
            };
            if left == 0 {
                break finish(child);
            }
            left -= 1;
            if let Some(output) = moment.kill(child, &run) {
                break report(&output);
            }
            kills.count(&run);
            moment = Moment::draw(&mut stream, self, &run);
        };
        for file in FILES {
            let [expected, found] = [&self.run("reference"), &run].map(|run| run.join(file));
            let same = fs::read(expected).unwrap() == fs::read(found).unwrap();
            assert!(same, "round {number}: {file} differs");
        }
        assert_eq!(
            figures(&report),
            figures(&self.report),
            "round {number}: the report"
        );
        assert_eq!(temporaries(&run), 0, "round {number}: leftovers");
        fs::remove_dir_all(&run).unwrap();
        kills
    }
}

/// When to kill.
#[derive(Debug)]
enum Moment {
    /// When the log has this many bytes.
    Logged(u64),
    /// While the n-th file that is seen is being written.
    Writing(u64),
    /// After some time.
    After(Duration),
}

impl Moment {
    /// The first moment of a round: the kinds in turn, each from the start of a run to its end.
    fn nth(number: u64, stream: &mut Stream, world: &World) -> Self {
        let share = (number as f64 + stream.uniform_f64()) / N_ROUNDS as f64;
        match number % 3 {
            0 => Self::After(world.time.mul_f64(share)),
            1 => Self::Writing(1 + (share * 40.0) as u64),
            _ => Self::Logged((share * log_bytes(&world.run("reference")) as f64) as u64),
        }
    }

    fn draw(stream: &mut Stream, world: &World, run: &Path) -> Self {
        match stream.below(3) {
            0 => Self::After(world.time.mul_f64(stream.uniform_f64())),
            1 => Self::Writing(1 + stream.below(12)),
            _ => {
                let end = log_bytes(&world.run("reference"));
                let now = log_bytes(run).min(end - 1);
                Self::Logged(now + 1 + stream.below(end - now))
            }
        }
    }

    /// Kills `child` at the moment; the output when it has ended before.
    fn kill(&self, mut child: Child, run: &Path) -> Option<Output> {
        let started = Instant::now();
        let (mut n_writes, mut writing) = (0, false);
        loop {
            if child.try_wait().unwrap().is_some() {
                return Some(child.wait_with_output().unwrap());
            }
            let was_writing = std::mem::replace(&mut writing, temporaries(run) > 0);
            n_writes += u64::from(writing && !was_writing);
            let is_now = match *self {
                Self::Logged(n) => log_bytes(run) >= n,
                Self::Writing(n) => n_writes == n,
                Self::After(time) => started.elapsed() >= time,
            };
            if is_now {
                child.kill().unwrap();
                let output = child.wait_with_output().unwrap();
                // It may have ended in the very moment.
                return output.status.success().then_some(output);
            }
            thread::sleep(Duration::from_micros(300));
        }
    }
}

/// Where the kills of some rounds fell.
#[derive(Debug, Default)]
struct Kills {
    /// Before the run had a folder.
    early: u64,
    /// Before the first checkpoint.
    unsaved: u64,
    /// Between two checkpoints, or behind the last.
    saved: u64,
    /// Of all these, while a file was being written.
    writing: u64,
}

impl Kills {
    /// Looks at what the killed process left.
    fn count(&mut self, run: &Path) {
        let counter = if !run.exists() {
            &mut self.early
        } else if !run.join("ckpt/last.safetensors").exists() {
            &mut self.unsaved
        } else {
            &mut self.saved
        };
        *counter += 1;
        self.writing += u64::from(temporaries(run) > 0);
    }

    fn hits(&self) -> u64 {
        self.unsaved + self.saved
    }

    fn add(&mut self, other: &Self) {
        self.early += other.early;
        self.unsaved += other.unsaved;
        self.saved += other.saved;
        self.writing += other.writing;
    }
}

fn xtask(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(folder).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(folder: &Path, name: &str, n_threads: u64) -> Child {
    let threads = n_threads.to_string();
    let base = [
        "train", "--method", "none", "--rows", "20000", "--seed", "3", "--json",
    ];
    let mut command = xtask(folder, &base);
    command.args(["--threads", &threads, "--name", name]);
    command.args(["--set", "train.schedule=constant"]);
    for setting in SETTINGS {
        command.args(["--set", setting]);
    }
    command.spawn().unwrap()
}

fn resume(folder: &Path, name: &str, n_threads: u64) -> Child {
    let (threads, run) = (n_threads.to_string(), format!("runs/{name}"));
    let arguments = ["train", "--resume", &run, "--json", "--threads", &threads];
    xtask(folder, &arguments).spawn().unwrap()
}

fn finish(child: Child) -> Value {
    report(&child.wait_with_output().unwrap())
}

/// The last line of a successful run.
fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn figures(report: &Value) -> Value {
    let mut report = report.clone();
    let object = report.as_object_mut().unwrap();
    object.retain(|key, _| !MAY_DIFFER.contains(&key.as_str()));
    let card = object["card"].as_object_mut().unwrap();
    card.retain(|key, _| !MAY_DIFFER_IN_CARD.contains(&key.as_str()));
    report
}

fn log_bytes(run: &Path) -> u64 {
    fs::metadata(run.join("metrics.jsonl")).map_or(0, |file| file.len())
}

/// Half-written files in a run's folder, by whatever name.
fn temporaries(run: &Path) -> usize {
    let folders = ["", "ckpt", "export"].map(|folder| fs::read_dir(run.join(folder)));
    let entries = folders.into_iter().flatten().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .count()
}

#[test]
fn twenty_of_twenty_killed_runs_end_with_the_bits_of_one_that_was_not() {
    let world = World::new();
    let next = AtomicU64::new(0);
    let rounds = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let numbers = numbers.take_while(|&number| number < N_ROUNDS);
        numbers.map(|n| world.round(n)).collect::<Vec<_>>()
    };
    // Two at a time: a process waits for the disk most of the time.
    let kills: Vec<Kills> = thread::scope(|scope| {
        let workers = [scope.spawn(rounds), scope.spawn(rounds)];
        let done = workers.map(|worker| worker.join().unwrap());
        done.into_iter().flatten().collect()
    });
    let mut sum = Kills::default();
    kills.iter().for_each(|kills| sum.add(kills));
    let n_hit = kills.iter().filter(|kills| kills.hits() > 0).count() as u64;
    eprintln!(
        "{n_hit} of {N_ROUNDS} runs were killed on their way, all came to the same end: {sum:?}"
    );
    assert_eq!(kills.len() as u64, N_ROUNDS);
    assert!(n_hit >= N_ROUNDS / 2, "too few kills: {kills:?}");
}

/// Expects exit code 2 and all of `expected` in the message.
fn check_refused(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let output = xtask(folder, arguments).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in expected {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn what_cannot_be_resumed_is_refused_and_what_is_finished_is_shown() {
    let world = World::new();
    let folder = world.folder.path();
    let run = world.run("reference");
    let log = fs::metadata(run.join("metrics.jsonl")).unwrap();
    // The whole report is the same: nothing was done again.
    assert_eq!(finish(resume(folder, "reference", 1)), world.report);
    let untouched = fs::metadata(run.join("metrics.jsonl")).unwrap();
    assert_eq!(untouched.modified().unwrap(), log.modified().unwrap());

    let resume = ["train", "--resume", "runs/reference"];
    for flags in [
        &["--set", "train.lr=1"][..],
        &["--data", "prepared"],
        &["--rows", "100"],
        &["--name", "x"],
        &["--device", "cpu"],
        &["--seed", "3"],
        &["--seed=3"],
    ] {
        let flag = flags[0].trim_end_matches("=3");
        let arguments = [&resume, flags].concat();
        check_refused(
            folder,
            &arguments,
            &["--resume", flag, "cannot be used with"],
        );
    }
    check_refused(
        folder,
        &["--seed", "3", "train", "--resume", "runs/reference"],
        &["--seed cannot be used with --resume"],
    );
    check_refused(folder, &["train", "--resume", "runs"], &["run.json"]);
    check_refused(folder, &["train", "--resume", "nowhere"], &["run.json"]);

    fs::remove_file(run.join("report.json")).unwrap();
    let data = PathBuf::from(world.report["data_dir"].as_str().unwrap());
    let (data, away) = (folder.join(data), folder.join("away"));
    fs::rename(&data, &away).unwrap();
    check_refused(folder, &resume, &["cannot open the data", "meta.json"]);
    fs::rename(&away, &data).unwrap();
    let last = run.join("ckpt/last.safetensors");
    fs::write(&last, &fs::read(&last).unwrap()[..1000]).unwrap();
    check_refused(folder, &resume, &["last.safetensors"]);
}
