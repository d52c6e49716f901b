//! When runs are killed, and where that turned out to be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

use slimbed_rng::Stream;

use crate::world::World;

/// Phases in front of the last, each with a folder of its own in the run's.
const EARLY_PHASES: [&str; 4] = ["wide", "dense", "search", "sizes"];

/// When to kill.
#[derive(Debug)]
pub enum Moment {
    /// When the logs have this many bytes.
    Logged(u64),
    /// While the n-th file that is seen is being written.
    Writing(u64),
    /// After some time.
    After(Duration),
}

impl Moment {
    /// A moment at some share of a whole run, of the kinds in turn.
    pub fn at(share: f64, kind: u64, world: &World) -> Self {
        match kind % 3 {
            0 => Self::After(world.time.mul_f64(share)),
            1 => Self::Writing(1 + (share * 40.0) as u64),
            _ => Self::Logged((share * log_bytes(&world.reference()) as f64) as u64),
        }
    }

    /// Some moment of a run that has begun.
    pub fn draw(stream: &mut Stream, world: &World, run: &Path) -> Self {
        match stream.below(3) {
            0 => Self::After(world.time.mul_f64(stream.uniform_f64())),
            1 => Self::Writing(1 + stream.below(12)),
            _ => {
                let end = log_bytes(&world.reference());
                let now = log_bytes(run).min(end - 1);
                Self::Logged(now + 1 + stream.below(end - now))
            }
        }
    }

    /// Kills `child` at the moment; the output when it has ended before.
    pub fn kill(&self, mut child: Child, run: &Path) -> Option<Output> {
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
pub struct Kills {
    /// Before the run had a folder.
    early: u64,
    /// Before the first checkpoint of a phase.
    unsaved: u64,
    /// Between two checkpoints, or behind the last.
    saved: u64,
    /// Of all these, while a file was being written.
    writing: u64,
    /// Those of runs with a folder, by phase; `last` is the one that is shipped.
    phases: BTreeMap<&'static str, u64>,
}

impl Kills {
    /// Looks at what the killed process left.
    pub fn count(&mut self, run: &Path) {
        if run.exists() {
            let is_open = |phase: &&&str| {
                let folder = run.join(phase);
                folder.exists() && !folder.join("phase.json").exists()
            };
            let phase = EARLY_PHASES.iter().find(is_open);
            let folder = phase.map_or(run.to_owned(), |phase| run.join(phase));
            *self
                .phases
                .entry(phase.copied().unwrap_or("last"))
                .or_default() += 1;
            let is_saved = folder.join("ckpt/last.safetensors").exists();
            self.saved += u64::from(is_saved);
            self.unsaved += u64::from(!is_saved);
        } else {
            self.early += 1;
        }
        self.writing += u64::from(temporaries(run) > 0);
    }

    /// Kills of runs that had begun.
    pub fn hits(&self) -> u64 {
        self.unsaved + self.saved
    }

    /// Kills in a phase.
    pub fn hits_in(&self, phase: &str) -> u64 {
        self.phases.get(phase).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Self) {
        self.early += other.early;
        self.unsaved += other.unsaved;
        self.saved += other.saved;
        self.writing += other.writing;
        for (phase, n) in &other.phases {
            *self.phases.entry(phase).or_default() += n;
        }
    }
}

/// The folders of a run's phases, its own first.
fn phase_folders(run: &Path) -> impl Iterator<Item = PathBuf> {
    let early = EARLY_PHASES.map(|phase| run.join(phase));
    std::iter::once(run.to_owned()).chain(early)
}

/// Bytes of the logs of all phases.
fn log_bytes(run: &Path) -> u64 {
    let logs = phase_folders(run).map(|folder| folder.join("metrics.jsonl"));
    logs.map(|log| fs::metadata(log).map_or(0, |file| file.len()))
        .sum()
}

/// Half-written files in a run's folders, by whatever name.
pub fn temporaries(run: &Path) -> usize {
    let parts = ["", "ckpt", "export"];
    let folders = phase_folders(run).flat_map(|folder| parts.map(|part| folder.join(part)));
    let entries = folders.flat_map(fs::read_dir).flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .count()
}
