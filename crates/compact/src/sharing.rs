//! Ids that share rows.

use serde::{Deserialize, Serialize};

/// How the ids of a field become rows of what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Sharing {
    /// Every id has a row of its own.
    #[default]
    None,
    /// Id `i` has row [`hashed_row`]`(i, seed, rows)`.
    Hash {
        /// Chooses the function.
        seed: u64,
    },
    /// Id `i` has row `i` if there is one, else row 0: ids stand in order of falling frequency, so the rare
    /// ones share the out-of-vocabulary row. Since version 2 of the format.
    Cutoff,
    /// Id `i` is made of row `i / divisor` of a first table and row `i % divisor` of a second one
    /// (H.-J. M. Shi et al., arXiv 1909.02107).
    QuotientRemainder {
        /// Rows of the second table.
        divisor: u32,
        /// What is made of the two rows.
        combine: Combine,
    },
}

/// What is made of two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Their sum.
    Sum,
    /// Their element-wise product.
    Product,
    /// One behind the other.
    Concat,
}

/// The row of an id among `n_rows`: the finaliser of SplitMix64 over id and seed, brought into the range by
/// a product (D. Lemire, arXiv 1805.10941).
pub fn hashed_row(id: u32, seed: u64, n_rows: u32) -> u32 {
    let mut x = u64::from(id).wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (((x >> 32) * u64::from(n_rows)) >> 32) as u32
}

/// The row of an id where those from `n_rows` on share row 0.
pub fn cut_row(id: u32, n_rows: u32) -> u32 {
    if id < n_rows { id } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_hit_evenly() {
        for n_rows in [1, 7, 100] {
            let mut hits = vec![0; n_rows as usize];
            for id in 0..n_rows * 1000 {
                hits[hashed_row(id, 3, n_rows) as usize] += 1;
            }
            assert!(hits.iter().all(|&n| (850..=1150).contains(&n)), "{hits:?}");
        }
    }

    #[test]
    fn the_function_is_part_of_the_format() {
        let rows = [0, 1, 2, 1_000_000].map(|id| hashed_row(id, 5, 1000));
        // By another program, in Python.
        assert_eq!(rows, [106, 444, 311, 970]);
    }
}
