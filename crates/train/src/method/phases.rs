//! The phases of a method: what is trained before the layer whose rows are shipped.
//!
//! A phase has a folder of its own in the run's, with metrics, checkpoints and, when it is done, `phase.json`; what
//! it leaves for the next one is an artefact beside it. So a run that was stopped goes on in the phase it was in.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use slimbed_amtl::{AmtlEmbedding, ZeroSize};
use slimbed_compact::{Pruned, Pruning, StoredTables};
use slimbed_data::Split;
use slimbed_embedding::{EmbeddingLayer, MaskedEmbedding, PlainEmbedding, TrainedRows};
use slimbed_files::IoContext;
use slimbed_rng::Seed;

use super::config::{MethodKind, Retrain};
use super::layers::{amtl_layer, mlet_layer, pep_layer};
use super::ledger::{PhaseRecord, RECORD, record, record_of};
use super::rows::{LayerRows, mask_of, source_fields, trained_rows};
use super::search::{Search, kept_file, write_kept};
use super::target::{Target, n_values, stored_bytes};
use crate::export::export;
use crate::progress::Watched;
use crate::recorder::Recorder;
use crate::run::Job;
use crate::run_dir::write_json;
use crate::trainer::{Outcome, Trainer};
use crate::{Config, RunDir, TrainError};

/// The layer whose rows are shipped, and what the rest of the model starts from.
pub struct Final {
    pub layer: Box<dyn EmbeddingLayer>,
    /// Artefact with the dense weights to start from.
    pub dense: Option<PathBuf>,
    /// The phases so far.
    pub ledger: Vec<PhaseRecord>,
}

/// What a phase trains, and from what.
struct Phase<'p> {
    name: &'static str,
    config: Config,
    layer: Box<dyn EmbeddingLayer>,
    dense: Option<&'p Path>,
}

