//! What decides about the size of a table.

use crate::rows::{Rows, n_kept, prefix_len};

/// How many values the rows of a table keep, and how long their prefixes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Values of a row.
    pub dim: usize,
    /// `kept[t]` rows keep `t` values, `dim + 1` entries.
    pub kept: Vec<usize>,
    /// In `prefixes[t]` rows the last kept value is the `t`-th.
    pub prefixes: Vec<usize>,
}

impl TableStats {
    /// One pass over the rows.
    pub fn of(rows: Rows<'_>) -> Self {
        let dim = rows.dim();
        let (mut kept, mut prefixes) = (vec![0; dim + 1], vec![0; dim + 1]);
        for row in rows.iter() {
            kept[n_kept(row)] += 1;
            prefixes[prefix_len(row)] += 1;
        }
        Self {
            dim,
            kept,
            prefixes,
        }
    }

    /// Rows of the table.
    pub fn n_rows(&self) -> usize {
        self.kept.iter().sum()
    }

    /// Rows that keep nothing.
    pub fn n_empty(&self) -> usize {
        self.kept[0]
    }

    /// Values of all rows that are kept.
    pub fn n_kept(&self) -> usize {
        self.kept.iter().enumerate().map(|(t, n)| t * n).sum()
    }

    /// Share of values that are kept; 1 of a table without any.
    pub fn density(&self) -> f64 {
        match self.n_rows() * self.dim {
            0 => 1.0,
            n => self.n_kept() as f64 / n as f64,
        }
    }
}
