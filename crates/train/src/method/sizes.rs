//! AMTL's phase in front of the last: sizes are learned and fitted to the target.

use std::any::Any;
use std::path::PathBuf;

use slimbed_amtl::{AmtlEmbedding, ZeroSize};
use slimbed_embedding::TrainedRows;

use super::layers::amtl_layer;
use super::ledger::{PhaseRecord, record_of};
use super::phase::Phase;
use super::rows::{LayerRows, source_fields};
use super::target::{Target, stored_bytes};
use crate::run::Job;
use crate::{RunDir, TrainError};

impl Job<'_> {
    /// Trains AMTL to the target, fits its sizes to it exactly, and writes its rows and the dense weights.
    pub(super) fn sized(
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
        let (mut trainer, outcome) = self.run_phase(phase, &folder, |watched| watched)?;
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
}
