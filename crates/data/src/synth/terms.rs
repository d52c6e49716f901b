//! The terms of the logit and their weights.

use rayon::prelude::*;
use slimbed_rng::Seed;

use super::dense::DenseModel;
use super::field::FieldModel;
use super::{SynthField, SynthSpec};

/// Two fields and the weight of their interaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) weight: f64,
}

/// A dense column and the fields it interacts with.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) model: DenseModel,
    /// Standard deviation in logits of the effect of the column alone.
    pub(super) weight: f64,
    pub(super) partners: Vec<Partner>,
}

/// A field that interacts with a dense column and the weight of their interaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partner {
    pub(super) field: usize,
    pub(super) weight: f64,
}

/// The tables of all fields, the variance of their effects shared out by weight.
pub(super) fn draw_fields(spec: &SynthSpec, seed: Seed) -> Vec<FieldModel> {
    let total: f64 = spec.fields.iter().map(|f| f.weight).sum();
    let draw = |field: &SynthField| {
        let share = if total > 0.0 {
            field.weight / total
        } else {
            0.0
        };
        let std = spec.strengths.fields * share.sqrt();
        FieldModel::new(field, seed, spec.latent_dim, spec.rare_mass, std)
    };
    spec.fields.par_iter().map(draw).collect()
}

/// Gives each pair the same variance: that of `<v_f, v_g>` is the trace of the product of the
/// covariances, as `v_f` and `v_g` are independent with mean 0.
pub(super) fn weigh_field_pairs(spec: &SynthSpec, fields: &[FieldModel]) -> Vec<Pair> {
    let covariances: Vec<_> = fields.par_iter().map(FieldModel::covariance).collect();
    let strength = spec.strengths.field_pairs / (spec.field_pairs.len() as f64).sqrt();
    let weigh = |&[left, right]: &[usize; 2]| {
        let products = covariances[left].iter().zip(&covariances[right]);
        let variance: f64 = products.map(|(a, b)| a * b).sum();
        let weight = weight(strength, variance);
        Pair {
            left,
            right,
            weight,
        }
    };
    spec.field_pairs.iter().map(weigh).collect()
}

/// The dense columns, column `j` with a share of `1 / (j + 1)` in the variance of their effects, and
/// each interaction with a field with the same variance.
pub(super) fn draw_columns(spec: &SynthSpec, seed: Seed, fields: &[FieldModel]) -> Vec<Column> {
    let harmonic: f64 = (1..=spec.n_dense).map(|j| 1.0 / j as f64).sum();
    let n_pairs = spec.dense_field_pairs.len() as f64;
    let strength = spec.strengths.dense_field_pairs / n_pairs.sqrt();
    let draw = |j: usize| {
        let model = DenseModel::new(j, seed, spec.dense_missing, spec.latent_dim);
        let pairs = spec.dense_field_pairs.iter().filter(|pair| pair[0] == j);
        let partners = pairs
            .map(|&[_, field]| {
                let variance = fields[field].variance_along(model.direction());
                let weight = weight(strength, variance);
                Partner { field, weight }
            })
            .collect();
        let share = 1.0 / ((j + 1) as f64 * harmonic);
        Column {
            model,
            weight: spec.strengths.dense * share.sqrt(),
            partners,
        }
    };
    (0..spec.n_dense).map(draw).collect()
}

/// The factor that gives something of `variance` the deviation `strength`; 0 for a constant.
pub(super) fn weight(strength: f64, variance: f64) -> f64 {
    if variance > 1e-9 {
        strength / variance.sqrt()
    } else {
        0.0
    }
}
