//! The cases: sizes of batch and tables, optimiser and precision, and the shape they share.

use std::fmt;
use std::str::FromStr;

use slimbed_dlrm::DlrmConfig;

use super::workload::{Precision, TableOptimizer};

/// Distinct values of the 26 categorical columns of the Criteo-Kaggle data: 33,762,577 rows.
const CRITEO_KAGGLE: [u64; 26] = [
    1_460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5_683, 8_351_593, 3_194,
    27, 14_992, 5_461_306, 10, 5_652, 2_173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572,
];

/// One line of the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Samples of a step.
    pub batch: usize,
    /// Rows of all tables.
    pub rows: Rows,
    /// The optimiser of the tables.
    pub optimizer: TableOptimizer,
    /// Type of the products' operands.
    pub precision: Precision,
}

/// A number of rows, written like `33.7M`, `20k` or `1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows(pub u64);

/// The cases that are run when none is chosen.
pub const DEFAULTS: [Case; 5] = [
    Case {
        rows: Rows(2_000_000),
        ..BASE
    },
    BASE,
    Case { batch: 128, ..BASE },
    Case {
        optimizer: TableOptimizer::RowWiseAdagrad,
        ..BASE
    },
    Case {
        precision: Precision::Bf16,
        ..BASE
    },
];

/// What a choice leaves open.
pub const BASE: Case = Case {
    batch: 2048,
    rows: Rows(33_700_000),
    optimizer: TableOptimizer::Sgd,
    precision: Precision::F32,
};

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (optimizer, precision) = (self.optimizer.name(), self.precision.name());
        let (batch, rows) = (self.batch, self.rows);
        write!(f, "batch={batch} rows={rows} {optimizer} {precision}")
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 1_000_000.. => write!(f, "{:.1}M", n as f64 / 1e6),
            n @ 1_000.. => write!(f, "{:.1}k", n as f64 / 1e3),
            n => write!(f, "{n}"),
        }
    }
}

impl FromStr for Rows {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.strip_suffix(['M', 'k']) {
            Some(digits) if text.ends_with('M') => (digits, 1e6),
            Some(digits) => (digits, 1e3),
            None => (text, 1.0),
        };
        let most: u64 = CRITEO_KAGGLE.iter().sum();
        let rows = digits.parse::<f64>().map(|n| (n * unit).round());
        match rows {
            Ok(n) if n >= CRITEO_KAGGLE.len() as f64 && n <= most as f64 => Ok(Self(n as u64)),
            _ => Err(format!(
                "expected {} to {most} rows, written like 33.7M, 20k or 1000",
                CRITEO_KAGGLE.len()
            )),
        }
    }
}

impl Rows {
    /// Rows of each field's table: those of Criteo-Kaggle, the large ones cut to one size, so that the
    /// sum is the number of rows or up to 25 less.
    pub fn per_field(self) -> Vec<usize> {
        let cut = |cap: u64| CRITEO_KAGGLE.iter().map(move |&n| n.min(cap));
        let fits = |cap: u64| cut(cap).sum::<u64>() <= self.0;
        let (mut low, mut high): (u64, u64) = (1, CRITEO_KAGGLE.iter().sum());
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        cut(low).map(|n| n as usize).collect()
    }
}

/// The network of every case, that of facebookresearch/dlrm for Criteo-Kaggle.
pub fn model() -> DlrmConfig {
    DlrmConfig {
        n_dense: 13,
        n_fields: CRITEO_KAGGLE.len(),
        dim: 16,
        bottom: vec![512, 256, 64],
        top: vec![512, 256],
        self_interaction: false,
        dropout: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_manual() {
        let names = DEFAULTS.map(|case| case.to_string());
        let expected = [
            "batch=2048 rows=2.0M sgd f32",
            "batch=2048 rows=33.7M sgd f32",
            "batch=128 rows=33.7M sgd f32",
            "batch=2048 rows=33.7M row-wise-adagrad f32",
            "batch=2048 rows=33.7M sgd bf16",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn rows_are_read_in_thousands_and_millions() {
        for (text, n) in [
            ("33.7M", 33_700_000),
            ("20k", 20_000),
            ("26", 26),
            ("2M", 2_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Rows(n)), "{text}");
        }
        for text in ["25", "33.8M", "1e99", "nan", "-5", "M", "", "2 M"] {
            let error = text.parse::<Rows>().unwrap_err();
            assert!(error.contains("26 to 33762577"), "{error}");
        }
    }

    #[test]
    fn tables_have_the_rows_that_were_asked_for() {
        for n in [26, 27, 1000, 100_000, 2_000_000, 33_700_000, 33_762_577] {
            let rows = Rows(n).per_field();
            let sum = rows.iter().sum::<usize>() as u64;
            assert!(sum <= n && sum + 25 >= n, "{n}: {sum}");
            assert!(
                rows.iter()
                    .zip(CRITEO_KAGGLE)
                    .all(|(&r, c)| r > 0 && r as u64 <= c)
            );
        }
        assert!(
            Rows(33_762_577)
                .per_field()
                .iter()
                .map(|&n| n as u64)
                .eq(CRITEO_KAGGLE)
        );
    }
}
