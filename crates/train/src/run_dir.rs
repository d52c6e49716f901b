//! The folder a run leaves behind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use slimbed_files::{FileError, IoContext, write_atomically};

use crate::{CheckpointPaths, Config, TrainError};

/// `runs/<id>/`:
///
/// ```text
/// config.resolved.toml   every setting of the run
/// env.json               machine, toolchain, data, command line
/// metrics.jsonl          training loss and validation metrics; the same bits for the same seed
/// events.out.tfevents.*  the same and the speed, for TensorBoard
/// ckpt/{last,best}.safetensors
/// export/model.safetensors
/// report.json            the result
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `<root>/<name>`, or `<root>/<name>-2`, `-3`, … when the name is taken.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(root: &Path, name: &str) -> Result<Self, FileError> {
        fs::create_dir_all(root).at("create folder", root)?;
        for number in 1.. {
            let path = match number {
                1 => root.join(name),
                n => root.join(format!("{name}-{n}")),
            };
            match fs::create_dir(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                result => return result.at("create folder", &path).map(|()| Self { path }),
            }
        }
        unreachable!("the loop ends only by returning")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last part of the path.
    pub fn id(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Where the checkpoints go.
    pub fn checkpoints(&self) -> CheckpointPaths {
        CheckpointPaths {
            best: self.path.join("ckpt/best.safetensors"),
            last: self.path.join("ckpt/last.safetensors"),
        }
    }

    /// Where the artefact goes.
    pub fn artefact(&self) -> PathBuf {
        self.path.join("export/model.safetensors")
    }

    /// Where the log of metrics goes.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Writes the resolved settings.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), TrainError> {
        let path = self.path.join("config.resolved.toml");
        let text = toml::to_string(config).map_err(|e| run_file(&path, e))?;
        put(&path, text.as_bytes())
    }

    /// Writes `value` as indented JSON to `<name>`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        let path = self.path.join(name);
        let mut text = serde_json::to_string_pretty(value).map_err(|e| run_file(&path, e))?;
        text.push('\n');
        put(&path, text.as_bytes())
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_atomically(path, |file, temporary| {
        file.write_all(bytes)
            .at("write", temporary)
            .map_err(TrainError::from)
    })
}

fn run_file(path: &Path, reason: impl std::fmt::Display) -> TrainError {
    TrainError::RunFile {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_reused() {
        let root = tempfile::tempdir().unwrap();
        let ids: Vec<_> = (0..3)
            .map(|_| RunDir::create(root.path(), "a").unwrap().id())
            .collect();
        assert_eq!(ids, ["a", "a-2", "a-3"]);
    }

    #[test]
    fn the_resolved_config_reads_back() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), "a").unwrap();
        run.write_config(&Config::default()).unwrap();
        let text = fs::read_to_string(run.path().join("config.resolved.toml")).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }
}
