//! What a user can set.

use serde::{Deserialize, Serialize};
use slimbed_embedding::EmbeddingError;

/// Settings of the method; the defaults are the paper's method without a size penalty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmtlSettings {
    /// Whether sizes are learned at all; default `learned`.
    pub sizes: Sizes,
    /// Widths of the hidden layers of each branch; default `[32]`.
    pub hidden: Vec<usize>,
    /// One branch or the paper's two; default `twins`.
    pub branches: Branches,
    /// How the size enters training; default `straight-through`.
    pub estimator: Estimator,
    /// Temperature T of the softmax over sizes; default 1.
    pub temperature: f32,
    /// Whether a row may be dropped altogether; default `never`, as the paper.
    pub zero_size: ZeroSize,
    /// Learning rate of the branches' Adam; default 1e-3. The schedule's factor multiplies it.
    pub lr: f64,
    /// Logit of the full size at the start, that of all others being 0; default 1.
    pub start_bias: f32,
    /// λ: loss added per share of the values that is expected to be kept; default 0, as the paper. With a
    /// target it is where the controller starts, and 0 then means 1e-3.
    pub penalty: f32,
    /// Share of the values to keep, which a controller of λ works towards; default 0, no target.
    pub target_ratio: f64,
    /// By how much the controller changes ln λ in a step when sizes are twice the target. 0, the default: the
    /// training run takes one that suits its length; otherwise λ stays.
    pub control_rate: f32,
}

/// Whether sizes are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sizes {
    /// They are.
    #[default]
    Learned,
    /// Every row keeps all its values: bit for bit the plain layer.
    Full,
}

/// The branches that say the size of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Branches {
    /// One for frequent and one for rare rows, mixed by frequency.
    #[default]
    Twins,
    /// One for all rows; the paper's ablation.
    Single,
}

/// How the size enters training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Hard masks forward, the gradient of the softmax backward: training sees what is deployed.
    #[default]
    StraightThrough,
    /// Masks of softmax weights in training, hard ones in lookups; the paper's ablation.
    Soft,
}

/// Whether a row may keep nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroSize {
    /// Sizes are 1 to dim.
    #[default]
    Never,
    /// Sizes are 0 to dim.
    Allowed,
}

impl Default for AmtlSettings {
    fn default() -> Self {
        Self {
            sizes: Sizes::default(),
            hidden: vec![32],
            branches: Branches::default(),
            estimator: Estimator::default(),
            temperature: 1.0,
            zero_size: ZeroSize::default(),
            lr: 1e-3,
            start_bias: 1.0,
            penalty: 0.0,
            target_ratio: 0.0,
            control_rate: 0.0,
        }
    }
}

impl AmtlSettings {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the first such setting, what it has to be and what it is.
    pub fn check(&self) -> Result<(), EmbeddingError> {
        let widths = self.hidden.iter().all(|width| (1..=4096).contains(width));
        let hidden = !self.hidden.is_empty() && widths;
        let found = format!("{:?}", self.hidden);
        require(hidden, "hidden", "1 or more widths of 1 to 4096", found)?;
        let is_positive = |x: f32| x > 0.0 && x.is_finite();
        let is_zero_or_more = |x: f32| x >= 0.0 && x.is_finite();
        let (temperature, lr) = (self.temperature, self.lr);
        let expected = "a positive number";
        require(
            is_positive(temperature),
            "temperature",
            expected,
            temperature,
        )?;
        let or_zero = "0 or a positive number";
        require(lr >= 0.0 && lr.is_finite(), "lr", or_zero, lr)?;
        require(
            is_zero_or_more(self.start_bias),
            "start_bias",
            or_zero,
            self.start_bias,
        )?;
        require(
            is_zero_or_more(self.penalty),
            "penalty",
            or_zero,
            self.penalty,
        )?;
        let ratio = self.target_ratio;
        require(
            (0.0..=1.0).contains(&ratio),
            "target_ratio",
            "0 to 1",
            ratio,
        )?;
        require(
            is_zero_or_more(self.control_rate),
            "control_rate",
            or_zero,
            self.control_rate,
        )
    }
}

fn require(
    holds: bool,
    name: &str,
    expected: &'static str,
    found: impl ToString,
) -> Result<(), EmbeddingError> {
    if holds {
        return Ok(());
    }
    Err(EmbeddingError::Setting {
        what: format!("amtl setting `{name}`"),
        expected,
        found: found.to_string(),
    })
}
