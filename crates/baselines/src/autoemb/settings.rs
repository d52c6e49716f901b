//! What a user can set.

use serde::{Deserialize, Serialize};
use slimbed_embedding::EmbeddingError;

use crate::plan::refuse;

/// Settings of AutoEmb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoEmbSettings {
    /// Candidate sizes, rising, the last one being the dim. Empty, the default: an eighth, a quarter, a half of the
    /// dim, and all of it.
    pub sizes: Vec<usize>,
    /// Hidden units of the controller; default 16.
    pub hidden: usize,
    /// Learning rate of the controller's Adam; default 1e-3. The schedule's factor multiplies it.
    pub lr: f64,
}

impl Default for AutoEmbSettings {
    fn default() -> Self {
        Self {
            sizes: Vec::new(),
            hidden: 16,
            lr: 1e-3,
        }
    }
}

impl AutoEmbSettings {
    /// The candidates for rows of `dim` values.
    ///
    /// # Errors
    /// When they, or another setting, cannot work.
    pub(crate) fn candidates(&self, dim: usize) -> Result<Vec<usize>, EmbeddingError> {
        let mut sizes = self.sizes.clone();
        if sizes.is_empty() {
            sizes.extend([8, 4, 2, 1].map(|part| (dim / part).max(1)));
            sizes.dedup();
        }
        let rises = sizes.windows(2).all(|pair| pair[0] < pair[1]);
        if !rises || sizes[0] == 0 || sizes.last() != Some(&dim) {
            let expected = "sizes that rise from 1 or more to the dim of the model";
            return refuse(
                "autoemb.sizes",
                expected,
                format!("{sizes:?} for dim {dim}"),
            );
        }
        if !(1..=1024).contains(&self.hidden) {
            return refuse("autoemb.hidden", "1 to 1024", self.hidden);
        }
        if !(self.lr >= 0.0 && self.lr.is_finite()) {
            return refuse("autoemb.lr", "0 or a positive number", self.lr);
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_given_or_halves() {
        let settings = |json: &str| serde_json::from_str::<AutoEmbSettings>(json).unwrap();
        let default = AutoEmbSettings::default();
        assert_eq!(default.candidates(16).unwrap(), [2, 4, 8, 16]);
        assert_eq!(default.candidates(4).unwrap(), [1, 2, 4]);
        assert_eq!(
            settings(r#"{"sizes": [3, 7]}"#).candidates(7).unwrap(),
            [3, 7]
        );
        for (json, what) in [
            (r#"{"sizes": [3, 3, 7]}"#, "autoemb.sizes"),
            (r#"{"sizes": [3, 6]}"#, "autoemb.sizes"),
            (r#"{"sizes": [0, 7]}"#, "autoemb.sizes"),
            (r#"{"hidden": 0}"#, "autoemb.hidden"),
            (r#"{"lr": -1}"#, "autoemb.lr"),
        ] {
            let error = settings(json).candidates(7).unwrap_err();
            assert!(error.to_string().starts_with(what), "{error}");
        }
    }
}
