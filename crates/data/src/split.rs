//! Which split a row belongs to.

use slimbed_rng::Seed;

use crate::SplitRule;
use crate::reader::Rows;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What the model learns from; the only part that shapes the vocabulary.
    Train,
    /// What weights and settings are selected on.
    Validation,
    /// What is scored once.
    Test,
}

impl Split {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Tells the split of every row from the row's number.
#[derive(Clone, Debug)]
pub enum Splitter {
    /// Row `i` draws from word `2 i` of one stream: no memory, and any row can be asked for.
    Random {
        /// Seed of the draws.
        seed: Seed,
        /// Where validation and test begin in `[0, 1)`.
        bounds: [f64; 2],
    },
    /// Rows below the first bound are in the first part, and so on.
    FileOrder {
        /// The parts in order, each with the row after its last.
        parts: [(Split, u64); 3],
    },
}

impl Splitter {
    /// The rule for an input of `n_rows` rows; `None` when a row's number does not tell its split.
    ///
    /// In file order a part ends at row `⌈n · shares so far⌉`, which for 6/7 is where the seventh of
    /// DLRM's days begins.
    pub fn new(rule: &SplitRule, seed: Seed, n_rows: u64) -> Option<Self> {
        match rule {
            SplitRule::Files | SplitRule::Time { .. } => None,
            SplitRule::Random { shares } => Some(Self::Random {
                seed,
                bounds: bounds(shares),
            }),
            SplitRule::FileOrder { parts } => {
                let total: f64 = parts.iter().map(|(_, share)| share).sum();
                let mut so_far = 0.0;
                let parts = parts.map(|(split, share)| {
                    so_far += share;
                    // A hair less than the product, so that a whole number is not rounded up.
                    (
                        split,
                        (n_rows as f64 * (so_far / total) - 1e-6).ceil() as u64,
                    )
                });
                Some(Self::FileOrder { parts })
            }
        }
    }

    /// The splits of the rows `rows`.
    pub fn splits(&self, rows: impl Iterator<Item = u64>) -> Vec<Split> {
        match self {
            Self::Random { seed, bounds } => random(*seed, *bounds, rows),
            Self::FileOrder { parts } => rows
                .map(|row| {
                    let part = parts.iter().find(|(_, end)| row < *end);
                    part.unwrap_or(&parts[2]).0
                })
                .collect(),
        }
    }
}

/// Tells the split of every row from all that is known of it.
#[derive(Clone, Debug)]
pub enum RowSplitter {
    /// By the row's number.
    Number(Splitter),
    /// By the row's file.
    File,
    /// By time: the first seconds of validation and of test.
    Time([i64; 2]),
}

impl RowSplitter {
    /// The rule for an input of `n_rows` rows, whose `times` are only needed for a split by time.
    pub fn new(rule: &SplitRule, seed: Seed, n_rows: u64, times: &mut [i64]) -> Self {
        match (Splitter::new(rule, seed, n_rows), rule) {
            (Some(splitter), _) => Self::Number(splitter),
            (None, SplitRule::Time { shares }) => Self::Time(cuts(shares, times)),
            (None, _) => Self::File,
        }
    }

