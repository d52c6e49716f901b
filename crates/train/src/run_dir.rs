//! The folder a run leaves behind.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use slimbed_files::{AtomicDir, IoContext, remove_stale, write_atomically};

use crate::method::EARLY_PHASES;
use crate::{CheckpointPaths, Config, TrainError};

/// `runs/<id>/`:
///
/// ```text
/// config.resolved.toml   every setting of the run
/// run.json               what else it takes to go on: seed, device, data
/// env.json               machine, toolchain, data, command line
/// env-2.json, …          the same of the parts after a resumption
/// metrics.jsonl          training loss and validation metrics; the same bits for the same seed
/// events.out.tfevents.*  the same and the speed, for TensorBoard
/// ckpt/{last,best}.safetensors
/// ckpt/time.json         how long the run has taken
/// export/model.safetensors   what is shipped
/// export/exact.safetensors   the exact rows, with export.keep_exact only
/// search/, sizes/, wide/, dense/   a phase in front of the last: metrics.jsonl, ckpt/, and phase.json when done
/// search/kept-*.safetensors   the values that a search keeps, for each target
/// sizes/rows.safetensors, …   rows and dense weights that the next phase starts from
/// report.json            the result
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

/// Keeps other processes from working on the same run, until it is dropped or the process ends.
#[derive(Debug)]
pub struct RunLock(File);

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing alone leaves the lock to a process that is being started in this very moment and has
        // not closed its copy yet. A failure leaves it to closing.
        let _ = self.0.unlock();
    }
}

impl RunDir {
    /// Makes `<root>/<name>`, or `<root>/<name>-2`, `-3`, … when the name is taken.
    ///
    /// The folder appears with all that `fill` writes into it, or not at all.
    ///
    /// # Errors
    /// When the folder cannot be made; those of `fill`.
    pub fn create(
        root: &Path,
        name: &str,
        fill: impl Fn(&Self) -> Result<(), TrainError>,
    ) -> Result<Self, TrainError> {
        for number in 1.. {
            let path = match number {
                1 => root.join(name),
                n => root.join(format!("{name}-{n}")),
            };
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            let folder = AtomicDir::create(&path)?;
            fill(&Self {
                path: folder.path().to_owned(),
            })?;
            match folder.commit() {
                // Another run was faster.
                Err(_) if path.exists() => {}
                result => return Ok(result.map(|()| Self { path })?),
            }
        }
        unreachable!("the loop ends only by returning")
    }

    /// The folder of an existing run.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Takes the run for this process.
    ///
    /// # Errors
    /// When another process has it, or `run.json` cannot be opened.
    pub fn lock(&self) -> Result<RunLock, TrainError> {
        let path = self.info();
        let file = File::open(&path).at("open", &path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let reason = "another process is working on this run";
                Err(run_file(&self.path, reason))
            }
            // A file system without locks is no reason to refuse.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(RunLock(file)),
        }
    }

    /// Removes what a killed process has left half-written.
    pub fn remove_stale(&self) {
        for phase in [""].into_iter().chain(EARLY_PHASES) {
            for part in ["", "ckpt", "export"] {
                remove_stale(&self.path.join(phase).join(part));
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last part of the path.
    pub fn id(&self) -> String {
        // `runs/x/..` and `.` have no last part of their own.
        let absolute = self.path.canonicalize();
        let path = absolute.as_ref().unwrap_or(&self.path);
        path.file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Where the checkpoints go.
    pub fn checkpoints(&self) -> CheckpointPaths {
        CheckpointPaths {
            best: self.path.join("ckpt/best.safetensors"),
            last: self.path.join("ckpt/last.safetensors"),
            times: self.path.join("ckpt/time.json"),
        }
    }

    /// Where the artefact goes.
    pub fn artefact(&self) -> PathBuf {
        self.path.join("export/model.safetensors")
    }

    /// Where the exact rows go until the artefact has been measured beside them.
    pub fn exact(&self) -> PathBuf {
        self.path.join("export/exact.safetensors")
    }

    /// Where the log of metrics goes.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Where the [`RunInfo`](crate::RunInfo) goes.
    pub fn info(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// Where the result goes.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.json")
    }

    /// Where the environment of the next part of the run goes: the first of `env.json`, `env-2.json`, …
    /// that does not exist.
    pub fn next_environment(&self) -> PathBuf {
        let others = (2..).map(|n| format!("env-{n}.json"));
        let mut paths = std::iter::once("env.json".to_owned())
            .chain(others)
            .map(|name| self.path.join(name));
        let free = paths.find(|path| !path.exists());
        free.unwrap_or_else(|| unreachable!("the names never end"))
    }

    /// Writes the resolved settings.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), TrainError> {
        let path = self.config();
        let text = toml::to_string(config).map_err(|e| run_file(&path, e))?;
        put(&path, text.as_bytes())
    }

    /// Reads the resolved settings.
    ///
    /// # Errors
    /// When the file is missing or holds something else.
    pub fn read_config(&self) -> Result<Config, TrainError> {
        let path = self.config();
        let text = fs::read_to_string(&path).at("read", &path)?;
        let config: Config = toml::from_str(&text).map_err(|e| run_file(&path, e))?;
        config.check()?;
        Ok(config)
    }

    fn config(&self) -> PathBuf {
        self.path.join("config.resolved.toml")
    }
}

/// Writes `value` as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| run_file(path, e))?;
    text.push('\n');
    put(path, text.as_bytes())
}

/// Reads a value from JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = fs::read_to_string(path).at("read", path)?;
    serde_json::from_str(&text).map_err(|e| run_file(path, e))
}

pub(crate) fn run_file(path: &Path, reason: impl std::fmt::Display) -> TrainError {
    TrainError::RunFile {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_atomically(path, |file, temporary| {
        file.write_all(bytes)
            .at("write", temporary)
            .map_err(TrainError::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_reused() {
        let root = tempfile::tempdir().unwrap();
        let create = |_| {
            RunDir::create(root.path(), "a", |run| run.write_config(&Config::default())).unwrap()
        };
        let ids: Vec<_> = (0..3).map(create).map(|run| run.id()).collect();
        assert_eq!(ids, ["a", "a-2", "a-3"]);
        let failed = RunDir::create(root.path(), "b", |run| Err(run_file(run.path(), "full")));
        assert!(failed.unwrap_err().to_string().contains("full"));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn the_resolved_config_reads_back() {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.model.dropout = 0.3;
        config.train.lr = 0.1 + 0.2;
        let run = RunDir::create(root.path(), "a", |run| run.write_config(&config)).unwrap();
        assert_eq!(run.read_config().unwrap(), config);
    }

    #[test]
    fn a_run_belongs_to_one_process() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), "a", |run| write_json(&run.info(), &1)).unwrap();
        let lock = run.lock().unwrap();
        let error = run.lock().unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(lock);
        run.lock().unwrap();
    }
}
