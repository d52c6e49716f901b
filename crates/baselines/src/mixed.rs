//! Mixed dimensions (A. Ginart et al., arXiv 1909.11810): the more ids a field has, the narrower its rows.
//!
//! A field of `n` ids has rows of `d_n = max(1, round(λ·n^−α))` values, at most the `d` of the model; narrower
//! ones are multiplied with a matrix `[d_n, d]`. `α = 0` gives all fields one dim. As in the authors' code `λ` is
//! `d·n₁^α`, which gives the smallest field (`n₁` ids) the full dim; with a target it is the largest that meets
//! it, matrices counted. A field whose matrix would take more than its narrower rows save keeps the full dim.
//!
//! The product of rows and a matrix is that of MLET, with the narrow side in the table; what is shipped are its
//! two factors.

use serde::{Deserialize, Serialize};
use slimbed_embedding::{EmbeddingError, FieldSpec, RowSettings, Sharing};
use slimbed_mlet::{MletEmbedding, MletSettings, ProjectionInit, ProjectionOptimizer, Shape};

use crate::plan::{FieldPlan, Plan, largest, refuse};

/// Steps of λ between nothing and the full dim for all fields.
const LAMBDAS: u64 = 1 << 30;

/// Settings of mixed dimensions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixedDimSettings {
    /// The temperature α; default 0.3, the authors'.
    pub alpha: f64,
    /// Update rule of the matrices; default `adagrad`.
    pub optimizer: ProjectionOptimizer,
    /// Learning rate of the matrices, before the factor of the schedule. 0, the default: that of the tables.
    pub lr: f32,
}

impl Default for MixedDimSettings {
    fn default() -> Self {
        Self {
            alpha: 0.3,
            optimizer: ProjectionOptimizer::default(),
            lr: 0.0,
        }
    }
}

impl MixedDimSettings {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the first such setting.
    pub fn check(&self) -> Result<(), EmbeddingError> {
        let expected = "0 or a positive number";
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            return refuse("mixed_dim.alpha", expected, self.alpha);
        }
        if !(self.lr >= 0.0 && self.lr.is_finite()) {
            return refuse("mixed_dim.lr", expected, self.lr);
        }
        Ok(())
    }

    /// The dims of the authors' rule: the smallest field has the full one.
    pub fn plan_of_rule(&self, n_rows: &[usize], dim: usize) -> Plan {
        let smallest = n_rows.iter().min().map_or(1, |&rows| rows.max(1));
        let lambda = dim as f64 * (smallest as f64).powf(self.alpha);
        self.fields(n_rows, dim, lambda)
    }

    /// The dims of the largest λ with at most `n` values; the smallest there are when `n` is too few.
    pub fn plan(&self, n_rows: &[usize], dim: usize, n: u64) -> Plan {
        let most = n_rows.iter().max().map_or(1, |&rows| rows.max(1));
        let full = dim as f64 * (most as f64).powf(self.alpha);
        largest(LAMBDAS + 1, dim, n, |knob| {
            self.fields(n_rows, dim, full * knob as f64 / LAMBDAS as f64)
        })
    }

    fn fields(&self, n_rows: &[usize], dim: usize, lambda: f64) -> Plan {
        let field = |&rows: &usize| {
            let width = (lambda * (rows.max(1) as f64).powf(-self.alpha)).round();
            narrow(rows, (width as usize).clamp(1, dim), dim)
        };
        n_rows.iter().map(field).collect()
    }

    /// The layer of fields with these plans; matrices are drawn so that embeddings have the variance of plain
    /// rows.
    ///
    /// # Errors
    /// When memory runs out or a setting cannot work.
    pub fn layer(
        &self,
        fields: &[FieldSpec],
        plan: &[FieldPlan],
        rows: &RowSettings,
    ) -> Result<MletEmbedding, EmbeddingError> {
        self.check()?;
        let shapes = plan.iter().map(|field| Shape {
            width: field.width(),
            dim: rows.dim,
            is_projected: field.is_projected,
        });
        let settings = MletSettings {
            init: ProjectionInit::Matched,
            optimizer: self.optimizer,
            lr: self.lr,
            ..MletSettings::default()
        };
        MletEmbedding::of_factors(fields, rows, shapes.collect(), &settings)
    }
}

/// Rows of `width` values with a matrix, or full ones where these take less.
fn narrow(n_rows: usize, width: usize, dim: usize) -> FieldPlan {
    if (n_rows + dim) * width >= n_rows * dim {
        return FieldPlan::own(n_rows, dim);
    }
    FieldPlan {
        sharing: Sharing::None,
        parts: vec![(n_rows, width)],
        is_projected: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::n_values;

    /// Ids of the 26 fields of Criteo-Kaggle.
    const KAGGLE: [usize; 26] = [
        1460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5683, 8_351_593, 3194,
        27, 14_992, 5_461_306, 10, 5652, 2173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572,
    ];

    fn settings(alpha: f64) -> MixedDimSettings {
        MixedDimSettings {
            alpha,
            ..MixedDimSettings::default()
        }
    }

    #[test]
    fn temperature_zero_gives_all_fields_one_dim() {
        let plan = settings(0.0).plan_of_rule(&KAGGLE, 16);
        let plain = KAGGLE.map(|rows| FieldPlan::own(rows, 16));
        assert_eq!(plan, plain);
    }

    #[test]
    fn shares_of_kaggle_are_those_of_the_rule() {
        let all = 16.0 * KAGGLE.iter().sum::<usize>() as f64;
        for (alpha, expected) in [(0.05, 0.50), (0.1, 0.25), (0.15, 0.126), (0.3, 0.063)] {
            let plan = settings(alpha).plan_of_rule(&KAGGLE, 16);
            let share = n_values(&plan, 16) as f64 / all;
            assert!((share - expected).abs() < 0.01, "{alpha}: {share}");
        }
    }

    #[test]
    fn larger_fields_are_never_wider() {
        let plan = settings(0.1).plan(&KAGGLE, 16, 100_000_000);
        assert!(n_values(&plan, 16) <= 100_000_000);
        let mut widths: Vec<_> = KAGGLE.iter().zip(&plan).collect();
        widths.sort_by_key(|(rows, _)| **rows);
        assert!(widths.windows(2).all(|w| w[0].1.width() >= w[1].1.width()));
    }
}
