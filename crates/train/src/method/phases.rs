//! The phases of a method: what is trained before the layer whose rows are shipped.
//!
//! A phase has a folder of its own in the run's, with metrics, checkpoints and, when it is done, `phase.json`; what
//! it leaves for the next one is an artefact beside it. So a run that was stopped goes on in the phase it was in.

use std::path::PathBuf;

use slimbed_embedding::{EmbeddingLayer, PlainEmbedding};

use super::config::MethodKind;
use super::layers::{amtl_layer, autoemb_layer, mlet_layer};
use super::ledger::PhaseRecord;
use super::rows::trained_rows;
use super::target::Target;
use crate::run::Job;
use crate::{Config, TrainError};

/// The layer whose rows are shipped, and what the rest of the model starts from.
pub struct Final {
    pub layer: Box<dyn EmbeddingLayer>,
    /// Artefact with the dense weights to start from.
    pub dense: Option<PathBuf>,
    /// The phases so far.
    pub ledger: Vec<PhaseRecord>,
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
            MethodKind::None | MethodKind::Uniform => {
                (Box::new(PlainEmbedding::of(rows()?)), warm.clone())
            }
            MethodKind::Amtl => match Target::of(self.dataset, self.config, self.seed)? {
                None => {
                    let layer = amtl_layer(self.dataset, self.config, rows()?, self.seed, 0)?;
                    (layer, warm.clone())
                }
                Some(target) => {
                    let layer = |config: &Config, n| {
                        amtl_layer(self.dataset, config, rows()?, self.seed, n)
                    };
                    let sized = self.sized(layer, Some(target), &mut ledger)?;
                    (self.masked(&sized, Some(&sized), self.seed)?, Some(sized))
                }
            },
            MethodKind::Autoemb => {
                let target = Target::of(self.dataset, self.config, self.seed)?;
                let layer =
                    |config: &Config, _| autoemb_layer(self.dataset, config, rows()?, self.seed);
                let sized = self.sized(layer, target, &mut ledger)?;
                (self.masked(&sized, Some(&sized), self.seed)?, Some(sized))
            }
            MethodKind::Hash | MethodKind::Qr | MethodKind::MixedDim | MethodKind::Cutoff => {
                (self.planned_layer()?, None)
            }
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
            MethodKind::Deeplight => {
                let layer = Box::new(PlainEmbedding::of(rows()?));
                let dense = self.trained("dense", layer, &mut ledger)?;
                (self.pruned_on_schedule(&dense)?, Some(dense))
            }
        };
        Ok(Final {
            layer,
            dense,
            ledger,
        })
    }
}
