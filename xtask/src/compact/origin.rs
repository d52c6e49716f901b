//! Where exact rows and a model come from: a run's folder, or an artefact.

use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::Device;
use slimbed_compact::{ArtefactError, StoredTables};
use slimbed_data::Dataset;
use slimbed_files::{AtomicDir, IoContext};
use slimbed_train::{SavedRun, Standing, rebuild_exact};

use crate::failure::BadInput;

/// An artefact to be compacted, and the data it is measured on.
pub struct Origin {
    path: PathBuf,
    dataset: Option<Dataset>,
    /// Holds an artefact that was made for the time of the command.
    _temporary: Option<AtomicDir>,
}

impl Origin {
    /// Finds the exact rows of the run in the folder `input`, or takes the artefact `input`; `data` goes before
    /// the run's own. What has to be made for the time of the command goes beside `out`.
    ///
    /// # Errors
    /// When the run is not finished, or something is missing or damaged.
    pub fn open(input: &Path, data: Option<&Path>, out: &Path) -> anyhow::Result<Self> {
        if input.is_dir() {
            return Self::of_run(&SavedRun::open(input)?, data, out);
        }
        Ok(Self {
            path: input.to_owned(),
            dataset: data.map(Dataset::open).transpose()?,
            _temporary: None,
        })
    }

    fn of_run(saved: &SavedRun, data: Option<&Path>, out: &Path) -> anyhow::Result<Self> {
        let (dir, info) = (saved.dir(), saved.info());
        if !matches!(saved.standing()?, Standing::Finished(_)) {
            let run = dir.path().display();
            let message =
                format!("{run} is not finished; `cargo xtask train --resume {run}` ends it");
            return Err(BadInput(message).into());
        }
        let data = data.unwrap_or(&info.data_dir);
        let dataset = Dataset::open(data)
            .with_context(|| format!("cannot open the data of {}", dir.path().display()))?;
        let kept = dir.exact();
        if kept.is_file() {
            return Ok(Self {
                path: kept,
                dataset: Some(dataset),
                _temporary: None,
            });
        }
        let folder = AtomicDir::create(&out.with_extension("exact"))?;
        let path = folder.path().join("exact.safetensors");
        eprintln!("note: the exact rows are taken from the best checkpoint");
        rebuild_exact(saved, &dataset, &Device::Cpu, &path)?;
        Ok(Self {
            path,
            dataset: Some(dataset),
            _temporary: Some(folder),
        })
    }

    /// The artefact.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn n_bytes(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.path)
            .at("read size of", &self.path)?
            .len())
    }

    /// What it is measured on.
    pub fn dataset(&self) -> Option<&Dataset> {
        self.dataset.as_ref()
    }

    /// Its rows.
    ///
    /// # Errors
    /// When it is damaged, or a table cannot be stored anew.
    pub fn source(&self) -> Result<StoredTables, ArtefactError> {
        StoredTables::open(&self.path)
    }
}
