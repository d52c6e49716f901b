//! What decides about the size of a table.

use super::{Falling, RowsStored};
use crate::rows::{Rows, n_kept, prefix_len};

/// How many values the rows of a table keep, and how long their prefixes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Values of a row.
    pub dim: usize,
    /// Of the whole table.
    pub all: Lengths,
    /// Of its first rows: how many, and their lengths. Their numbers grow by a sixteenth from one to the next.
    heads: Vec<(usize, Lengths)>,
    /// Lengths of all prefixes, each as long as any behind it.
    falling: Falling,
    /// Those of the rows that keep a value.
    falling_present: Falling,
}

/// Histograms of the lengths of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// `kept[t]` rows keep `t` values, `dim + 1` entries.
    pub kept: Vec<usize>,
    /// In `prefixes[t]` rows the last kept value is the `t`-th.
    pub prefixes: Vec<usize>,
}

/// Rows of the smallest head, and what the numbers of rows of all heads are multiples of: their bytes are
/// then multiples of a cache line.
const HEAD_STEP: usize = 64;

impl TableStats {
    /// One pass over the rows.
    pub fn of(rows: Rows<'_>) -> Self {
        let dim = rows.dim();
        let mut all = Lengths::new(dim);
        let (mut falling, mut falling_present) = (Falling::default(), Falling::default());
        let mut heads = Vec::new();
        let mut next = HEAD_STEP;
        for (i, row) in rows.iter().enumerate() {
            if i == next {
                heads.push((i, all.clone()));
                next = (next + next / 16).next_multiple_of(HEAD_STEP);
            }
            all.kept[n_kept(row)] += 1;
            let length = prefix_len(row);
            all.prefixes[length] += 1;
            falling.push(length);
            if length > 0 {
                falling_present.push(length);
            }
        }
        Self {
            dim,
            all,
            heads,
            falling,
            falling_present,
        }
    }

    /// Rows of the table.
    pub fn n_rows(&self) -> usize {
        self.all.n_rows()
    }

    /// Rows that keep nothing.
    pub fn n_empty(&self) -> usize {
        self.all.kept[0]
    }

    /// Values of all rows that are kept.
    pub fn n_kept(&self) -> usize {
        self.all.n_kept()
    }

    /// Numbers of leading rows whose lengths are known.
    pub fn heads(&self) -> impl Iterator<Item = usize> {
        self.heads.iter().map(|(n, _)| *n)
    }

    /// Lengths of the prefixes of the rows stored, each as long as any behind it.
    pub(crate) fn falling(&self, rows: RowsStored) -> &Falling {
        match rows {
            RowsStored::All => &self.falling,
            RowsStored::Present => &self.falling_present,
        }
    }

    /// Lengths of the rows behind the first `n_head`, one of [`heads`](Self::heads) or 0.
    pub(crate) fn behind(&self, n_head: usize) -> Lengths {
        let head = self.heads.iter().find(|(n, _)| *n == n_head);
        head.map_or_else(|| self.all.clone(), |(_, head)| self.all.without(head))
    }
}

impl Lengths {
    fn new(dim: usize) -> Self {
        let (kept, prefixes) = (vec![0; dim + 1], vec![0; dim + 1]);
        Self { kept, prefixes }
    }

    /// Rows counted.
    pub fn n_rows(&self) -> usize {
        self.kept.iter().sum()
    }

    /// Values they keep.
    pub fn n_kept(&self) -> usize {
        self.kept.iter().enumerate().map(|(t, n)| t * n).sum()
    }

    fn without(&self, other: &Self) -> Self {
        let minus = |all: &[usize], some: &[usize]| {
            let pairs = all.iter().zip(some);
            pairs.map(|(all, some)| all - some).collect()
        };
        Self {
            kept: minus(&self.kept, &other.kept),
            prefixes: minus(&self.prefixes, &other.prefixes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_and_heads_taken_away() {
        let mut values = vec![1.0; 3 * 64];
        values.extend([0.0, 2.0, 0.0].repeat(6));
        let stats = TableStats::of(Rows::new(&values, 3).expect("whole rows"));
        assert_eq!(
            (stats.n_rows(), stats.n_kept(), stats.n_empty()),
            (70, 198, 0)
        );
        assert_eq!(stats.heads().collect::<Vec<_>>(), [64]);
        let tail = stats.behind(64);
        assert_eq!(
            (tail.kept, tail.prefixes),
            (vec![0, 6, 0, 0], vec![0, 0, 6, 0])
        );
    }
}
