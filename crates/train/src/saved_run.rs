//! A run that has begun, found in its folder.

use std::path::Path;

use crate::checkpoint::{Phase, Position};
use crate::restore::newest;
use crate::run_dir::{read_json, run_file};
use crate::{Config, Report, RunDir, RunInfo, TrainError};

/// A run that has begun, in this process or another.
#[derive(Clone, Debug)]
pub struct SavedRun {
    dir: RunDir,
    info: RunInfo,
    config: Config,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// There is no checkpoint yet: it begins anew.
    New,
    /// It has steps to take.
    Training(Position),
    /// All steps are taken; export and scoring are left.
    Trained,
    /// It has ended with this report.
    Finished(Box<Report>),
}

impl SavedRun {
    /// Reads what the folder at `path` says of its run.
    ///
    /// # Errors
    /// When it is not the folder of a run, or a file in it is damaged.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let dir = RunDir::at(path);
        if !dir.info().is_file() {
            let reason = "expected the folder of a run, found no `run.json` in it";
            return Err(run_file(path, reason));
        }
        Ok(Self {
            info: RunInfo::read(&dir.info())?,
            config: dir.read_config()?,
            dir,
        })
    }

    /// Its folder.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Its seed, device and data.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How far it has come.
    ///
    /// # Errors
    /// When a checkpoint is missing or damaged, or the report is.
    pub fn standing(&self) -> Result<Standing, TrainError> {
        if self.dir.report().is_file() {
            return Ok(Standing::Finished(read_json(&self.dir.report())?));
        }
        Ok(match newest(&self.dir.checkpoints())? {
            None => Standing::New,
            Some(header) => match header.phase {
                Phase::Training => Standing::Training(header.position),
                Phase::Trained => Standing::Trained,
            },
        })
    }
}
