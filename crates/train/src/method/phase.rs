//! One phase: trained in its folder, from wherever it stands.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use slimbed_data::Split;
use slimbed_embedding::{EmbeddingLayer, MaskedEmbedding};
use slimbed_files::IoContext;
use slimbed_rng::Seed;

use super::ledger::{PhaseRecord, RECORD, record, record_of};
use super::rows::{mask_of, trained_rows};
use super::target::{Target, n_values};
use crate::export::export;
use crate::progress::Watched;
use crate::recorder::Recorder;
use crate::run::Job;
use crate::run_dir::write_json;
use crate::trainer::{Outcome, Trainer};
use crate::{Config, RunDir, TrainError};

/// What a phase trains, and from what.
pub struct Phase<'p> {
    pub name: &'static str,
    pub config: Config,
    pub layer: Box<dyn EmbeddingLayer>,
    pub dense: Option<&'p Path>,
}

impl Job<'_> {
    /// The file that the first phase starts from.
    pub(super) fn warm_start(&self) -> Option<PathBuf> {
        let path = &self.config.method.warm_start;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// Settings of a phase in front of the last.
    pub(super) fn early_config(&self) -> Config {
        let mut config = self.config.clone();
        if config.method.search_epochs > 0 {
            config.train.epochs = config.method.search_epochs;
        }
        config
    }

    /// Trains a layer to its best validation, and writes its rows and the dense weights.
    pub(super) fn trained(
        &self,
        name: &'static str,
        layer: Box<dyn EmbeddingLayer>,
        ledger: &mut Vec<PhaseRecord>,
    ) -> Result<PathBuf, TrainError> {
        let folder = self.dir.path().join(name);
        let rows = folder.join("rows.safetensors");
        if let Some(record) = record_of(&folder)? {
            ledger.push(record);
            return Ok(rows);
        }
        let config = self.early_config();
        let dense = self.warm_start();
        let phase = Phase {
            name,
            config,
            layer,
            dense: dense.as_deref(),
        };
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched, _| Ok(watched))?;
        trainer.load_best(&RunDir::at(&folder).checkpoints())?;
        self.finish_phase(name, trainer, &outcome, &folder, ledger)?;
        Ok(rows)
    }

    /// Writes the rows of a phase, its dense weights and its record.
    pub(super) fn finish_phase(
        &self,
        name: &'static str,
        trainer: Trainer<'_>,
        outcome: &Outcome,
        folder: &Path,
        ledger: &mut Vec<PhaseRecord>,
    ) -> Result<(), TrainError> {
        let record = record(name, &trainer, outcome);
        let spec = trainer.spec().clone();
        let (method, seed) = (self.config.method.name, self.seed.get());
        let training = json!({"method": method, "phase": name, "seed": seed});
        let rows = folder.join("rows.safetensors");
        export(&rows, trainer.into_learner(), &spec, self.dataset, training)?;
        write_json(&folder.join(RECORD), &record)?;
        ledger.push(record);
        Ok(())
    }

    /// The layer of the values that the artefact at `kept` keeps, from the rows at `start` or fresh ones.
    pub(super) fn masked(
        &self,
        kept: &Path,
        start: Option<&Path>,
        seed: Seed,
    ) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
        let mask = mask_of(kept, self.dataset, self.config.model.dim)?;
        let rows = trained_rows(self.dataset, self.config, seed, start)?;
        Ok(Box::new(MaskedEmbedding::new(rows, mask)?))
    }

    /// Trains a phase in its folder from wherever it stands; `watch` is told how many steps that is.
    pub(super) fn run_phase<O: crate::Observer>(
        &self,
        phase: Phase<'_>,
        folder: &Path,
        watch: impl FnOnce(Watched, u64) -> Result<O, TrainError>,
    ) -> Result<(Trainer<'_>, Outcome), TrainError> {
        fs::create_dir_all(folder).at("create folder", folder)?;
        let dir = RunDir::at(folder);
        let Phase {
            name,
            config,
            layer,
            dense,
        } = phase;
        let n_samples = self.dataset.n_rows(Split::Train) * config.train.epochs;
        let mut trainer =
            Trainer::with_layer(self.dataset, &config, self.seed, self.device, layer)?;
        if let Some(path) = dense {
            trainer.import_dense(path)?;
        }
        trainer.restore(&dir.checkpoints())?;
        let recorder = Recorder::open(&dir, trainer.metrics_bytes())?;
        let watched = Watched::new(name, recorder, n_samples, trainer.n_samples());
        let mut observer = watch(watched, trainer.position.step)?;
        let outcome = trainer.run(&dir.checkpoints(), &mut observer)?;
        Ok((trainer, outcome))
    }

    /// How far the run prunes.
    pub(super) fn target(&self) -> Result<Target, TrainError> {
        Target::of(self.dataset, self.config, self.seed)?.ok_or_else(|| TrainError::Setting {
            key: "method.keep".into(),
            expected: "a share of the values, or method.budget or method.ratio: pruning has to know how far".into(),
            found: "none of them".into(),
            hint: String::new(),
        })
    }

    /// Values of the plain tables.
    pub(super) fn n_values(&self) -> u64 {
        n_values(self.dataset, self.config.model.dim)
    }

    /// Steps of an epoch.
    pub(super) fn steps_per_epoch(&self) -> u64 {
        let n_rows = self.dataset.n_rows(Split::Train);
        n_rows.div_ceil(self.config.train.batch_size as u64)
    }
}
