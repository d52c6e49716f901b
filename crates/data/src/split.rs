//! Which split a row belongs to.

use slimbed_rng::Seed;

use crate::SplitRule;

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

/// Tells the split of every row of one input.
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
    /// The rule for an input of `n_rows` rows.
    ///
    /// In file order a part ends at row `⌈n · shares so far⌉`, which for 6/7 is where the seventh of
    /// DLRM's days begins.
    pub fn new(rule: &SplitRule, seed: Seed, n_rows: u64) -> Self {
        match rule {
            SplitRule::Random { shares } => {
                let total: f64 = shares.iter().sum();
                let bounds = [shares[0] / total, (shares[0] + shares[1]) / total];
                Self::Random { seed, bounds }
            }
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
                Self::FileOrder { parts }
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
        let splitter = Splitter::new(&rule, Seed::new(1), 0);
        let all = splitter.splits(0..100_000);
        let [train, validation, test] = counts(&all);
        assert!(train.abs_diff(80_000) < 500 && validation.abs_diff(test) < 500);
        for row in [99_999u64, 0, 31, 32, 77] {
            assert_eq!(splitter.splits(std::iter::once(row)), [all[row as usize]]);
        }
        let other = Splitter::new(&rule, Seed::new(2), 0).splits(0..100);
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
            Splitter::FileOrder { parts } => parts.map(|(_, end)| end),
            Splitter::Random { .. } => unreachable!("the rule is in file order"),
        };
        assert_eq!(bounds(14), [12, 13, 14]);
        // DLRM: seven chunks, the first n mod 7 one row longer, the last halved.
        assert_eq!(bounds(45_840_617)[0], 39_291_958);
        let splitter = Splitter::new(&rule, Seed::new(1), 14);
        assert_eq!(counts(&splitter.splits(0..14)), [12, 1, 1]);
        assert_eq!(splitter.splits(12..14), [Split::Test, Split::Validation]);
    }
}
