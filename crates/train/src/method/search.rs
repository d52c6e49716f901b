//! PEP's search: training until the thresholds have left few enough values.

use std::any::Any;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slimbed_compact::{
    Artefact, ArtefactError, Encoder, Prefer, SourceField, TableSource, Values, pack,
};
use slimbed_data::Dataset;
use slimbed_embedding::{Mask, TrainedRows};
use slimbed_pep::PepEmbedding;

use crate::method::file_size::FileSize;
use crate::method::rows::source_fields;
use crate::method::target::{Target, n_values};
use crate::observer::{Flow, Observer, StepEvent, ValidationEvent};
use crate::progress::Watched;
use crate::{Config, Learner, TrainError};

/// How many times a search counts what is left, if the settings do not say after how many steps.
const CHECKS: u64 = 100;

/// Watches a search, and saves the kept values of every target when it is reached.
///
/// The mask of a target are the values with the largest distance to their threshold at the first count that
/// finds no more than the target; PEP's authors count at every step and take what is left then.
pub struct Search<'a> {
    watched: Watched,
    dataset: &'a Dataset,
    config: &'a Config,
    /// The file that the run is going to ship.
    file: FileSize<'a>,
    /// Folder of the files.
    folder: &'a Path,
    /// Those that are still to be reached, the largest first.
    targets: Vec<Target>,
    n_values: u64,
    every: u64,
    n_steps: u64,
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The run's own target.
    pub own: Target,
    /// Steps at most.
    pub n_steps: u64,
    /// Steps that are done.
    pub n_done: u64,
}

impl<'a> Search<'a> {
    /// Watches a search for the run's own target; those are done whose files in `folder` were written by the
    /// step at which the search goes on.
    ///
    /// A file of a later step is what a process left that was killed behind it: the search comes there again.
    ///
    /// # Errors
    /// When such a file cannot be read.
    pub fn new(
        watched: Watched,
        file: FileSize<'a>,
        config: &'a Config,
        folder: &'a Path,
        extent: Extent,
    ) -> Result<Self, TrainError> {
        let Extent {
            own,
            n_steps,
            n_done,
        } = extent;
        let n_values = n_values(file.dataset(), config.model.dim);
        let values = config.export.values;
        let mut targets = targets(own, config, n_values);
        for at in (0..targets.len()).rev() {
            let step = step_of(&kept_file(folder, targets[at]))?;
            if step.is_some_and(|step| step <= n_done) {
                targets.remove(at);
            }
        }
        targets.sort_by_key(|target| std::cmp::Reverse(target.n_kept(n_values, values)));
        let every = match config.method.check_every {
            0 => n_steps.div_ceil(CHECKS).max(1),
            every => every,
        };
        Ok(Self {
            watched,
            dataset: file.dataset(),
            config,
            file,
            folder,
            targets,
            n_values,
            every,
            n_steps,
        })
    }

    /// Saves the targets that hold more than `n_kept` values.
    fn save_reached(
        &mut self,
        step: u64,
        n_kept: u64,
        pep: &PepEmbedding,
    ) -> Result<(), TrainError> {
        let values = self.config.export.values;
        while let Some(&target) = self.targets.first() {
            if n_kept > target.n_kept(self.n_values, values) {
                break;
            }
            self.save(step, target, pep)?;
            self.targets.remove(0);
        }
        Ok(())
    }

    fn save(&self, step: u64, target: Target, pep: &PepEmbedding) -> Result<(), TrainError> {
        let source = |n| MaskedRows {
            fields: source_fields(self.dataset, self.config.model.dim),
            rows: pep.rows(),
            mask: pep.mask(n),
        };
        let bytes_of = |n| target.bytes_of(&source(n), &self.file, self.config);
        let n_kept = target.fit(self.n_values, self.config, bytes_of)?;
        let training = json!({"method": "pep", "phase": "search", "step": step, "n_kept": n_kept});
        write_kept(&kept_file(self.folder, target), &source(n_kept), training)
    }
}

impl Observer for Search<'_> {
    fn samples(&mut self, n: u64) {
        self.watched.samples(n);
    }

    fn step(&mut self, event: &StepEvent) -> Result<(), TrainError> {
        self.watched.step(event)
    }

    fn validation(&mut self, event: &ValidationEvent<'_>) -> Result<(), TrainError> {
        self.watched.validation(event)
    }

    fn inspect(&mut self, step: u64, learner: &mut Learner) -> Result<Flow, TrainError> {
        let is_last = step >= self.n_steps;
        if !is_last && !step.is_multiple_of(self.every) {
            return Ok(Flow::GoOn);
        }
        learner.embedding.settle();
        let layer: &dyn Any = learner.embedding.as_ref();
        let Some(pep) = layer.downcast_ref::<PepEmbedding>() else {
            return Ok(Flow::End);
        };
        // At the last step all that are left are saved.
        let n_kept = if is_last { 0 } else { pep.n_kept() };
        self.save_reached(step, n_kept, pep)?;
        Ok(if self.targets.is_empty() {
            Flow::End
        } else {
            Flow::GoOn
        })
    }

    fn sync(&mut self) -> Result<u64, TrainError> {
        self.watched.sync()
    }
}

/// The step at which a file of kept values was written; `None` where there is none.
fn step_of(kept: &Path) -> Result<Option<u64>, TrainError> {
    if !kept.is_file() {
        return Ok(None);
    }
    let artefact = Artefact::open(kept)?;
    Ok(artefact.manifest().training["step"].as_u64())
}

/// What the search of a run is for: the run's own target first.
fn targets(own: Target, config: &Config, n_values: u64) -> Vec<Target> {
    let also = config.method.also_keep.iter();
    std::iter::once(own)
        .chain(also.map(|&keep| Target::share(keep, n_values)))
        .collect()
}

/// The file with the kept values of a target.
pub fn kept_file(folder: &Path, target: Target) -> PathBuf {
    folder.join(match target {
        Target::Values(n) => format!("kept-{n}-values.safetensors"),
        Target::Tables(n) => format!("kept-{n}-bytes.safetensors"),
        Target::File { bytes, .. } => format!("kept-{bytes}-bytes-file.safetensors"),
    })
}

/// Writes rows some of which are zero, exactly, and as small as they can be.
pub fn write_kept(
    path: &Path,
    source: &dyn TableSource,
    training: Value,
) -> Result<(), TrainError> {
    let encoder = Encoder {
        values: Values::F32,
        prefer: Prefer::Size,
    };
    let encoders = vec![encoder; source.fields().len()];
    pack(path, source, &encoders, &[], Value::Null, training)?;
    Ok(())
}

/// Trained rows without the values that a mask drops.
struct MaskedRows<'a> {
    fields: Vec<SourceField>,
    rows: &'a TrainedRows,
    mask: Mask,
}

impl TableSource for MaskedRows<'_> {
    fn fields(&self) -> &[SourceField] {
        &self.fields
    }

    fn part(&self, f: usize, _i: usize) -> Result<Vec<f32>, ArtefactError> {
        let mut rows = self.rows.tables()[f].values().to_vec();
        self.mask.apply(f, 0, &mut rows);
        Ok(rows)
    }
}
