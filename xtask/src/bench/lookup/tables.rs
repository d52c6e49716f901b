//! The tables: values that any program can compute, what pruning leaves of them, and their stored form.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process;
use std::str::FromStr;

use clap::ValueEnum;
use rayon::prelude::*;
use serde_json::Value;
use slimbed_compact::{
    Artefact, ArtefactError, DenseTensor, Encoding, FieldTable, Pooling, Rows, Table, write,
};
use slimbed_files::IoContext;
use slimbed_rng::Seed;

use super::pages::{Pages, backing};
use super::streams::Places;

/// 2^32 divided by the golden ratio: multiples of it modulo 2^32 are spread evenly.
const GOLDEN: u32 = 0x9e37_79b1;
/// A dense weight that tells where the artefact's memory is.
const PROBE: &str = "probe";

/// Pages that a table is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageSize {
    /// Huge ones, 2 MB on most machines.
    Huge,
    /// Those the system gives unasked, 4 KB on most machines.
    Small,
}

/// What is left of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// Percent of the values that are gone, each row's at random places.
    Pruned(f64),
    /// A quarter of the values is left: the first ones of each row.
    Prefix,
}

/// Value number `i` of every table, counted row by row: `⌊i · 2654435761 mod 2^32 / 256⌋ / 2^23 - 1`, which
/// is in [-1, 1) and exact in f32.
fn value(i: usize) -> f32 {
    let word = (i as u32).wrapping_mul(GOLDEN) >> 8;
    word as f32 / (1 << 23) as f32 - 1.0
}

/// All values of a table.
pub fn full(n_rows: usize, dim: usize) -> Vec<f32> {
    let mut values = vec![0.0; n_rows * dim];
    let rows = values.par_chunks_exact_mut(dim).enumerate();
    rows.for_each(|(row, out)| {
        let places = row * dim..;
        out.iter_mut().zip(places).for_each(|(x, i)| *x = value(i));
    });
    values
}

impl Reduction {
    /// The values of a table; what is gone is 0.
    ///
    /// The row of rank `k` keeps `round(dim · min(1, c · (k / n_rows)^-power))` values, with the `c` that
    /// leaves the share asked for.
    pub fn apply(self, places: &Places, dim: usize, power: f64, seed: Seed) -> Vec<f32> {
        let n_rows = places.n_rows;
        let counts = rows_that_keep(self.kept(), n_rows, dim, power);
        let mut stream = seed.stream("bench/lookup/columns", 0);
        let mut columns: Vec<usize> = (0..dim).collect();
        let mut values = vec![0.0; n_rows * dim];
        let mut kept = dim;
        for rank in 0..n_rows {
            while kept > 0 && counts[kept - 1] <= rank {
                kept -= 1;
            }
            let start = places.row(rank) * dim;
            for i in 0..kept {
                if self != Self::Prefix {
                    columns.swap(i, i + stream.below((dim - i) as u64) as usize);
                }
                values[start + columns[i]] = value(start + columns[i]);
            }
        }
        values
    }

    /// Share of the values that is left.
    fn kept(self) -> f64 {
        match self {
            Self::Pruned(percent) => 1.0 - percent / 100.0,
            Self::Prefix => 0.25,
        }
    }
}

/// For each `t` from 1 to `dim` the number of rows that keep `t` values or more.
fn rows_that_keep(share: f64, n_rows: usize, dim: usize, power: f64) -> Vec<usize> {
    let counts = |c: f64| -> Vec<usize> {
        // round(dim · c · (k / n)^-power) >= t, solved for k.
        let count = |t: usize| (dim as f64 * c / (t as f64 - 0.5)).powf(1.0 / power);
        let counts = (1..=dim).map(count);
        counts
            .map(|share| (share.min(1.0) * n_rows as f64) as usize)
            .collect()
    };
    let wanted = (share * (n_rows * dim) as f64) as usize;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match counts(middle).iter().sum::<usize>() > wanted {
            true => high = middle,
            false => low = middle,
        }
    }
    counts(low)
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pruned(percent) => write!(f, "pruned={percent}%"),
            Self::Prefix => f.write_str("prefix=d/4"),
        }
    }
}

impl FromStr for Reduction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "prefix" {
            return Ok(Self::Prefix);
        }
        match text.trim_end_matches('%').parse() {
            Ok(percent) if (0.0..100.0).contains(&percent) => Ok(Self::Pruned(percent)),
            _ => Err("expected a percentage below 100, or `prefix`".into()),
        }
    }
}

