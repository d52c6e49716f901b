//! Quotient and remainder (H.-J. M. Shi et al., "Compositional embeddings", arXiv 1909.02107).
//!
//! Id `i` of a field of `n` ids is made of row `i / c` of a table of `⌈n/c⌉` quotients and row `i % c` of a table of
//! `c` remainders: their product (the authors' default), their sum, or one behind the other. Ids that differ have
//! quotients or remainders that differ, so that no two are the same row. In bags every id is combined before
//! the sum is taken.

use serde::{Deserialize, Serialize};
use slimbed_embedding::{Combine, EmbeddingError, Sharing};

use crate::plan::{FieldPlan, Plan, largest, refuse};

/// Settings of quotient and remainder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QrSettings {
    /// The divisor `c` of all fields, the authors' number of collisions; 1: plain tables. 0, the default: the
    /// smallest that meets the target.
    pub divisor: u32,
    /// What is made of the two rows; default `product`.
    pub combine: Combining,
    /// Fields of at most so many ids keep a row for each; default 200, the authors'.
    pub threshold: usize,
}

/// What is made of the two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combining {
    /// Their element-wise product.
    #[default]
    Product,
    /// Their sum.
    Sum,
    /// One behind the other, each of half the dim.
    Concat,
}

impl Default for QrSettings {
    fn default() -> Self {
        Self {
            divisor: 0,
            combine: Combining::default(),
            threshold: 200,
        }
    }
}

impl QrSettings {
    /// Refuses what cannot work for a model of `dim`.
    ///
    /// # Errors
    /// When rows of one value were to be halved.
    pub fn check(&self, dim: usize) -> Result<(), EmbeddingError> {
        if self.combine == Combining::Concat && dim < 2 {
            return refuse("dim with qr.combine=concat", "2 or more", dim);
        }
        Ok(())
    }

    /// Tables of at most `n` values for fields of `n_rows` ids, with as small divisors as that allows: `c + 1` for
    /// some of the largest fields and `c` for the others. The smallest there are when `n` is too few.
    pub fn plan(&self, n_rows: &[usize], dim: usize, n: u64) -> Plan {
        if self.divisor > 0 {
            let fields = n_rows.iter();
            return fields
                .map(|&rows| self.field(rows, dim, self.divisor as usize))
                .collect();
        }
        let n_fields = n_rows.len().max(1);
        let mut order: Vec<usize> = (0..n_rows.len()).collect();
        order.sort_by_key(|&f| std::cmp::Reverse(n_rows[f]));
        let mut rank = vec![0; n_rows.len()];
        order.iter().enumerate().for_each(|(i, &f)| rank[f] = i);
        // Beyond the root of the rows a larger divisor makes the tables larger again.
        let most = n_rows.iter().max().map_or(1, |&rows| root(rows));
        let n_knobs = most * n_fields;
        largest(n_knobs as u64, dim, n, |knob| {
            let smaller = n_knobs - 1 - knob as usize;
            let (c, n_more) = (1 + smaller / n_fields, smaller % n_fields);
            let fields = n_rows.iter().zip(&rank);
            let plan = fields.map(|(&rows, &rank)| {
                let c = c + usize::from(rank < n_more);
                self.field(rows, dim, c.min(root(rows)))
            });
            plan.collect()
        })
    }

    fn field(&self, n_rows: usize, dim: usize, divisor: usize) -> FieldPlan {
        let quotients = n_rows.div_ceil(divisor.max(1));
        let (combine, dims) = match self.combine {
            Combining::Product => (Combine::Product, [dim; 2]),
            Combining::Sum => (Combine::Sum, [dim; 2]),
            Combining::Concat => (Combine::Concat, [dim - dim / 2, dim / 2]),
        };
        let size = quotients * dims[0] + divisor * dims[1];
        if divisor < 2 || n_rows <= self.threshold || size >= n_rows * dim {
            return FieldPlan::own(n_rows, dim);
        }
        FieldPlan {
            sharing: Sharing::QuotientRemainder {
                divisor: divisor as u32,
                combine,
            },
            parts: vec![(quotients, dims[0]), (divisor, dims[1])],
            is_projected: false,
        }
    }
}

/// `⌈√n⌉`, 1 or more.
fn root(n: usize) -> usize {
    let root = n.isqrt();
    (root + usize::from(root * root < n)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::n_values;

    #[test]
    fn plans_are_those_worked_by_hand() {
        let settings = QrSettings {
            divisor: 4,
            ..QrSettings::default()
        };
        let plan = settings.plan(&[200, 1002], 16, 0);
        assert_eq!(plan[0], FieldPlan::own(200, 16));
        assert_eq!(plan[1].parts, [(251, 16), (4, 16)]);
        let concat = QrSettings {
            combine: Combining::Concat,
            ..settings.clone()
        };
        let plan = concat.plan(&[1002], 5, 0);
        assert_eq!(plan[0].parts, [(251, 3), (4, 2)]);
        let off = QrSettings {
            divisor: 1,
            ..settings
        };
        assert_eq!(off.plan(&[1002], 16, 0), [FieldPlan::own(1002, 16)]);
    }

    #[test]
    fn the_smallest_tables_have_about_two_roots_of_the_rows() {
        let plan = QrSettings::default().plan(&[1_000_000], 2, 0);
        assert_eq!(plan[0].parts, [(1000, 2), (1000, 2)]);
    }

    proptest! {
        #[test]
        fn distinct_ids_have_distinct_pairs(divisor in 1_u32..500, a in 0_u32..100_000, b in 0_u32..100_000) {
            let pair = |id: u32| (id / divisor, id % divisor);
            prop_assert_eq!(a == b, pair(a) == pair(b));
        }

        #[test]
        fn plans_keep_to_the_number_of_values(
            rows in prop::collection::vec(1_usize..50_000, 1..6),
            share in 0.1_f64..1.0,
        ) {
            let dim = 4;
            let all = rows.iter().sum::<usize>() * dim;
            let n = (share * all as f64) as u64;
            let settings = QrSettings { threshold: 0, ..QrSettings::default() };
            let plan = settings.plan(&rows, dim, n);
            let least = n_values(&settings.plan(&rows, dim, 0), dim);
            prop_assert!(n_values(&plan, dim) <= n.max(least));
        }
    }
}
