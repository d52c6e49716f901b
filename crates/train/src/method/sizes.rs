//! The phase of AMTL and AutoEmb in front of the last: sizes of rows are learned and fitted to the target.

use std::any::Any;
use std::path::PathBuf;

use slimbed_amtl::{AmtlEmbedding, ZeroSize};
use slimbed_baselines::AutoEmbEmbedding;
use slimbed_embedding::{EmbeddingError, EmbeddingLayer};

use super::config::MethodKind;
use super::file_size::FileSize;
use super::ledger::{PhaseRecord, record_of};
use super::phase::Phase;
use super::rows::{LayerRows, source_fields};
use super::target::Target;
use crate::run::Job;
use crate::{Config, RunDir, TrainError};

impl Job<'_> {
    /// Trains the layer that `layer` makes for its settings and a number of steps, fits its sizes to the target
    /// exactly, and writes its rows and the dense weights.
    pub(super) fn sized(
        &self,
        layer: impl Fn(&Config, u64) -> Result<Box<dyn EmbeddingLayer>, TrainError>,
        target: Option<Target>,
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
        let layer = layer(&config, n_steps)?;
        self.check_sizes(layer.as_ref(), target)?;
        let dense = self.warm_start();
        let phase = Phase {
            name: "sizes",
            config,
            layer,
            dense: dense.as_deref(),
        };
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched, _| Ok(watched))?;
        trainer.load_last(&RunDir::at(&folder).checkpoints())?;
        if let Some(target) = target {
            self.fit_sizes(trainer.learner_mut().embedding.as_mut(), target)?;
        }
        self.finish_phase("sizes", trainer, &outcome, &folder, ledger)?;
        Ok(file)
    }

    /// Refuses a target of fewer values than the smallest sizes have.
    fn check_sizes(
        &self,
        layer: &dyn EmbeddingLayer,
        target: Option<Target>,
    ) -> Result<(), TrainError> {
        let least = self.least_sizes(layer);
        match target {
            Some(Target::Values(n_kept)) if n_kept < least => {
                let setting = match self.config.method.name {
                    MethodKind::Amtl => ", or amtl.zero_size=allowed",
                    _ => "",
                };
                Err(TrainError::Setting {
                    key: "method.keep".into(),
                    expected: format!(
                        "{least} values or more, the smallest size of every row{setting}"
                    ),
                    found: n_kept.to_string(),
                    hint: String::new(),
                })
            }
            _ => Ok(()),
        }
    }

    fn fit_sizes(&self, layer: &mut dyn EmbeddingLayer, target: Target) -> Result<(), TrainError> {
        let least = self.least_sizes(layer);
        let fields = source_fields(self.dataset, self.config.model.dim);
        let file = FileSize::new(self.dataset, self.config, self.seed)?;
        let n_kept = target.fit(self.n_values(), self.config, |n| {
            keep(layer, n.max(least))?;
            let rows = LayerRows {
                fields: &fields,
                layer,
            };
            target.bytes_of(&rows, &file, self.config)
        })?;
        Ok(keep(layer, n_kept.max(least))?)
    }

    /// The fewest values a layer can keep: the smallest size of every row.
    fn least_sizes(&self, layer: &dyn EmbeddingLayer) -> u64 {
        let any: &dyn Any = layer;
        match any.downcast_ref::<AutoEmbEmbedding>() {
            Some(autoemb) => autoemb.n_least(),
            None => match self.config.amtl.zero_size {
                ZeroSize::Never => self.n_rows(),
                ZeroSize::Allowed => 0,
            },
        }
    }

    fn n_rows(&self) -> u64 {
        self.n_values() / self.config.model.dim as u64
    }
}

/// Chooses the sizes of a layer so that it keeps at most `n` values.
fn keep(layer: &mut dyn EmbeddingLayer, n: u64) -> Result<(), EmbeddingError> {
    let any: &mut dyn Any = layer;
    if let Some(amtl) = any.downcast_mut::<AmtlEmbedding>() {
        amtl.fit(n)?;
    } else if let Some(autoemb) = any.downcast_mut::<AutoEmbEmbedding>() {
        autoemb.fit(n)?;
    }
    Ok(())
}
