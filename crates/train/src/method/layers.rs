//! The layers of the methods, from the settings of a run.

use slimbed_amtl::{AmtlEmbedding, AmtlSettings};
use slimbed_baselines::AutoEmbEmbedding;
use slimbed_data::Dataset;
use slimbed_embedding::{EmbeddingLayer, TrainedRows};
use slimbed_mlet::MletEmbedding;
use slimbed_pep::{PepEmbedding, PepSettings};
use slimbed_rng::Seed;

use super::rows::{field_specs, row_settings};
use super::target::{Target, n_values};
use crate::{Config, TrainError};

/// How far beyond its start a search of the automatic learning rate would go.
const BEYOND: f64 = 1.1;

/// Logarithm of the factor by which AMTL's controller of the automatic rate could raise the penalty: from
/// nothing that matters to more than the loss within the first third of the training.
const LN_CONTROL: f64 = 40.0;

/// PEP's search layer over `rows`, for a search of `n_steps`.
///
/// # Errors
/// When a setting cannot work or memory runs out.
pub fn pep_layer(
    config: &Config,
    rows: TrainedRows,
    n_steps: u64,
) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
    let mut settings: PepSettings = config.pep;
    if settings.threshold_lr == 0.0 {
        // Weight decay alone moves a logit by about the learning rate a step: from its start to above 0.
        settings.threshold_lr = BEYOND * f64::from(settings.start.abs()) / n_steps.max(1) as f64;
    }
    Ok(Box::new(PepEmbedding::new(rows, &settings)?))
}

/// AMTL over `rows` for `n_steps`, aiming at the run's target if it has one.
///
/// # Errors
/// When a setting cannot work, the vocabulary is damaged or memory runs out.
pub fn amtl_layer(
    dataset: &Dataset,
    config: &Config,
    rows: TrainedRows,
    seed: Seed,
    n_steps: u64,
) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
    let vocabulary = dataset.vocabulary()?;
    let counts: Vec<&[u64]> = vocabulary
        .fields()
        .iter()
        .map(|field| field.counts())
        .collect();
    let mut settings: AmtlSettings = config.amtl.clone();
    let n_values = n_values(dataset, config.model.dim);
    if let Some(target) = Target::of(dataset, config, seed)? {
        let n_rows = n_values / config.model.dim as u64;
        let n_kept = target.n_kept_in_rows(n_values, n_rows, config.export.values);
        settings.target_ratio = n_kept as f64 / n_values as f64;
        if settings.control_rate == 0.0 {
            settings.control_rate = (LN_CONTROL / n_steps.max(1) as f64) as f32;
        }
    }
    Ok(Box::new(AmtlEmbedding::new(
        rows, &counts, &settings, seed,
    )?))
}

/// AutoEmb over `rows`.
///
/// # Errors
/// When a setting cannot work or the vocabulary is damaged.
pub fn autoemb_layer(
    dataset: &Dataset,
    config: &Config,
    rows: TrainedRows,
    seed: Seed,
) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
    let vocabulary = dataset.vocabulary()?;
    let fields = vocabulary.fields().iter();
    let counts: Vec<&[u64]> = fields.map(|field| field.counts()).collect();
    let settings = &config.autoemb;
    Ok(Box::new(AutoEmbEmbedding::new(
        rows, &counts, settings, seed,
    )?))
}

/// MLET with fresh rows.
///
/// # Errors
/// When a setting cannot work or memory runs out.
pub fn mlet_layer(
    dataset: &Dataset,
    config: &Config,
    seed: Seed,
) -> Result<Box<dyn EmbeddingLayer>, TrainError> {
    let rows = row_settings(config, seed);
    Ok(Box::new(MletEmbedding::new(
        &field_specs(dataset),
        &rows,
        &config.mlet,
    )?))
}
