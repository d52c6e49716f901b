//! What the branches know of a row: how frequent it is.

use std::cmp::Reverse;

use rayon::prelude::*;
use slimbed_embedding::{EmbeddingError, Table};
use slimbed_rng::Seed;

/// Attributes of a row.
pub const ATTRIBUTES: usize = 2;

/// Most rows of the sample that stands for all.
const MAX_SAMPLE: usize = 1024;

/// A few rows that stand for all of them.
#[derive(Debug, Default)]
pub struct Sample {
    /// `[n, 2]`.
    pub attributes: Vec<f32>,
    /// Share of all rows that each stands for, `[n]`; their sum is 1.
    pub shares: Vec<f32>,
}

/// The attributes `[n_rows, 2]` of the rows of each field, and a sample.
///
/// They are `ln(1 + count)`, shifted and scaled to mean 0 and variance 1 within the field, and the rank by
/// falling count (from 0, ties by row number) over the number of rows. The sample has one row for each of
/// at most 1024 equal strata of all rows, which stand field by field in the order of their ranks.
///
/// # Errors
/// When the system does not give the memory.
pub fn tabulate(counts: &[&[u64]], seed: Seed) -> Result<(Vec<Table>, Sample), EmbeddingError> {
    let draws = draw(counts.iter().map(|counts| counts.len()).sum(), seed);
    let mut sample = Sample::default();
    let mut tables = Vec::with_capacity(counts.len());
    let (mut start, mut draws) = (0, &draws[..]);
    for counts in counts {
        let mut table = Table::zeros(counts.len(), ATTRIBUTES)?;
        let order = fill(&mut table, counts);
        let here = draws.partition_point(|draw| draw.place < start + counts.len());
        for draw in &draws[..here] {
            let row = table.row(order[draw.place - start]);
            sample.attributes.extend_from_slice(row);
            sample.shares.push(draw.share);
        }
        (start, draws) = (start + counts.len(), &draws[here..]);
        tables.push(table);
    }
    Ok((tables, sample))
}

/// A row of the sample by its place in the order of all rows.
struct Draw {
    place: usize,
    share: f32,
}

/// One place from each of at most [`MAX_SAMPLE`] equal strata, rising.
fn draw(n_rows: usize, seed: Seed) -> Vec<Draw> {
    let n_strata = n_rows.min(MAX_SAMPLE);
    let mut stream = seed.stream("amtl/sample", 0);
    let bound = |stratum: usize| (stratum as u128 * n_rows as u128 / n_strata as u128) as usize;
    let one = |stratum: usize| {
        let (first, len) = (bound(stratum), bound(stratum + 1) - bound(stratum));
        Draw {
            place: first + stream.below(len as u64) as usize,
            share: (len as f64 / n_rows as f64) as f32,
        }
    };
    (0..n_strata).map(one).collect()
}

/// Fills the table of one field; returns its rows in the order of their ranks.
fn fill(table: &mut Table, counts: &[u64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.par_sort_unstable_by_key(|&row| (Reverse(counts[row as usize]), row));
    let n = counts.len().max(1) as f64;
    let logs = counts.iter().map(|&count| (count as f64).ln_1p());
    let mean = logs.clone().sum::<f64>() / n;
    let variance = logs.clone().map(|log| (log - mean).powi(2)).sum::<f64>() / n;
    // Rounding leaves a little variance where all counts are the same.
    let scale = if variance > 1e-12 {
        variance.sqrt().recip()
    } else {
        0.0
    };
    let (rows, _) = table.values_mut().as_chunks_mut::<ATTRIBUTES>();
    for (row, log) in rows.iter_mut().zip(logs) {
        row[0] = ((log - mean) * scale) as f32;
    }
    for (rank, &row) in order.iter().enumerate() {
        rows[row as usize][1] = (rank as f64 / n) as f32;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_a_small_field() {
        let counts: &[u64] = &[0, 7, 7, 100];
        let (tables, sample) = tabulate(&[counts], Seed::new(1)).unwrap();
        let ranks: Vec<f32> = (0..4).map(|row| tables[0].row(row)[1]).collect();
        assert_eq!(ranks, [0.75, 0.25, 0.5, 0.0]);
        let z: Vec<f32> = (0..4).map(|row| tables[0].row(row)[0]).collect();
        assert!(z.iter().sum::<f32>().abs() < 1e-6);
        assert!((z.iter().map(|z| z * z).sum::<f32>() - 4.0).abs() < 1e-5);
        // ln 1, ln 8, ln 8, ln 101 by hand: mean 2.1936, standard deviation 1.6351.
        assert!((z[0] + 1.3416).abs() < 1e-3 && z[1] == z[2], "{z:?}");
        assert_eq!(sample.shares, [0.25; 4]);
        assert_eq!(sample.attributes[..2], *tables[0].row(3));
    }

    #[test]
    fn equal_counts_have_no_spread() {
        let (tables, _) = tabulate(&[&[3; 5]], Seed::new(1)).unwrap();
        assert!((0..5).all(|row| tables[0].row(row)[0] == 0.0));
    }

    #[test]
    fn the_sample_is_stratified_over_all_fields() {
        let counts = [vec![1; 3], vec![2; 5000], vec![9; 20_000]];
        let slices: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
        let (_, sample) = tabulate(&slices, Seed::new(4)).unwrap();
        assert_eq!(sample.shares.len(), MAX_SAMPLE);
        assert!((sample.shares.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        let mean: f32 = sample.attributes.iter().skip(1).step_by(2).sum::<f32>() / 1024.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
