//! The best AUC and log loss any model can have on given rows.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Row, SynthModel};

const BINS: usize = 1 << 20;
const BLOCK: usize = 1 << 12;

/// What the true probability scores on a set of rows.
///
/// "Expected" figures are over the labels the rows could have had: row `i` counts as a positive with
/// weight `p_i` and as a negative with weight `1 - p_i`, so
/// `AUC = sum_(i != j) p_i (1 - p_j) [s_i > s_j] / sum_(i != j) p_i (1 - p_j)` with a tie at one half.
/// "Realised" figures are of the labels drawn. AUCs come from a histogram of the score with 2^20 bins,
/// where a pair inside a bin counts one half; [`auc_error`](Self::auc_error) bounds what that can
/// move. An AUC is `None` when there is no pair of a positive and a negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BayesReport {
    /// Number of rows.
    pub n_rows: u64,
    /// Mean probability of label 1.
    pub expected_rate: f64,
    /// Share of label 1 among the labels drawn.
    pub realised_rate: f64,
    /// Expected AUC of the true probability: no model is above it.
    pub auc: Option<f64>,
    /// Largest error of [`auc`](Self::auc) by its histogram.
    pub auc_error: f64,
    /// AUC of the true probability on the labels drawn.
    pub realised_auc: Option<f64>,
    /// Expected AUC of the logit without its interactions: about what an additive model reaches.
    pub additive_auc: Option<f64>,
    /// Expected log loss in nats of the true probability, the mean entropy of the labels.
    pub logloss: f64,
    /// Log loss in nats of the true probability on the labels drawn.
    pub realised_logloss: f64,
}

/// What of a row the report is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    label: u8,
    probability: f64,
    additive: f64,
    entropy: f64,
    loss: f64,
}

/// Adds up outcomes in the order given, so that the sums do not depend on the number of threads.
#[derive(Debug)]
pub(super) struct BayesSums {
    expected: Histogram,
    realised: Histogram,
    additive: Histogram,
    entropy: f64,
    loss: f64,
    n_rows: u64,
}

/// Weights of positives and negatives by bins of a score in `[0, 1]`.
#[derive(Debug)]
struct Histogram {
    bins: Vec<[f64; 2]>,
    /// Weight of the pairs of a row with itself, which are no pairs.
    own: f64,
}

impl SynthModel {
    /// The best scores possible on any rows, for instance those of a test split.
    ///
    /// Takes 48 MiB besides the model, whatever the number of rows.
    pub fn bayes(&self, rows: impl Iterator<Item = u64>) -> BayesReport {
        let mut sums = BayesSums::new();
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let block: Vec<u64> = rows.by_ref().take(BLOCK * 16).collect();
            let outcome = |row: &mut Row, &i: &u64| {
                self.row(i, row);
                Outcome::of(row)
            };
            let outcomes: Vec<_> = block
                .par_iter()
                .with_min_len(BLOCK)
                .map_init(Row::default, outcome)
                .collect();
            sums.add(&outcomes);
        }
        sums.report()
    }
}

impl Outcome {
    pub(super) fn of(row: &Row) -> Self {
        // ln(1 + exp(-z)) is the loss of label 1, and that of label 0 is z more.
        let loss_of_1 = (-row.logit.abs()).exp().ln_1p() + (-row.logit).max(0.0);
        let loss_of_0 = loss_of_1 + row.logit;
        let p = row.probability;
        Self {
            label: row.label,
            probability: p,
            additive: 1.0 / (1.0 + (-row.additive_logit).exp()),
            entropy: p * loss_of_1 + (1.0 - p) * loss_of_0,
            loss: if row.label == 1 { loss_of_1 } else { loss_of_0 },
        }
    }
}

impl BayesSums {
    pub(super) fn new() -> Self {
        Self {
            expected: Histogram::new(),
            realised: Histogram::new(),
            additive: Histogram::new(),
            entropy: 0.0,
            loss: 0.0,
            n_rows: 0,
        }
    }

    pub(super) fn add(&mut self, outcomes: &[Outcome]) {
        for o in outcomes {
            self.expected.add(o.probability, o.probability);
            self.realised.add(o.probability, f64::from(o.label));
            self.additive.add(o.additive, o.probability);
            self.entropy += o.entropy;
            self.loss += o.loss;
        }
        self.n_rows += outcomes.len() as u64;
    }

    pub(super) fn report(&self) -> BayesReport {
        let n = self.n_rows.max(1) as f64;
        let (auc, auc_error) = self.expected.auc();
        BayesReport {
            n_rows: self.n_rows,
            expected_rate: self.expected.positives() / n,
            realised_rate: self.realised.positives() / n,
            auc,
            auc_error,
            realised_auc: self.realised.auc().0,
            additive_auc: self.additive.auc().0,
            logloss: self.entropy / n,
            realised_logloss: self.loss / n,
        }
    }
}

impl Histogram {
    fn new() -> Self {
        Self {
            bins: vec![[0.0; 2]; BINS],
            own: 0.0,
        }
    }

