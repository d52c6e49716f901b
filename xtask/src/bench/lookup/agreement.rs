//! Whether both sides look up the same.

use std::fmt;

use anyhow::bail;
use serde::Serialize;
use slimbed_compact::Values;

/// How far two sides may be apart, when every value of the table is in [-1, 1).
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// For one value.
    each: f64,
    /// For one value, besides, as a share of it.
    relative: f64,
    /// For the root of the mean square of all differences.
    rms: f64,
}

/// How far the two sides are apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Difference {
    largest: f64,
    rms: f64,
}

impl Tolerance {
    /// For sums of `bag` rows of that type.
    ///
    /// - f32: 1e-6 for each row, as sums are rounded in different orders.
    /// - f16: the same, and the rounding of the other side's result to f16.
    /// - integers: half a step of either side for each row, where a step is at most 2/255 or 2/15 and may
    ///   be rounded up by 2 %. As errors of half a step at worst have a mean square of 1/12, the mean square
    ///   of a sum is known too; twice its root is allowed.
    pub fn new(values: Values, bag: usize) -> Self {
        let n = bag as f64;
        let rounding = 1e-6 * n;
        let float = |relative| Self {
            each: rounding,
            relative,
            rms: f64::INFINITY,
        };
        let integer = |levels: f64| Self {
            each: rounding + 1.02 * n * 2.0 / levels,
            relative: 0.0,
            rms: 2.0 * (2.0 * n / 12.0).sqrt() * 2.0 / levels,
        };
        match values {
            Values::F32 => float(0.0),
            Values::F16 => float(1.0 / 2048.0),
            Values::Int8 => integer(255.0),
            Values::Int4 => integer(15.0),
        }
    }

    /// Compares what both sides found.
    ///
    /// # Errors
    /// When they differ by more than this, or in number.
    pub fn check(&self, ours: &[f32], theirs: &[f32]) -> anyhow::Result<Difference> {
        if ours.len() != theirs.len() {
            bail!("{} values of ours, {} of theirs", ours.len(), theirs.len());
        }
        let mut difference = Difference {
            largest: 0.0,
            rms: 0.0,
        };
        for (i, (&a, &b)) in ours.iter().zip(theirs).enumerate() {
            let (a, b) = (f64::from(a), f64::from(b));
            let apart = (a - b).abs();
            let allowed = self.each + self.relative * b.abs();
            if apart.is_nan() || apart > allowed {
                bail!(
                    "value {i}: ours {a}, theirs {b}: expected at most {allowed:.2e} between them"
                );
            }
            difference.largest = difference.largest.max(apart);
            difference.rms += apart * apart / ours.len() as f64;
        }
        difference.rms = difference.rms.sqrt();
        if difference.rms > self.rms {
            bail!(
                "{difference}: expected a root mean square of at most {:.2e}",
                self.rms
            );
        }
        Ok(difference)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { largest, rms } = self;
        write!(f, "difference {largest:.2e}, root mean square {rms:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(values: Values, bag: usize, ours: &[f32], theirs: &[f32]) -> bool {
        Tolerance::new(values, bag).check(ours, theirs).is_ok()
    }

    #[test]
    fn floats_may_be_rounded_only() {
        assert!(agree(Values::F32, 20, &[3.0, 1.0], &[3.000_01, 1.0]));
        assert!(!agree(Values::F32, 20, &[3.0, 1.0], &[3.000_03, 1.0]));
        assert!(agree(Values::F16, 1, &[0.5], &[0.5002]));
        assert!(!agree(Values::F16, 1, &[0.5], &[0.5003]));
        assert!(!agree(Values::F32, 1, &[f32::NAN], &[f32::NAN]));
        assert!(!agree(Values::F32, 1, &[1.0], &[]));
    }

    #[test]
    fn integers_may_be_a_step_apart_but_not_all_of_them() {
        let apart = |x: f32| [0.0, 0.0, 0.0, x];
        assert!(agree(Values::Int4, 1, &apart(0.13), &[0.0; 4]));
        assert!(!agree(Values::Int4, 1, &apart(0.14), &[0.0; 4]));
        assert!(!agree(Values::Int4, 1, &[0.13; 4], &[0.0; 4]));
        assert!(agree(Values::Int8, 20, &apart(0.05), &[0.0; 4]));
        assert!(!agree(Values::Int8, 20, &[0.05; 4], &[0.0; 4]));
    }
}
