//! What a user can set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slimbed_embedding::{EmbeddingError, FieldSpec};
use slimbed_fused::DenseRule;

/// Inner dim of a field as a multiple of its dim, where none is given.
const DEFAULT_RATIO: usize = 4;

/// Settings of [`MletEmbedding`](crate::MletEmbedding).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MletSettings {
    /// Inner dim k, values of a trained row. 0, the default: four times the dim of the field, or the dim
    /// itself where W2 starts as the identity.
    pub inner_dim: usize,
    /// How W2 starts. Default `matched`.
    pub init: ProjectionInit,
    /// Standard deviation of W2's entries with `init = "normal-sigma"`, not used otherwise. Default 0.25.
    pub sigma: f32,
    /// Whether W2 learns. Default `trained`.
    pub train_projection: TrainProjection,
    /// Update rule of W2. Default `adagrad`.
    pub optimizer: ProjectionOptimizer,
    /// Learning rate of W2, before the factor of the schedule. 0, the default: that of the tables.
    pub lr: f32,
    /// Sizes of single fields, by name. Default none.
    pub fields: BTreeMap<String, FieldSizes>,
}

/// Sizes of one field where they differ from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldSizes {
    /// Inner dim of the field, 0 as for all. Default: that of all fields.
    pub inner_dim: Option<usize>,
    /// Dim of the field, from 1 to that of the model; the columns behind are zero. Default: that of the model.
    pub dim: Option<usize>,
}

/// The initial W2 `[k, d]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionInit {
    /// `N(0, 1/k)`: the entries of E have the variance of a single layer's, whatever k is.
    #[default]
    Matched,
    /// `N(0, 0.25²)`, the authors' default: the variance of E's entries is k/16 times a single layer's.
    Normal,
    /// `N(0, sigma²)`.
    NormalSigma,
    /// Xavier's normal distribution, `N(0, 2/(k + d))`.
    Xavier,
    /// Orthonormal columns, uniformly distributed (Gram-Schmidt of a normal matrix); needs k ≥ d. `W2ᵀW2` is the
    /// identity, and the variance of E's entries is a single layer's.
    RandomProjection,
    /// The identity; needs k = d. Frozen it is a plain table, bit for bit.
    Identity,
}

/// Whether W2 learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainProjection {
    /// It does.
    #[default]
    Trained,
    /// It stays as it starts: a control.
    Frozen,
}

/// The update rule of W2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionOptimizer {
    /// `w ← w − lr·g`.
    Sgd,
    /// Adagrad with eps = 1e-10.
    #[default]
    Adagrad,
    /// Adam with β = (0.9, 0.999) and eps = 1e-8.
    Adam,
}

impl ProjectionOptimizer {
    /// The rule with its constants.
    pub(crate) fn rule(self) -> DenseRule {
        match self {
            Self::Sgd => DenseRule::Sgd,
            Self::Adagrad => DenseRule::ADAGRAD,
            Self::Adam => DenseRule::ADAM,
        }
    }
}

impl Default for MletSettings {
    fn default() -> Self {
        Self {
            inner_dim: 0,
            init: ProjectionInit::default(),
            sigma: 0.25,
            train_projection: TrainProjection::default(),
            optimizer: ProjectionOptimizer::default(),
            lr: 0.0,
            fields: BTreeMap::new(),
        }
    }
}

/// What a field trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Values of a trained row.
    pub width: usize,
    /// Dim of the field.
    pub dim: usize,
    /// Whether there is a W2; `width` is `dim` otherwise.
    pub is_projected: bool,
}

impl MletSettings {
    /// Checks everything that can be checked with the fields of a model and its `dim`.
    ///
    /// # Errors
    /// Names the setting, what it has to be and what it is.
    pub fn check(&self, fields: &[FieldSpec], dim: usize) -> Result<(), EmbeddingError> {
        let is_rate = |x: f32| x >= 0.0 && x.is_finite();
        if !is_rate(self.lr) {
            return refuse("mlet lr", "0 or a positive number", self.lr);
        }
        if !is_rate(self.sigma) || self.sigma == 0.0 {
            return refuse("mlet sigma", "a positive number", self.sigma);
        }
        let known = |name: &&String| fields.iter().any(|field| field.name == **name);
        if let Some(name) = self.fields.keys().find(|name| !known(name)) {
            return refuse("mlet fields", "names of fields of the model", name);
        }
        fields
            .iter()
            .try_for_each(|field| self.check_field(&field.name, dim))
    }

