//! How small a table could be.

use serde::Serialize;

use super::TableStats;
use crate::Values;

/// The information a table holds, in bytes: the yardstick of every encoding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// `n_rows · dim · H(p) / 8`, with `H(p) = -p log2 p - (1-p) log2 (1-p)` of the share `p` of values that
    /// are kept: what it takes to say which they are, if their places have no order.
    pub mask: f64,
    /// Kept values times the bits of their type, without scale and bias.
    pub values: f64,
}

impl Bound {
    /// The bound of a table with these statistics and values.
    pub fn new(stats: &TableStats, values: Values) -> Self {
        let n_values = stats.n_rows() * stats.dim;
        Self::of(n_values as u64, stats.n_kept() as u64, values)
    }

    /// The bound of a table of `n_values` values that keeps `n_kept` of them.
    pub fn of(n_values: u64, n_kept: u64, values: Values) -> Self {
        let density = n_kept as f64 / (n_values as f64).max(1.0);
        Self {
            mask: n_values as f64 * entropy(density) / 8.0,
            values: n_kept as f64 * values.bits() as f64 / 8.0,
        }
    }

    /// Mask and values.
    pub fn bytes(&self) -> f64 {
        self.mask + self.values
    }
}

/// Bits of a choice with probability `p`.
fn entropy(p: f64) -> f64 {
    let bits = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    let p = p.clamp(0.0, 1.0);
    bits(p) + bits(1.0 - p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    #[test]
    fn bounds_are_those_worked_by_hand() {
        let half = [[0.0; 16], [1.0; 16]].concat().repeat(50);
        let stats = |values| TableStats::of(Rows::new(values, 16).expect("whole rows"));
        let bound = Bound::new(&stats(&half), Values::F32);
        assert_eq!((bound.mask, bound.values), (200.0, 3200.0));
        assert_eq!(Bound::new(&stats(&[1.0; 160]), Values::Int4).bytes(), 80.0);
        assert!((entropy(0.05) - 0.286_396_957).abs() < 1e-9);
    }
}
