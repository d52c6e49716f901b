//! Mean and spread over seeds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::MetricError;

/// Mean and sample standard deviation of one metric over runs that differ in their seed.
///
/// Shown as `0.786543 ± 0.000123 (n = 5)`; the precision of the format applies to both numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanStd {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (divisor `n - 1`); none for a single run.
    pub std: Option<f64>,
    /// Number of runs.
    pub n: usize,
}

impl MeanStd {
    /// Of `values`, one for each run.
    ///
    /// # Errors
    /// [`MetricError::Empty`] without values.
    pub fn of(values: &[f64]) -> Result<Self, MetricError> {
        let n = values.len();
        if n == 0 {
            return Err(MetricError::Empty);
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Ok(Self { mean, std, n })
    }
}

impl fmt::Display for MeanStd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(6);
        write!(f, "{:.digits$}", self.mean)?;
        if let Some(std) = self.std {
            write!(f, " ± {std:.digits$}")?;
        }
        write!(f, " (n = {})", self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        let found = MeanStd::of(&[1.0, 2.0, 6.0]).unwrap();
        // Deviations -2, -1, 3: squares sum to 14, divided by 2.
        assert_eq!(
            (found.mean, found.std, found.n),
            (3.0, Some(7f64.sqrt()), 3)
        );
        assert_eq!(format!("{found:.2}"), "3.00 ± 2.65 (n = 3)");
    }

    #[test]
    fn one_run_has_no_spread_and_none_has_no_mean() {
        let found = MeanStd::of(&[0.75]).unwrap();
        assert_eq!((found.mean, found.std), (0.75, None));
        assert_eq!(found.to_string(), "0.750000 (n = 1)");
        assert_eq!(MeanStd::of(&[]), Err(MetricError::Empty));
    }
}