/// A table in the form in which it is shipped.
#[derive(Debug)]
pub struct Stored {
    artefact: Artefact,
    /// How its rows are stored.
    pub encoding: Encoding,
}

impl Stored {
    /// Writes `rows` into a file in `folder`, opens it, and removes the file.
    ///
    /// # Errors
    /// When the encoding does not suit the rows, or the file system refuses.
    pub fn new(
        folder: &Path,
        rows: Rows<'_>,
        encoding: Encoding,
        pages: PageSize,
    ) -> anyhow::Result<Self> {
        let path = folder.join("table.safetensors");
        let field = FieldTable::new("table", rows, encoding, Pooling::Sum);
        let probe = DenseTensor {
            name: PROBE,
            shape: &[1],
            values: &[0.0],
        };
        write(&path, &[field], &[probe], Value::Null, Value::Null)?;
        let artefact = match pages {
            PageSize::Huge => Artefact::load(&path)?,
            PageSize::Small => {
                let artefact = Artefact::open(&path)?;
                // Brings every page into memory.
                artefact.verify()?;
                artefact
            }
        };
        fs::remove_file(&path).at("remove", &path)?;
        Ok(Self { artefact, encoding })
    }

    /// The table, to be looked up in.
    ///
    /// # Errors
    /// None that a file of our own can cause.
    pub fn table(&self) -> Result<Table<'_>, ArtefactError> {
        self.artefact.table(0)
    }

    /// Bytes of the table.
    pub fn n_bytes(&self) -> u64 {
        self.artefact.field_bytes(0)
    }

    /// The pages that hold it.
    pub fn pages(&self) -> Option<Pages> {
        let (_, probe) = self.artefact.dense(PROBE).ok()?;
        backing(process::id(), probe.as_ptr().addr() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::lookup::cases::Order;

    #[test]
    fn values_are_those_worked_by_hand() {
        // 2654435761 >> 8 = 10368889, and 3 · 2654435761 mod 2^32 >> 8 = 14329453; 2^23 = 8388608.
        let found = full(2, 2);
        assert_eq!(found[0], -1.0);
        assert_eq!(found[1] * 8_388_608.0, 1_980_281.0);
        assert_eq!(found[3] * 8_388_608.0, 5_940_845.0);
        assert!(full(100, 7).iter().all(|x| (-1.0..1.0).contains(x)));
    }

    #[test]
    fn pruned_tables_keep_the_share_asked_for_and_more_of_frequent_rows() {
        let (n_rows, dim, seed) = (10_000, 16, Seed::new(1));
        let places = Places::new(Order::Scattered, n_rows, seed);
        for (text, share) in [("95", 0.05), ("99%", 0.01), ("prefix", 0.25), ("0", 1.0)] {
            let reduction: Reduction = text.parse().unwrap();
            let values = reduction.apply(&places, dim, 0.5, seed);
            let kept = |row: usize| values[row * dim..][..dim].iter().filter(|&&x| x != 0.0);
            let all = (0..n_rows).map(|row| kept(row).count()).sum::<usize>();
            let found = all as f64 / (n_rows * dim) as f64;
            assert!((found - share).abs() < 0.01 * share, "{text}: {found}");
            let of_rank = |rank| kept(places.row(rank)).count();
            assert!((15..=16).contains(&of_rank(0)), "{text}");
            assert!(of_rank(9999) <= of_rank(99), "{text}");
        }
    }

    #[test]
    fn prefixes_are_at_the_start() {
        let places = Places::new(Order::Ranked, 500, Seed::new(1));
        let values = Reduction::Prefix.apply(&places, 8, 0.5, Seed::new(1));
        let first_zero = |row: &[f32]| row.iter().position(|&x| x == 0.0).unwrap_or(8);
        let rest_is_zero = |row: &[f32]| row[first_zero(row)..].iter().all(|&x| x == 0.0);
        assert!(values.chunks(8).all(rest_is_zero));
    }

    #[test]
    fn reductions_are_read() {
        assert_eq!("99.5%".parse(), Ok(Reduction::Pruned(99.5)));
        for text in ["100", "-1", "suffix", ""] {
            assert!(text.parse::<Reduction>().is_err(), "{text}");
        }
    }
}
