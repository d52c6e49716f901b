//! Methods that know what they store before they train: the largest tables that meet the target.

use slimbed_baselines::{FieldPlan, Plan, SharedEmbedding, n_values};
use slimbed_compact::{PartShape, SourceField};
use slimbed_data::Dataset;
use slimbed_embedding::EmbeddingLayer;
use slimbed_rng::Seed;

use super::config::MethodKind;
use super::file_size::{FileSize, Ones};
use super::rows::{field_specs, row_settings, source_fields};
use super::target::{Target, largest};
use crate::export::stored_sharing;
use crate::run::Job;
use crate::{Config, TrainError};

impl Job<'_> {
    /// The layer of tables that are small from the start.
    ///
    /// # Errors
    /// When a setting cannot work, the target cannot be met or memory runs out.
    pub(super) fn planned_layer(&self) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
        if self.warm_start().is_some() {
            return Err(TrainError::Setting {
                key: "method.warm_start".into(),
                expected: "none: the tables have other shapes than plain ones".into(),
                found: self.config.method.warm_start.clone(),
                hint: String::new(),
            });
        }
        let plan = self.plan()?;
        let (fields, rows) = (
            field_specs(self.dataset),
            row_settings(self.config, self.seed),
        );
        Ok(match self.config.method.name {
            MethodKind::MixedDim => Box::new(self.config.mixed_dim.layer(&fields, &plan, &rows)?),
            _ => Box::new(SharedEmbedding::new(&fields, &plan, &rows)?),
        })
    }

    /// What is stored of each field.
    fn plan(&self) -> Result<Plan, TrainError> {
        let (config, dim) = (self.config, self.config.model.dim);
        let n_rows: Vec<usize> = self
            .dataset
            .fields()
            .iter()
            .map(|f| f.n_rows as usize)
            .collect();
        config.qr.check(dim)?;
        config.mixed_dim.check()?;
        let vocabulary = self.dataset.vocabulary()?;
        let counts: Vec<&[u64]> = vocabulary.fields().iter().map(|f| f.counts()).collect();
        let plan_of = |n| match config.method.name {
            MethodKind::Qr => config.qr.plan(&n_rows, dim, n),
            MethodKind::Cutoff => config.cutoff.plan(&counts, dim, n),
            MethodKind::MixedDim => config.mixed_dim.plan(&n_rows, dim, n),
            _ => config.hash.plan(&n_rows, dim, n),
        };
        let Some(target) = Target::of(self.dataset, config, self.seed)? else {
            return Ok(match config.method.name {
                MethodKind::MixedDim => config.mixed_dim.plan_of_rule(&n_rows, dim),
                _ => plan_of(0),
            });
        };
        let file = FileSize::new(self.dataset, config, self.seed)?;
        let n = target.fit(self.n_values(), config, |n| {
            let tables = Ones(self.planned_fields(&plan_of(n)));
            target.bytes_of(&tables, &file, config)
        })?;
        let plan = plan_of(n);
        match target {
            Target::Values(n) if n_values(&plan, dim) > n => {
                Err(target.missed(n_values(&plan_of(0), dim)))
            }
            _ => Ok(plan),
        }
    }

    fn planned_fields(&self, plan: &[FieldPlan]) -> Vec<SourceField> {
        let mut fields = source_fields(self.dataset, self.config.model.dim);
        for (field, plan) in fields.iter_mut().zip(plan) {
            let parts = plan.parts.iter();
            field.sharing = stored_sharing(plan.sharing);
            field.parts = parts
                .map(|&(n_rows, dim)| PartShape { n_rows, dim })
                .collect();
            field.is_projected = plan.is_projected;
        }
        fields
    }
}

/// The settings of a run whose method meets its target with the dim of the model (`uniform`, `mlet`), with the
/// largest dim that does, at most the one given. Other settings stay.
///
/// # Errors
/// When even one value a row is too much.
pub fn with_fitted_dim(
    dataset: &Dataset,
    config: &Config,
    seed: Seed,
) -> Result<Config, TrainError> {
    let with_dim = |dim: usize| {
        let mut fitted = config.clone();
        fitted.model.dim = dim;
        fitted
    };
    let target = match config.method.name {
        MethodKind::Uniform | MethodKind::Mlet => Target::of(dataset, config, seed)?,
        _ => None,
    };
    let Some(target) = target else {
        return Ok(config.clone());
    };
    let size = |dim: usize| {
        let config = with_dim(dim);
        let tables = Ones(source_fields(dataset, dim));
        let file = FileSize::new(dataset, &config, seed)?;
        match target {
            Target::Values(_) => Ok(super::target::n_values(dataset, dim)),
            _ => target.bytes_of(&tables, &file, &config),
        }
    };
    let most = match target {
        Target::Values(most) => most,
        Target::Tables(most) | Target::File { bytes: most, .. } => most,
    };
    let least = size(1)?;
    if least > most {
        return Err(target.missed(least));
    }
    let fits = |dim| size(dim as usize).is_ok_and(|n| n <= most);
    Ok(with_dim(largest(config.model.dim as u64, fits) as usize))
}
