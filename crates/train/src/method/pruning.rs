//! The phases of pruning: which values stay is found, then they are trained again.

use std::path::{Path, PathBuf};

use serde_json::json;
use slimbed_compact::{Pruned, Pruning, StoredTables};
use slimbed_embedding::EmbeddingLayer;
use slimbed_rng::Seed;

use super::config::Retrain;
use super::layers::pep_layer;
use super::ledger::{PhaseRecord, RECORD, record, record_of};
use super::phase::Phase;
use super::rows::trained_rows;
use super::search::{Search, kept_file, write_kept};
use super::target::stored_bytes;
use crate::run::Job;
use crate::run_dir::write_json;
use crate::{RunDir, TrainError};

impl Job<'_> {
    /// Searches with PEP from the rows at `start`, and makes the layer of the values that are kept.
    pub(super) fn after_search(
        &self,
        start: Option<PathBuf>,
        ledger: &mut Vec<PhaseRecord>,
    ) -> Result<(Box<dyn EmbeddingLayer>, Option<PathBuf>), TrainError> {
        let target = self.target()?;
        let folder = match self.config.method.search.as_str() {
            "" => self.search(start.as_deref(), ledger)?,
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
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched| {
            Search::new(watched, self.dataset, &config, &folder, n_steps)
        })?;
        trainer.load_last(&RunDir::at(&folder).checkpoints())?;
        let record = record("search", &trainer, &outcome);
        write_json(&folder.join(RECORD), &record)?;
        ledger.push(record);
        Ok(folder)
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
            let tables = StoredTables::open(dense)?.first(self.dataset.fields().len());
            let n_values = self.n_values();
            let pruned = |n: u64| {
                let share = 1.0 - n as f64 / n_values as f64;
                Pruned::new(&tables, Pruning::ShareOfAll(share))
            };
            let bytes_of = |n| stored_bytes(&pruned(n)?, self.config);
            let n_kept = target.fit(n_values, self.config, bytes_of)?;
            let training = json!({"method": "magnitude", "phase": "dense", "n_kept": n_kept});
            write_kept(&kept, &pruned(n_kept)?, training)?;
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
