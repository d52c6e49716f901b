//! Scaling of dense features, fitted on the training split.

use serde::{Deserialize, Serialize};

use crate::reader::Rows;
use crate::{Recipe, Scale, Split};

/// What is done to the transformed numbers of a dense feature: `(x − subtract) · multiply`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseScale {
    /// The dense feature.
    pub name: String,
    /// The training split's mean or minimum.
    pub subtract: f64,
    /// One over the standard deviation (of the population) or over the range; 1 where that is 0.
    pub multiply: f64,
}

/// Sees the training rows in their order, so that nothing depends on how they come in pieces.
pub struct ScaleFitter {
    n_dense: usize,
    /// The place of each scaled feature, and what is known of it.
    columns: Vec<(usize, Moments)>,
}

/// What has been seen of a feature; mean and squares by Welford's method.
#[derive(Clone, Copy)]
struct Moments {
    scale: Scale,
    n: f64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

/// The scales of all dense features that have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scales {
    columns: Vec<(usize, DenseScale)>,
}

impl ScaleFitter {
    pub fn new(recipe: &Recipe) -> Self {
        let columns = recipe.dense.iter().enumerate();
        let scaled = columns.filter(|(_, dense)| dense.scale != Scale::None);
        Self {
            n_dense: recipe.dense.len(),
            columns: scaled
                .map(|(i, dense)| (i, Moments::new(dense.scale)))
                .collect(),
        }
    }

    /// Adds those of `rows` that `splits` puts in the training split.
    pub fn add(&mut self, rows: &Rows, splits: &[Split]) {
        for (column, moments) in &mut self.columns {
            let values = rows.dense.iter().skip(*column).step_by(self.n_dense);
            let train = values
                .zip(splits)
                .filter(|(_, split)| **split == Split::Train);
            train.for_each(|(value, _)| moments.add(f64::from(*value)));
        }
    }

    pub fn finish(self, recipe: &Recipe) -> Scales {
        let columns = self.columns.into_iter().map(|(i, moments)| {
            let (subtract, spread) = moments.origin_and_spread();
            let scale = DenseScale {
                name: recipe.dense[i].column.name.clone(),
                subtract,
                multiply: if spread > 0.0 { 1.0 / spread } else { 1.0 },
            };
            (i, scale)
        });
        Scales {
            columns: columns.collect(),
        }
    }
}

impl Moments {
    fn new(scale: Scale) -> Self {
        Self {
            scale,
            n: 0.0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    fn add(&mut self, value: f64) {
        self.n += 1.0;
        let before = value - self.mean;
        self.mean += before / self.n;
        self.squares += before * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn origin_and_spread(&self) -> (f64, f64) {
        match self.scale {
            _ if self.n == 0.0 => (0.0, 0.0),
            Scale::None => (0.0, 0.0),
            Scale::MinMax => (self.min, self.max - self.min),
            Scale::Standard => (self.mean, (self.squares / self.n).sqrt()),
        }
    }
}

impl Scales {
    /// Scales one row.
    pub fn apply(&self, dense: &mut [f32]) {
        for (i, scale) in &self.columns {
            let value = (f64::from(dense[*i]) - scale.subtract) * scale.multiply;
            // Another split may hold what 32 bits cannot after scaling.
            dense[*i] = value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        }
    }

    /// What the description of a data set says.
    pub fn to_vec(&self) -> Vec<DenseScale> {
        let scales = self.columns.iter().map(|(_, scale)| scale);
        scales.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(scale: Scale, values: &[f64]) -> (f64, f64) {
        let mut moments = Moments::new(scale);
        values.iter().for_each(|&value| moments.add(value));
        moments.origin_and_spread()
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_population() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(fitted(Scale::Standard, &values), (5.0, 2.0));
        assert_eq!(fitted(Scale::MinMax, &values), (2.0, 7.0));
        assert_eq!(fitted(Scale::Standard, &[]), (0.0, 0.0));
        // A small spread far from 0 is not lost.
        let far: Vec<_> = values.iter().map(|value| value + 1e9).collect();
        let (mean, deviation) = fitted(Scale::Standard, &far);
        assert!((mean - 1e9 - 5.0).abs() < 1e-6 && (deviation - 2.0).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let scale = DenseScale {
            name: "x".into(),
            subtract: 1.0,
            multiply: 1e38,
        };
        let scales = Scales {
            columns: vec![(1, scale)],
        };
        let mut row = [7.0, 1e10];
        scales.apply(&mut row);
        assert_eq!(row, [7.0, f32::MAX]);
    }
}
