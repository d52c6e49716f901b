//! The settings of the method.

use serde::{Deserialize, Serialize};
use slimbed_embedding::EmbeddingError;
use slimbed_fused::{DenseRule, WeightDecay};

/// Which values share one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// All of them: one threshold.
    Global,
    /// Those of one column, over all fields: `[dim]`.
    Dimension,
    /// Those of one row: `[n_rows, 1]` a field.
    Id,
    /// None: `[n_rows, dim]` a field.
    #[default]
    IdDimension,
    /// Those of one field: `[fields]`.
    Field,
    /// Those of one column of one field: `[fields, dim]`.
    FieldDimension,
}

/// What a step does to what the batch did not touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Rows stay as they are, thresholds follow the path they have in common; a step costs what the batch
    /// touches.
    #[default]
    Lazy,
    /// Adam with coupled weight decay over all rows and thresholds, as the authors' code does; a step costs
    /// a pass over the tables, so this is for small ones.
    Faithful,
}

/// Settings of [`PepEmbedding`](crate::PepEmbedding).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PepSettings {
    /// What a step does to what the batch did not touch; `lazy`.
    pub mode: Mode,
    /// Which values share one threshold; `id-dimension`.
    pub granularity: Granularity,
    /// Logit `s₀` that every threshold starts with, the threshold being `σ(s₀)`; −15. Below −87.3 the
    /// threshold is exactly 0.
    pub start: f32,
    /// Learning rate of the logits, which the schedule multiplies as it does that of the rows; the authors
    /// use 0.001. With 0 they stay; a training run then takes one that lets weight decay alone lead them from
    /// their start to above 0 within its search; 0.
    pub threshold_lr: f64,
    /// Coupled weight decay of the logits: `threshold_weight_decay · s` is added to their gradient. It is
    /// what makes thresholds rise, so 0 all but switches pruning off; 0.00001.
    pub threshold_weight_decay: f64,
    /// Coupled weight decay of the rows in the faithful mode; the lazy one decays rows as their optimiser
    /// says; 0.00001.
    pub row_weight_decay: f64,
    /// Decay of Adam's first moment, of the logits and (faithful mode) of the rows; 0.9.
    pub beta1: f64,
    /// Decay of Adam's second moment, likewise; 0.999.
    pub beta2: f64,
    /// What Adam adds to the root, likewise; 1e-8.
    pub eps: f64,
}

impl Default for PepSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Lazy,
            granularity: Granularity::IdDimension,
            start: -15.0,
            threshold_lr: 0.0,
            threshold_weight_decay: 1e-5,
            row_weight_decay: 1e-5,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

impl PepSettings {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the first of them, what it has to be and what it is.
    pub fn check(&self) -> Result<(), EmbeddingError> {
        let known = |x: f64| x >= 0.0 && x.is_finite();
        let beta = |x: f64| (0.0..1.0).contains(&x);
        let (size, below_one) = ("0 or a positive number", "0 or more and less than 1");
        let start = f64::from(self.start);
        check("start", start, start.is_finite(), "a finite number")?;
        let sizes = [
            ("threshold_lr", self.threshold_lr),
            ("threshold_weight_decay", self.threshold_weight_decay),
            ("row_weight_decay", self.row_weight_decay),
        ];
        for (what, found) in sizes {
            check(what, found, known(found), size)?;
        }
        check("beta1", self.beta1, beta(self.beta1), below_one)?;
        check("beta2", self.beta2, beta(self.beta2), below_one)?;
        let is_positive = self.eps > 0.0 && self.eps.is_finite();
        check("eps", self.eps, is_positive, "a positive number")
    }

    /// The rule of everything this crate trains by itself.
    pub(crate) fn rule(&self) -> DenseRule {
        let Self {
            beta1, beta2, eps, ..
        } = *self;
        DenseRule::Adam { beta1, beta2, eps }
    }

    /// Weight decay of the logits.
    pub(crate) fn threshold_decay(&self) -> WeightDecay {
        let lambda = self.threshold_weight_decay;
        WeightDecay::Coupled { lambda }
    }

    /// Weight decay of the rows in the faithful mode.
    pub(crate) fn row_decay(&self) -> WeightDecay {
        let lambda = self.row_weight_decay;
        WeightDecay::Coupled { lambda }
    }
}

fn check(
    what: &str,
    found: f64,
    is_fine: bool,
    expected: &'static str,
) -> Result<(), EmbeddingError> {
    if is_fine {
        return Ok(());
    }
    Err(EmbeddingError::Setting {
        what: format!("setting `{what}` of PEP"),
        expected,
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_defaults_are_those_of_the_docs() {
        let read: PepSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(read, PepSettings::default());
        read.check().unwrap();
        let text = r#"{"mode": "faithful", "granularity": "field-dimension", "start": -150}"#;
        let read: PepSettings = serde_json::from_str(text).unwrap();
        assert_eq!(read.mode, Mode::Faithful);
        assert_eq!(read.granularity, Granularity::FieldDimension);
        assert!(serde_json::from_str::<PepSettings>(r#"{"starts": 1}"#).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let message = |text| {
            let read: PepSettings = serde_json::from_str(text).unwrap();
            read.check().unwrap_err().to_string()
        };
        let found = message(r#"{"threshold_lr": -0.5}"#);
        assert_eq!(
            found,
            "setting `threshold_lr` of PEP: expected 0 or a positive number, found -0.5"
        );
        assert!(message(r#"{"beta2": 1.0}"#).contains("`beta2`"));
        assert!(message(r#"{"eps": 0}"#).contains("`eps`"));
    }
}
