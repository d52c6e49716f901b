//! The hashing trick: ids share rows that a hash function chooses, whatever their frequency.
//!
//! Id `i` of a field of `n` ids has row `h(i)` of `m < n` rows; `h` is that of the deployed table
//! ([`slimbed_compact::hashed_row`]). The control that every method has to beat.

use serde::{Deserialize, Serialize};
use slimbed_embedding::Sharing;

use crate::plan::{FieldPlan, Plan, largest};

/// Steps of the one factor between the rows of all fields.
const FACTORS: u64 = 1 << 30;

/// Settings of hashing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashSettings {
    /// Fields of at most so many ids keep a row for each; default 200.
    pub threshold: usize,
    /// Chooses the hash function; default 0.
    pub seed: u64,
}

impl Default for HashSettings {
    fn default() -> Self {
        Self {
            threshold: 200,
            seed: 0,
        }
    }
}

impl HashSettings {
    /// Tables of at most `n` values for fields of `n_rows` ids: `m = ⌊φ·n_rows⌋` rows, 1 or more, with one factor
    /// `φ` for all fields beyond the threshold. The smallest there are when `n` is too few.
    pub fn plan(&self, n_rows: &[usize], dim: usize, n: u64) -> Plan {
        largest(FACTORS + 1, dim, n, |knob| {
            let fields = n_rows.iter();
            fields.map(|&rows| self.field(rows, dim, knob)).collect()
        })
    }

    fn field(&self, n_rows: usize, dim: usize, knob: u64) -> FieldPlan {
        let m = ((n_rows as u64 * knob / FACTORS) as usize).max(1);
        if n_rows <= self.threshold.max(1) || m >= n_rows {
            return FieldPlan::own(n_rows, dim);
        }
        FieldPlan {
            sharing: Sharing::Hash { seed: self.seed },
            parts: vec![(m, dim)],
            is_projected: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_factor_for_all_large_fields() {
        let settings = HashSettings {
            threshold: 100,
            seed: 4,
        };
        // 100 rows stay; 1000 and 4000 rows share 900 values of dim 2 less the 200 of the first.
        let plan = settings.plan(&[100, 1000, 4000], 2, 1200);
        let sharing = Sharing::Hash { seed: 4 };
        assert_eq!(plan[0], FieldPlan::own(100, 2));
        assert_eq!(
            (plan[1].sharing, &plan[1].parts[..]),
            (sharing, &[(100, 2)][..])
        );
        assert_eq!(
            (plan[2].sharing, &plan[2].parts[..]),
            (sharing, &[(400, 2)][..])
        );
        let all = settings.plan(&[100, 1000, 4000], 2, 10_200);
        assert!(all.iter().all(|field| field.sharing == Sharing::None));
        let least = settings.plan(&[100, 1000, 4000], 2, 0);
        assert_eq!(crate::n_values(&least, 2), 204);
    }
}