    fn check_field(&self, name: &str, dim: usize) -> Result<(), EmbeddingError> {
        let (k, d) = self.sizes(name, dim);
        if !(1..=dim).contains(&d) {
            let what = format!("mlet dim of field `{name}`");
            return refuse(what, "1 to the dim of the model", d);
        }
        let (needs, fits) = match self.init {
            ProjectionInit::Identity => ("inner_dim = dim with `identity`", k == d),
            ProjectionInit::RandomProjection => ("dim or more with `random-projection`", k >= d),
            _ => return Ok(()),
        };
        if fits {
            return Ok(());
        }
        let what = format!("mlet inner_dim of field `{name}`");
        refuse(what, needs, format!("{k} with dim {d}"))
    }

    /// Inner dim and dim of a field.
    fn sizes(&self, name: &str, dim: usize) -> (usize, usize) {
        let own = self.fields.get(name).copied().unwrap_or_default();
        let d = own.dim.unwrap_or(dim);
        let k = match own.inner_dim.unwrap_or(self.inner_dim) {
            0 if self.init == ProjectionInit::Identity => d,
            0 => DEFAULT_RATIO * d,
            k => k,
        };
        (k, d)
    }

    /// What a field trains: nothing is gained by more directions than it has rows, so that a field with
    /// fewer rows than k has no W2. A frozen identity is none either.
    pub(crate) fn shape(&self, field: &FieldSpec, dim: usize) -> Shape {
        let (k, d) = self.sizes(&field.name, dim);
        let is_off = self.init == ProjectionInit::Identity
            && self.train_projection == TrainProjection::Frozen;
        let is_projected = field.n_rows >= k && !is_off;
        Shape {
            width: if is_projected { k } else { d },
            dim: d,
            is_projected,
        }
    }
}

fn refuse(
    what: impl Into<String>,
    expected: &'static str,
    found: impl ToString,
) -> Result<(), EmbeddingError> {
    Err(EmbeddingError::Setting {
        what: what.into(),
        expected,
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use slimbed_embedding::Pooling;

    use super::*;

    fn field(name: &str, n_rows: usize) -> FieldSpec {
        FieldSpec {
            name: name.into(),
            n_rows,
            pooling: Pooling::Sum,
        }
    }

    fn settings(json: &str) -> MletSettings {
        serde_json::from_str(json).unwrap()
    }

    fn shape(width: usize, dim: usize, is_projected: bool) -> Shape {
        Shape {
            width,
            dim,
            is_projected,
        }
    }

    #[test]
    fn fields_get_their_sizes() {
        let own = settings(r#"{"inner_dim": 32, "fields": {"b": {"inner_dim": 0, "dim": 4}}}"#);
        assert_eq!(own.shape(&field("a", 32), 8), shape(32, 8, true));
        assert_eq!(own.shape(&field("a", 31), 8), shape(8, 8, false));
        assert_eq!(own.shape(&field("b", 99), 8), shape(16, 4, true));
        let default = MletSettings::default();
        assert_eq!(default.shape(&field("a", 99), 8), shape(32, 8, true));
        let identity = settings(r#"{"init": "identity"}"#);
        assert_eq!(identity.shape(&field("a", 99), 8), shape(8, 8, true));
        let off = settings(r#"{"init": "identity", "train_projection": "frozen"}"#);
        assert_eq!(off.shape(&field("a", 99), 8), shape(8, 8, false));
    }

    #[test]
    fn bad_settings_are_named() {
        let cases = [
            (
                r#"{"lr": -1}"#,
                "mlet lr: expected 0 or a positive number, found -1",
            ),
            (
                r#"{"sigma": 0}"#,
                "mlet sigma: expected a positive number, found 0",
            ),
            (
                r#"{"fields": {"z": {}}}"#,
                "mlet fields: expected names of fields of the model, found z",
            ),
            (
                r#"{"fields": {"a": {"dim": 9}}}"#,
                "mlet dim of field `a`: expected 1 to the dim of the model, found 9",
            ),
            (
                r#"{"init": "identity", "inner_dim": 4}"#,
                "mlet inner_dim of field `a`: expected inner_dim = dim with `identity`, found 4 with dim 8",
            ),
            (
                r#"{"init": "random-projection", "inner_dim": 4}"#,
                "mlet inner_dim of field `a`: expected dim or more with `random-projection`, found 4 with dim 8",
            ),
        ];
        for (json, message) in cases {
            let error = settings(json).check(&[field("a", 9)], 8).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        MletSettings::default().check(&[field("a", 9)], 8).unwrap();
        assert!(serde_json::from_str::<MletSettings>(r#"{"inner": 1}"#).is_err());
    }
}
