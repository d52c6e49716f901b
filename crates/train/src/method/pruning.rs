//! The phases of pruning: which values stay is found, then they are trained again.

use std::any::Any;
use std::path::{Path, PathBuf};

use serde_json::json;
use slimbed_baselines::DeepLightEmbedding;
use slimbed_compact::{Pruned, Pruning, StoredTables};
use slimbed_embedding::EmbeddingLayer;
use slimbed_rng::Seed;

use super::config::Retrain;
use super::file_size::FileSize;
use super::layers::pep_layer;
use super::ledger::{PhaseRecord, RECORD, n_nonzero, record, record_of};
use super::phase::Phase;
use super::rows::{LayerRows, source_fields, trained_rows};
use super::search::{Extent, Search, kept_file, write_kept};
use super::target::Target;
use crate::run::Job;
use crate::run_dir::write_json;
use crate::{RunDir, TrainError};

/// The last fit of a schedule prunes one of so many values at a time.
const FINAL_STEP: u64 = 200;

impl Job<'_> {
    /// Searches with PEP from the rows at `start`, and makes the layer of the values that are kept.
    pub(super) fn after_search(
        &self,
        start: Option<PathBuf>,
        ledger: &mut Vec<PhaseRecord>,
    ) -> Result<(Box<dyn EmbeddingLayer>, Option<PathBuf>), TrainError> {
        let target = self.target()?;
        let folder = match self.config.method.search.as_str() {
            "" => self.search(start.as_deref(), target, ledger)?,
            other => {
                let folder = PathBuf::from(other).join("search");
                ledger.extend(record_of(&folder)?);
                folder
            }
        };
        let kept = kept_file(&folder, target);
        match self.config.method.retrain {
            Retrain::Auto | Retrain::Initial => self
                .masked(&kept, start.as_deref(), self.seed)
                .map(|l| (l, start)),
            Retrain::Fresh => {
                // A seed that no run is given: the rows are others, the dense weights the same.
                let seed = Seed::new(!self.seed.get());
                self.masked(&kept, None, seed).map(|layer| (layer, None))
            }
            Retrain::Trained => self
                .masked(&kept, Some(&kept), self.seed)
                .map(|l| (l, start)),
        }
    }

    /// Runs PEP's search; returns its folder.
    fn search(
        &self,
        start: Option<&Path>,
        target: Target,
        ledger: &mut Vec<PhaseRecord>,
    ) -> Result<PathBuf, TrainError> {
        let folder = self.dir.path().join("search");
        if let Some(record) = record_of(&folder)? {
            ledger.push(record);
            return Ok(folder);
        }
        let mut config = self.early_config();
        // Pruning lowers the AUC: that must not end it.
        config.train.patience = 0;
        let n_steps = self.steps_per_epoch() * config.train.epochs;
        let rows = trained_rows(self.dataset, &config, self.seed, start)?;
        let layer = pep_layer(&config, rows, n_steps)?;
        let phase = Phase {
            name: "search",
            config: config.clone(),
            layer,
            dense: start,
        };
        // Of the run's own settings, those of the search may have other epochs.
        let file = FileSize::new(self.dataset, self.config, self.seed)?;
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched, n_done| {
            let extent = Extent {
                own: target,
                n_steps,
                n_done,
            };
            Search::new(watched, file, &config, &folder, extent)
        })?;
        trainer.load_last(&RunDir::at(&folder).checkpoints())?;
        let record = record("search", &trainer, &outcome);
        write_json(&folder.join(RECORD), &record)?;
        ledger.push(record);
        Ok(folder)
    }

    /// The layer that prunes the rows at `dense` while it trains them on.
    ///
    /// What is kept in the end is fitted to the target on these rows, and again on those that are shipped.
    pub(super) fn pruned_on_schedule(
        &self,
        dense: &Path,
    ) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
        let rows = trained_rows(self.dataset, self.config, self.seed, Some(dense))?;
        let n_kept = self.fitted(&self.embeddings_at(dense)?, self.target()?)?;
        let n_steps = self.steps_per_epoch() * self.config.train.epochs;
        let schedule = self.config.deeplight.schedule(n_kept, n_steps)?;
        Ok(Box::new(DeepLightEmbedding::new(rows, schedule)))
    }

    /// Prunes a layer of [`pruned_on_schedule`](Self::pruned_on_schedule) until it meets the target: other values
    /// than those of the dense rows may take a little more room.
    pub(crate) fn fit_schedule(&self, layer: &mut dyn EmbeddingLayer) -> Result<(), TrainError> {
        let any: &mut dyn Any = layer;
        let Some(deeplight) = any.downcast_mut::<DeepLightEmbedding>() else {
            return Ok(());
        };
        let fields = source_fields(self.dataset, self.config.model.dim);
        let target = self.target()?;
        let file = FileSize::new(self.dataset, self.config, self.seed)?;
        loop {
            let rows = LayerRows {
                fields: &fields,
                layer: deeplight,
            };
            let n_kept = n_nonzero(deeplight);
            let (bytes, budget) = match target {
                Target::Values(n) => (n_kept, n),
                Target::Tables(most) | Target::File { bytes: most, .. } => {
                    (target.bytes_of(&rows, &file, self.config)?, most)
                }
            };
            if bytes <= budget || n_kept <= 1 {
                return Ok(());
            }
            deeplight.prune(n_kept - n_kept.div_ceil(FINAL_STEP));
        }
    }

    /// The tables of an artefact without the first-order weights behind them.
    fn embeddings_at(&self, path: &Path) -> Result<StoredTables, TrainError> {
        Ok(StoredTables::open(path)?.first(self.dataset.fields().len()))
    }

    /// How many values of `tables` the target has room for when the smallest are dropped.
    fn fitted(&self, tables: &StoredTables, target: Target) -> Result<u64, TrainError> {
        let file = FileSize::new(self.dataset, self.config, self.seed)?;
        target.fit(self.n_values(), self.config, |n| {
            target.bytes_of(&self.pruned(tables, n)?, &file, self.config)
        })
    }

    fn pruned<'t>(&self, tables: &'t StoredTables, n_kept: u64) -> Result<Pruned<'t>, TrainError> {
        let share = 1.0 - n_kept as f64 / self.n_values() as f64;
        Ok(Pruned::new(tables, Pruning::ShareOfAll(share))?)
    }

    /// Prunes the smallest values of the rows at `dense`, and makes the layer of the others.
    pub(super) fn after_pruning(
        &self,
        dense: &Path,
        start: Option<PathBuf>,
    ) -> Result<(Box<dyn EmbeddingLayer>, Option<PathBuf>), TrainError> {
        let target = self.target()?;
        let kept = kept_file(dense.parent().unwrap_or(dense), target);
        if !kept.is_file() {
            let tables = self.embeddings_at(dense)?;
            let n_kept = self.fitted(&tables, target)?;
            let training = json!({"method": "magnitude", "phase": "dense", "n_kept": n_kept});
            write_kept(&kept, &self.pruned(&tables, n_kept)?, training)?;
        }
        match self.config.method.retrain {
            Retrain::Auto | Retrain::Trained => {
                let layer = self.masked(&kept, Some(&kept), self.seed)?;
                Ok((layer, Some(dense.to_owned())))
            }
            Retrain::Initial => self
                .masked(&kept, start.as_deref(), self.seed)
                .map(|l| (l, start)),
            Retrain::Fresh => {
                let seed = Seed::new(!self.seed.get());
                self.masked(&kept, None, seed).map(|layer| (layer, None))
            }
        }
    }
}
