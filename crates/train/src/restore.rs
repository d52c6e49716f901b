//! Saving a run and going on with it.

use std::path::{Path, PathBuf};

use slimbed_files::{IoContext, link_atomically};

use crate::checkpoint::{self, Header, Phase, damaged};
use crate::early_stop::Verdict;
use crate::observer::Observer;
use crate::run_dir::{read_json, write_json};
use crate::times::Times;
use crate::{TrainError, Trainer};

/// Where a run keeps its two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPaths {
    /// The best on the validation split.
    pub best: PathBuf,
    /// The newest.
    pub last: PathBuf,
    /// The [`Times`]; written after each checkpoint.
    pub times: PathBuf,
}

impl Trainer<'_> {
    /// Goes on from the newest checkpoint; where none was ever written, from the start.
    ///
    /// # Errors
    /// When a checkpoint is missing or damaged, or belongs to other settings or another seed.
    pub fn restore(&mut self, paths: &CheckpointPaths) -> Result<(), TrainError> {
        let Some(header) = newest(paths)? else {
            return Ok(());
        };
        self.check_header(&paths.last, &header)?;
        // What is exported is the best, loaded by `load_best`.
        if header.phase == Phase::Training {
            checkpoint::load(&paths.last, &mut self.learner)?;
        }
        if exists(&paths.times)? {
            self.times = read_json(&paths.times)?;
        }
        self.phase = header.phase;
        self.position = header.position;
        self.log = header.log;
        self.n_samples = header.n_samples;
        self.metrics_bytes = header.metrics_bytes;
        self.stop = header.early_stop;
        Ok(())
    }

    /// Brings the learner to the best checkpoint, everything owed to its rows paid.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or is not that of the best validation.
    pub fn load_best(&mut self, paths: &CheckpointPaths) -> Result<(), TrainError> {
        let header = checkpoint::load(&paths.best, &mut self.learner)?;
        self.check_header(&paths.best, &header)?;
        let (found, best) = (header.position.step, self.stop.best());
        if best.is_none_or(|(_, step)| step != found) {
            let expected = best.map_or(0, |(_, step)| step);
            let reason = format!("expected the state after {expected} steps, found {found}");
            return Err(damaged(&paths.best, reason));
        }
        self.learner.settle();
        Ok(())
    }

    /// Brings the learner to the newest checkpoint, everything owed to its rows paid.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or belongs to other settings or another seed.
    pub(crate) fn load_last(&mut self, paths: &CheckpointPaths) -> Result<(), TrainError> {
        let header = checkpoint::load(&paths.last, &mut self.learner)?;
        self.check_header(&paths.last, &header)?;
        self.learner.settle();
        Ok(())
    }

    /// Saves the newest state, and as the best one too when `verdict` says so.
    ///
    /// The best is written first: whatever `last` says has been found is there. It is one file then,
    /// with two names. Nothing of the learner changes, and the lazy updates still owed stay owed.
    pub(crate) fn save(
        &mut self,
        paths: &CheckpointPaths,
        verdict: Verdict,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        self.metrics_bytes = observer.sync()?;
        let header = Header {
            phase: self.phase,
            log: self.log,
            n_samples: self.n_samples,
            metrics_bytes: self.metrics_bytes,
            ..Header::new(&self.learner, self.position, &self.stop, &self.config)
        };
        if verdict == Verdict::Best {
            checkpoint::save(&paths.best, &self.learner, header)?;
            link_atomically(&paths.best, &paths.last)?;
        } else {
            checkpoint::save(&paths.last, &self.learner, header)?;
        }
        write_json(&paths.times, &self.times_now())
    }

    pub(crate) fn times_now(&self) -> Times {
        let total_secs = self.times.total_secs + self.started.elapsed().as_secs_f64();
        Times {
            total_secs,
            ..self.times
        }
    }

    fn check_header(&self, path: &Path, header: &Header) -> Result<(), TrainError> {
        let (seed, position) = (self.learner.seed.get(), header.position);
        if header.seed != seed {
            let found = header.seed;
            return Err(damaged(
                path,
                format!("expected seed {seed}, found {found}"),
            ));
        }
        if header.config != self.config {
            return Err(damaged(path, "was written with other settings"));
        }
        if position.batch >= self.steps_per_epoch {
            let (n, found) = (self.steps_per_epoch, position.batch);
            let reason = format!("expected fewer than {n} batches of the epoch, found {found}");
            return Err(damaged(path, reason));
        }
        Ok(())
    }
}

/// What the newest checkpoint says; `None` where none was ever written.
///
/// # Errors
/// When the file is damaged or no longer there, or the best one it knows of is not.
pub fn newest(paths: &CheckpointPaths) -> Result<Option<Header>, TrainError> {
    let missing = |path| Err(damaged(path, "is missing, although the run has written it"));
    if !exists(&paths.last)? {
        return match exists(&paths.times)? {
            true => missing(&paths.last),
            false => Ok(None),
        };
    }
    let header = checkpoint::read_header(&paths.last)?;
    if header.early_stop.best().is_some() && !exists(&paths.best)? {
        return missing(&paths.best);
    }
    Ok(Some(header))
}

fn exists(path: &Path) -> Result<bool, TrainError> {
    Ok(path.try_exists().at("look for", path)?)
}