impl Job<'_> {
    /// Trains every phase but the last, those that are done excepted, and makes the layer of the last.
    ///
    /// # Errors
    /// When a phase fails, or the settings ask for what the method cannot do.
    pub fn final_layer(&self) -> Result<Final, TrainError> {
        let mut ledger = Vec::new();
        let warm = self.warm_start();
        let rows = || trained_rows(self.dataset, self.config, self.seed, warm.as_deref());
        let (layer, dense): (Box<dyn EmbeddingLayer>, _) = match self.config.method.name {
            MethodKind::None => (Box::new(PlainEmbedding::of(rows()?)), warm.clone()),
            MethodKind::Amtl => match Target::of(&self.config.method, self.n_values()) {
                None => {
                    let layer = amtl_layer(self.dataset, self.config, rows()?, self.seed, 0)?;
                    (layer, warm.clone())
                }
                Some(target) => {
                    let sized = self.sized(rows()?, target, &mut ledger)?;
                    (self.masked(&sized, Some(&sized), self.seed)?, Some(sized))
                }
            },
            MethodKind::Mlet => (mlet_layer(self.dataset, self.config, self.seed)?, None),
            MethodKind::Pep => self.after_search(warm.clone(), &mut ledger)?,
            MethodKind::MletPep => {
                let layer = mlet_layer(self.dataset, self.config, self.seed)?;
                let wide = self.trained("wide", layer, &mut ledger)?;
                self.after_search(Some(wide), &mut ledger)?
            }
            MethodKind::Magnitude => {
                let layer = Box::new(PlainEmbedding::of(rows()?));
                let dense = self.trained("dense", layer, &mut ledger)?;
                self.after_pruning(&dense, warm.clone())?
            }
        };
        Ok(Final {
            layer,
            dense,
            ledger,
        })
    }

    /// The file that the first phase starts from.
    fn warm_start(&self) -> Option<PathBuf> {
        let path = &self.config.method.warm_start;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// Settings of a phase in front of the last.
    fn early_config(&self) -> Config {
        let mut config = self.config.clone();
        if config.method.search_epochs > 0 {
            config.train.epochs = config.method.search_epochs;
        }
        config
    }

    /// Trains a layer to its best validation, and writes its rows and the dense weights.
    fn trained(
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

    /// Trains AMTL to the target, fits its sizes to it exactly, and writes its rows and the dense weights.
    fn sized(
        &self,
        rows: TrainedRows,
        target: Target,
        ledger: &mut Vec<PhaseRecord>,
    ) -> Result<PathBuf, TrainError> {
        let folder = self.dir.path().join("sizes");
        let file = folder.join("rows.safetensors");
        if let Some(record) = record_of(&folder)? {
            ledger.push(record);
            return Ok(file);
        }
        let mut config = self.early_config();
        // Smaller sizes lower the AUC: that must not end it.
        config.train.patience = 0;
        let n_steps = self.steps_per_epoch() * config.train.epochs;
        let layer = amtl_layer(self.dataset, &config, rows, self.seed, n_steps)?;
        let dense = self.warm_start();
        let phase = Phase {
            name: "sizes",
            config,
            layer,
            dense: dense.as_deref(),
        };
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched, _| Ok(watched))?;
        trainer.load_last(&RunDir::at(&folder).checkpoints())?;
        let layer: &mut dyn Any = trainer.learner_mut().embedding.as_mut();
        if let Some(amtl) = layer.downcast_mut::<AmtlEmbedding>() {
            let fields = source_fields(self.dataset, self.config.model.dim);
            // A value of every row, unless rows may be empty: fewer cannot be asked for.
            let least = match self.config.amtl.zero_size {
                ZeroSize::Never => self.n_values() / self.config.model.dim as u64,
                ZeroSize::Allowed => 0,
            };
            if let Target::Values(n_kept) = target
                && n_kept < least
            {
                return Err(TrainError::Setting {
                    key: "method.keep".into(),
                    expected: format!(
                        "{least} values or more, one a row, or amtl.zero_size=allowed"
                    ),
                    found: n_kept.to_string(),
                    hint: String::new(),
                });
            }
            let n_kept = target.fit(self.n_values(), self.config, |n| {
                amtl.fit(n.max(least))?;
                let rows = LayerRows {
                    fields: &fields,
                    layer: amtl,
                };
                stored_bytes(&rows, self.config)
            })?;
            amtl.fit(n_kept.max(least))?;
        }
        self.finish_phase("sizes", trainer, &outcome, &folder, ledger)?;
        Ok(file)
    }

    /// Writes the rows of a phase, its dense weights and its record.
    fn finish_phase(
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

    /// Searches with PEP from the rows at `start`, and makes the layer of the values that are kept.
    fn after_search(
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

    /// Prunes the smallest values of the rows at `dense`, and makes the layer of the others.
    fn after_pruning(
        &self,
        dense: &Path,
        start: Option<PathBuf>,
    ) -> Result<(Box<dyn EmbeddingLayer>, Option<PathBuf>), TrainError> {
        let target = self.target()?;
        let kept = kept_file(dense.parent().unwrap_or(dense), target);
        if !kept.is_file() {
            let tables = StoredTables::open(dense)?;
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

    fn masked(
        &self,
        kept: &Path,
        start: Option<&Path>,
        seed: Seed,
    ) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
        let mask = mask_of(kept, self.dataset, self.config.model.dim)?;
        let rows = trained_rows(self.dataset, self.config, seed, start)?;
        Ok(Box::new(MaskedEmbedding::new(rows, mask)?))
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
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched, n_done| {
            Search::new(watched, self.dataset, &config, &folder, n_steps, n_done)
        })?;
        trainer.load_last(&RunDir::at(&folder).checkpoints())?;
        let record = record("search", &trainer, &outcome);
        write_json(&folder.join(RECORD), &record)?;
        ledger.push(record);
        Ok(folder)
    }

    /// Trains a phase in its folder from wherever it stands; `watch` is told how many steps that is.
    fn run_phase<O: crate::Observer>(
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

    fn target(&self) -> Result<Target, TrainError> {
        Target::of(&self.config.method, self.n_values()).ok_or_else(|| TrainError::Setting {
            key: "method.keep".into(),
            expected: "a share of the values, or method.budget or method.ratio: pruning has to know how far".into(),
            found: "none of them".into(),
            hint: String::new(),
        })
    }

    fn n_values(&self) -> u64 {
        n_values(self.dataset, self.config.model.dim)
    }

    fn steps_per_epoch(&self) -> u64 {
        let n_rows = self.dataset.n_rows(Split::Train);
        n_rows.div_ceil(self.config.train.batch_size as u64)
    }
}