    fn add(&mut self, score: f64, positive: f64) {
        let bin = &mut self.bins[((score * BINS as f64) as usize).min(BINS - 1)];
        bin[0] += 1.0 - positive;
        bin[1] += positive;
        self.own += positive * (1.0 - positive);
    }

    fn positives(&self) -> f64 {
        self.bins.iter().map(|bin| bin[1]).sum()
    }

    /// The AUC and the largest error it can have.
    ///
    /// Each pair inside a bin counts one half and may deserve 0 or 1, so the error is at most half
    /// the share of such pairs.
    fn auc(&self) -> (Option<f64>, f64) {
        let (mut below, mut above, mut inside) = (0.0, 0.0, 0.0);
        for [negative, positive] in &self.bins {
            above += positive * below;
            inside += positive * negative;
            below += negative;
        }
        let pairs = self.positives() * below - self.own;
        let inside = (inside - self.own).max(0.0);
        if pairs <= 0.0 {
            return (None, 0.0);
        }
        (Some((above + 0.5 * inside) / pairs), 0.5 * inside / pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SynthSpec;
    use super::*;
    use slimbed_rng::Seed;

    fn sample(model: &SynthModel, n: u64) -> Vec<Row> {
        let mut rows = Vec::new();
        model.for_rows(0..n, &mut Row::default(), |row| rows.push(row.clone()));
        rows
    }

    /// Every pair of distinct rows, O(n^2).
    fn naive_auc(rows: &[Row], score: fn(&Row) -> f64, weight: fn(&Row) -> f64) -> f64 {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (i, a) in rows.iter().enumerate() {
            for (_, b) in rows.iter().enumerate().filter(|(j, _)| *j != i) {
                let w = weight(a) * (1.0 - weight(b));
                pairs += w;
                won += w * match score(a).total_cmp(&score(b)) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        won / pairs
    }

    #[test]
    fn the_histogram_agrees_with_all_pairs() {
        let model = SynthModel::new(SynthSpec::small(), Seed::new(3)).unwrap();
        let (rows, report) = (sample(&model, 500), model.bayes(0..500));
        let check = |found: Option<f64>, exact: f64| {
            let error = (found.unwrap() - exact).abs();
            assert!(error <= report.auc_error + 1e-5, "{found:?} is not {exact}");
        };
        let (p, y) = (|r: &Row| r.probability, |r: &Row| f64::from(r.label));
        check(report.auc, naive_auc(&rows, p, p));
        check(report.realised_auc, naive_auc(&rows, p, y));
        check(
            report.additive_auc,
            naive_auc(&rows, |r| r.additive_logit, p),
        );
        assert!(report.auc_error < 1e-5, "{}", report.auc_error);
    }

    #[test]
    fn three_scores_by_hand() {
        let mut histogram = Histogram::new();
        for (score, label) in [(0.1, 0.0), (0.5, 1.0), (0.5, 0.0), (0.9, 1.0)] {
            histogram.add(score, label);
        }
        // 4 pairs: three won, one tie.
        assert_eq!(histogram.auc(), (Some(3.5 / 4.0), 0.125));
        assert_eq!(Histogram::new().auc(), (None, 0.0));
    }

    #[test]
    fn losses_are_those_of_the_formula() {
        let model = SynthModel::new(SynthSpec::small(), Seed::new(3)).unwrap();
        let (rows, report) = (sample(&model, 1000), model.bayes(0..1000));
        let mean = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).sum::<f64>() / 1000.0;
        let entropy = mean(&|r| {
            let p = r.probability;
            -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
        });
        let loss = mean(&|r| {
            let p = r.probability;
            -(if r.label == 1 { p } else { 1.0 - p }).ln()
        });
        assert!((report.logloss - entropy).abs() < 1e-12);
        assert!((report.realised_logloss - loss).abs() < 1e-12);
    }

    #[test]
    fn realised_figures_approach_the_expected_ones() {
        let model = SynthModel::new(SynthSpec::small(), Seed::new(8)).unwrap();
        let report = model.bayes(0..300_000);
        let auc = report.auc.unwrap();
        assert!((report.realised_auc.unwrap() - auc).abs() < 0.003);
        assert!((report.realised_logloss - report.logloss).abs() < 0.003);
        assert!((report.realised_rate - report.expected_rate).abs() < 0.003);
    }

    #[test]
    fn no_rows_give_no_auc() {
        let model = SynthModel::new(SynthSpec::small(), Seed::new(8)).unwrap();
        let report = model.bayes(std::iter::empty());
        assert_eq!((report.n_rows, report.auc), (0, None));
        assert_eq!(model.bayes(7..8).realised_auc, None);
    }

    /// The figures the default profile is tuned to.
    #[test]
    fn the_default_profile_looks_like_criteo() {
        let model = SynthModel::new(SynthSpec::criteo_like(), Seed::new(1)).unwrap();
        let report = model.bayes(0..200_000);
        let (auc, additive) = (report.auc.unwrap(), report.additive_auc.unwrap());
        assert!((0.80..0.82).contains(&auc), "{auc}");
        assert!((0.76..0.775).contains(&additive), "{additive}");
    }
}
