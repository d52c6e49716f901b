//! How many values rows keep, by how often their ids are seen.

use std::path::Path;

use slimbed_compact::{StoredTables, TableSource};
use slimbed_data::Dataset;

use super::chart::Curve;

/// Fields that get a curve of their own.
const FIELDS: usize = 6;

/// Rows of one field, or of all, by the logarithm of their count.
#[derive(Clone, Debug, Default)]
struct Bins {
    n_rows: Vec<u64>,
    n_kept: Vec<u64>,
}

/// The curve over all fields, and those of the largest ones.
///
/// # Errors
/// When the artefact or the vocabulary is damaged.
pub fn curves(artefact: &Path, dataset: &Dataset) -> anyhow::Result<Vec<Curve>> {
    let tables = StoredTables::open(artefact)?;
    let vocabulary = dataset.vocabulary()?;
    let mut all = Bins::default();
    let mut fields = Vec::new();
    for (f, (field, counts)) in tables.fields().iter().zip(vocabulary.fields()).enumerate() {
        let mut bins = Bins::default();
        let rows = tables.rows(f)?;
        for (row, &count) in rows.chunks_exact(field.dim).zip(counts.counts()) {
            let n_kept = row.iter().filter(|x| **x != 0.0).count() as u64;
            bins.add(count, n_kept);
            all.add(count, n_kept);
        }
        fields.push((field.n_rows, bins.curve(&field.name)));
    }
    fields.sort_by_key(|(n_rows, _)| std::cmp::Reverse(*n_rows));
    let largest = fields.into_iter().take(FIELDS).map(|(_, curve)| curve);
    Ok(std::iter::once(all.curve("all fields"))
        .chain(largest)
        .collect())
}

impl Bins {
    /// Counts a row; one that is never seen in training is in no bin.
    fn add(&mut self, count: u64, n_kept: u64) {
        let Some(bin) = count.checked_ilog2().map(|bin| bin as usize) else {
            return;
        };
        if self.n_rows.len() <= bin {
            self.n_rows.resize(bin + 1, 0);
            self.n_kept.resize(bin + 1, 0);
        }
        self.n_rows[bin] += 1;
        self.n_kept[bin] += n_kept;
    }

    fn curve(&self, name: &str) -> Curve {
        let bins = self.n_rows.iter().zip(&self.n_kept).enumerate();
        let filled = bins.filter(|(_, (n_rows, _))| **n_rows > 0);
        Curve {
            name: name.to_owned(),
            points: filled
                .map(|(bin, (&n_rows, &n_kept))| (bin as f64, n_kept as f64 / n_rows as f64))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_the_logarithm_of_their_count() {
        let mut bins = Bins::default();
        for (count, n_kept) in [(0, 9), (1, 2), (4, 3), (7, 6)] {
            bins.add(count, n_kept);
        }
        assert_eq!(bins.curve("a").points, [(0.0, 2.0), (2.0, 4.5)]);
    }
}
