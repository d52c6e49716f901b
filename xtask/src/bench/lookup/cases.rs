//! The cases: sizes of table and batch, the ids' distribution, the values' type.

use std::fmt;
use std::num::{NonZeroU16, NonZeroUsize};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;
use slimbed_compact::Values;

/// One line of the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Rows of the table.
    pub rows: RowCount,
    /// Values of a row.
    pub dim: usize,
    /// Ids of a bag.
    pub bag: usize,
    /// Which ids.
    pub ids: Ids,
    /// Type of the values.
    pub values: Values,
}

/// A number of rows, written like `10M`, `20k` or `1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCount(pub usize);

/// How ids are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ids {
    /// Zipf's law with exponent 1.05 over the ranks.
    Zipf,
    /// Every row as likely as any other.
    Uniform,
}

/// Which row the id of which rank has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Ids are ranks, the most frequent first, as our vocabulary gives them.
    Ranked,
    /// Ranks are scattered over the rows.
    Scattered,
}

/// Which cases to run: all combinations of these.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cases (all combinations)")]
pub struct Choice {
    /// Rows of the table, like 1M,10M [without it: 1M,10M; with --pruned 10M].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub rows: Vec<RowCount>,
    /// Values of a row [without it: 8,16,32,64; with --pruned 16,64].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub dim: Vec<NonZeroU16>,
    /// Ids of a bag; one vector comes out for each bag.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,20"
    )]
    pub bag: Vec<NonZeroUsize>,
    /// How ids are drawn.
    #[arg(
        long = "stream",
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "zipf,uniform"
    )]
    pub ids: Vec<Ids>,
    /// Types of the values: f32, f16, int8, int4 [without it: all; with --pruned f32].
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', value_parser = values)]
    pub values: Vec<Values>,
    /// Bags of a batch.
    #[arg(long, value_name = "N", default_value = "2048")]
    pub batch: NonZeroUsize,
}

impl Choice {
    /// The same with every list filled: what is missing comes from `rows`, `dims` and `values`.
    pub fn or(&self, rows: &[usize], dims: &[usize], values: &[Values]) -> Plan {
        let or = |chosen: Vec<usize>, default: &[usize]| match chosen.is_empty() {
            true => default.to_vec(),
            false => chosen,
        };
        let chosen = |n: &NonZeroU16| usize::from(n.get());
        Plan {
            rows: or(self.rows.iter().map(|n| n.0).collect(), rows),
            dims: or(self.dim.iter().map(chosen).collect(), dims),
            values: match self.values.as_slice() {
                [] => values.to_vec(),
                chosen => chosen.to_vec(),
            },
            bags: self.bag.iter().map(|n| n.get()).collect(),
            ids: self.ids.clone(),
            batch: self.batch.get(),
        }
    }
}

/// What is to be combined.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rows of the tables.
    pub rows: Vec<usize>,
    /// Values of their rows.
    pub dims: Vec<usize>,
    /// Types of the values.
    pub values: Vec<Values>,
    /// Ids of a bag.
    pub bags: Vec<usize>,
    /// How they are drawn.
    pub ids: Vec<Ids>,
    /// Bags of a batch.
    pub batch: usize,
}

impl Plan {
    /// Number of tables, and of streams of ids for each.
    pub fn n_tables(&self) -> usize {
        self.rows.len() * self.dims.len() * self.values.len()
    }

    /// Streams of ids for each number of rows.
    pub fn n_streams(&self) -> usize {
        self.bags.len() * self.ids.len()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, dim, bag, .. } = self;
        let (ids, values) = (self.ids.name(), self.values.name());
        write!(f, "d={dim} bag={bag} {ids} rows={rows} {values}")
    }
}

impl Ids {
    /// Its name on the command line and in the names of the cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf",
            Self::Uniform => "uniform",
        }
    }
}

impl fmt::Display for RowCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 1_000_000.. => write!(f, "{}M", n as f64 / 1e6),
            n @ 1_000.. => write!(f, "{}k", n as f64 / 1e3),
            n => write!(f, "{n}"),
        }
    }
}

impl FromStr for RowCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: f64 = 1e9;
        let (digits, unit) = match text.strip_suffix(['M', 'k']) {
            Some(digits) if text.ends_with('M') => (digits, 1e6),
            Some(digits) => (digits, 1e3),
            None => (text, 1.0),
        };
        match digits.parse::<f64>().map(|n| (n * unit).round()) {
            Ok(n) if (1.0..=MOST).contains(&n) => Ok(Self(n as usize)),
            _ => Err("expected 1 to 1000M rows, written like 10M, 20k or 1000".into()),
        }
    }
}

fn values(text: &str) -> Result<Values, String> {
    let found = Values::ALL.into_iter().find(|values| values.name() == text);
    found.ok_or_else(|| "expected f32, f16, int8 or int4".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_manual() {
        let case = Case {
            rows: RowCount(10_000_000),
            dim: 16,
            bag: 1,
            ids: Ids::Zipf,
            values: Values::F16,
        };
        assert_eq!(case.to_string(), "d=16 bag=1 zipf rows=10M f16");
        let case = Case {
            rows: RowCount(2_500),
            ids: Ids::Uniform,
            values: Values::Int4,
            ..case
        };
        assert_eq!(case.to_string(), "d=16 bag=1 uniform rows=2.5k int4");
    }

    #[test]
    fn rows_are_read_in_thousands_and_millions() {
        for (text, n) in [("10M", 10_000_000), ("2.5k", 2_500), ("7", 7)] {
            assert_eq!(text.parse(), Ok(RowCount(n)), "{text}");
        }
        for text in ["0", "1001M", "nan", "-5", "M", "", "2 M"] {
            assert!(text.parse::<RowCount>().is_err(), "{text}");
        }
    }
}