    /// The splits of `rows`.
    pub fn splits(&self, rows: &Rows) -> Vec<Split> {
        match self {
            Self::Number(splitter) => splitter.splits(rows.lines.iter().copied()),
            Self::File => vec![Split::ALL[rows.file.min(2)]; rows.lines.len()],
            Self::Time(cuts) => {
                let part = |time: &i64| cuts.iter().filter(|&cut| time >= cut).count();
                rows.times
                    .iter()
                    .map(|time| Split::ALL[part(time)])
                    .collect()
            }
        }
    }
}

/// Where validation and test begin in `[0, 1)`.
fn bounds(shares: &[f64; 3]) -> [f64; 2] {
    let total: f64 = shares.iter().sum();
    [shares[0] / total, (shares[0] + shares[1]) / total]
}

/// The times of the first rows of validation and test; rows of that second are all behind the cut.
fn cuts(shares: &[f64; 3], times: &mut [i64]) -> [i64; 2] {
    times.sort_unstable();
    bounds(shares).map(|bound| {
        let first = (times.len() as f64 * bound - 1e-6).ceil() as usize;
        times.get(first).copied().unwrap_or(i64::MAX)
    })
}

fn random(seed: Seed, bounds: [f64; 2], rows: impl Iterator<Item = u64>) -> Vec<Split> {
    let mut stream = seed.stream("split", 0);
    let mut at = None;
    rows.map(|row| {
        // Seeking costs a block of the cipher; consecutive rows need none.
        if at != Some(row) {
            stream.seek(2 * row);
        }
        at = Some(row + 1);
        let u = stream.uniform_f64();
        match bounds.iter().filter(|&&bound| u >= bound).count() {
            0 => Split::Train,
            1 => Split::Validation,
            _ => Split::Test,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(splits: &[Split]) -> [usize; 3] {
        Split::ALL.map(|split| splits.iter().filter(|&&s| s == split).count())
    }

    #[test]
    fn random_shares_hold_and_rows_are_independent_of_the_order_asked() {
        let rule = SplitRule::Random {
            shares: [8.0, 1.0, 1.0],
        };
        let splitter = Splitter::new(&rule, Seed::new(1), 0).unwrap();
        let all = splitter.splits(0..100_000);
        let [train, validation, test] = counts(&all);
        assert!(train.abs_diff(80_000) < 500 && validation.abs_diff(test) < 500);
        for row in [99_999u64, 0, 31, 32, 77] {
            assert_eq!(splitter.splits(std::iter::once(row)), [all[row as usize]]);
        }
        let other = Splitter::new(&rule, Seed::new(2), 0)
            .unwrap()
            .splits(0..100);
        assert_ne!(other, all[..100]);
    }

    #[test]
    fn file_order_is_that_of_dlrms_days() {
        let parts = [
            (Split::Train, 12.0),
            (Split::Test, 1.0),
            (Split::Validation, 1.0),
        ];
        let rule = SplitRule::FileOrder { parts };
        let bounds = |n| match Splitter::new(&rule, Seed::new(1), n) {
            Some(Splitter::FileOrder { parts }) => parts.map(|(_, end)| end),
            _ => unreachable!("the rule is in file order"),
        };
        assert_eq!(bounds(14), [12, 13, 14]);
        // DLRM: seven chunks, the first n mod 7 one row longer, the last halved.
        assert_eq!(bounds(45_840_617)[0], 39_291_958);
        let splitter = Splitter::new(&rule, Seed::new(1), 14).unwrap();
        assert_eq!(counts(&splitter.splits(0..14)), [12, 1, 1]);
        assert_eq!(splitter.splits(12..14), [Split::Test, Split::Validation]);
    }

    #[test]
    fn a_split_by_time_parts_no_second() {
        let shares = [8.0, 1.0, 1.0];
        let rule = SplitRule::Time { shares };
        // Sorted: 0 0 1 2 3 4 5 6 6 7. Eight tenths end between the sixes, which stay together.
        let times = [7, 0, 6, 5, 0, 1, 2, 6, 4, 3];
        let splitter = RowSplitter::new(&rule, Seed::new(1), 10, &mut times.clone());
        let rows = Rows {
            lines: (0..10).collect(),
            times: times.to_vec(),
            ..Rows::default()
        };
        let splits = splitter.splits(&rows);
        let of = |split| {
            let pairs = times.iter().zip(&splits);
            let times = pairs.filter(|(_, s)| **s == split).map(|(time, _)| *time);
            times.collect::<Vec<i64>>()
        };
        assert_eq!(
            (of(Split::Validation), of(Split::Test)),
            (vec![6, 6], vec![7])
        );
        assert_eq!(of(Split::Train).iter().max(), Some(&5));
        assert!(Splitter::new(&rule, Seed::new(1), 10).is_none());
    }

    #[test]
    fn a_split_by_file_is_that_of_the_files() {
        let splitter = RowSplitter::new(&SplitRule::Files, Seed::new(1), 0, &mut []);
        for (file, split) in Split::ALL.into_iter().enumerate() {
            let rows = Rows {
                lines: vec![5, 7],
                file,
                ..Rows::default()
            };
            assert_eq!(splitter.splits(&rows), [split; 2]);
        }
    }
}
