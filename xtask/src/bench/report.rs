//! What a comparison found, as a line of text or of JSON.

use indicatif::HumanCount;
use serde::Serialize;

use super::cases::Case;
use super::sides::Program;
use super::workload::Answer;
use crate::output::human_bytes;

/// One case.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    case: String,
    unit: &'static str,
    /// Median over the rounds.
    ours: f64,
    /// Median over the rounds.
    theirs: f64,
    /// Median of the rounds' ratios; above 1 we are faster.
    ratio: f64,
    ours_rss_bytes: u64,
    theirs_rss_bytes: u64,
    /// Of the other program without any data: what its libraries take.
    theirs_idle_rss_bytes: u64,
    threads: usize,
    against: String,
    rounds: Vec<Round>,
}

/// One measurement of each side.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    ours: f64,
    theirs: f64,
    ratio: f64,
    ours_rss_bytes: u64,
    theirs_rss_bytes: u64,
}

impl Round {
    /// Compares two measurements.
    pub fn new(ours: &Answer, theirs: &Answer) -> Self {
        Self {
            ours: ours.samples_per_s,
            theirs: theirs.samples_per_s,
            ratio: ours.samples_per_s / theirs.samples_per_s,
            ours_rss_bytes: ours.peak_rss_bytes,
            theirs_rss_bytes: theirs.peak_rss_bytes,
        }
    }
}

impl CaseReport {
    /// Sums up at least one round.
    pub fn new(case: Case, rounds: Vec<Round>, threads: usize, against: &Program) -> Self {
        let median = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let peak = |value: fn(&Round) -> u64| rounds.iter().map(value).max().unwrap_or(0);
        Self {
            case: case.to_string(),
            unit: "samples/s",
            ours: median(|round| round.ours),
            theirs: median(|round| round.theirs),
            ratio: median(|round| round.ratio),
            ours_rss_bytes: peak(|round| round.ours_rss_bytes),
            theirs_rss_bytes: peak(|round| round.theirs_rss_bytes),
            theirs_idle_rss_bytes: against.idle_rss_bytes,
            threads,
            against: against.version.clone(),
            rounds,
        }
    }

    /// The names above the columns of the text.
    pub fn header() -> String {
        let [case, ours, theirs, ratio, range, memory, their_memory] = [
            "case",
            "ours",
            "theirs",
            "ratio",
            "min-max",
            "our memory",
            "their memory",
        ];
        format!(
            "{case:<44} {ours:>11} {theirs:>11} {ratio:>6} {range:>11} {memory:>11} {their_memory:>12}"
        )
    }
}

impl std::fmt::Display for CaseReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = |rate: f64| format!("{}/s", HumanCount(rate.round() as u64));
        let ratios = self.rounds.iter().map(|round| round.ratio);
        let range = format!(
            "{:.2}-{:.2}",
            ratios.clone().fold(f64::INFINITY, f64::min),
            ratios.fold(0.0, f64::max)
        );
        write!(
            f,
            "{:<44} {:>11} {:>11} {:>6.2} {range:>11} {:>11} {:>12}",
            self.case,
            rate(self.ours),
            rate(self.theirs),
            self.ratio,
            human_bytes(self.ours_rss_bytes),
            human_bytes(self.theirs_rss_bytes),
        )
    }
}

/// The middle value, or the mean of the two in the middle; NaN for none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    (at(n.saturating_sub(1) / 2) + at(n / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::cases::BASE;
    use super::*;

    fn round(ours: f64, theirs: f64, rss: u64) -> Round {
        let answer = |samples_per_s, peak_rss_bytes| Answer {
            samples_per_s,
            peak_rss_bytes,
            losses: Vec::new(),
            threads: 2,
        };
        Round::new(&answer(ours, rss), &answer(theirs, 2 * rss))
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn rounds_are_summed_up() {
        let rounds = vec![
            round(60.0, 40.0, 5_000_000),
            round(90.0, 30.0, 6_000_000),
            round(50.0, 50.0, 4_000_000),
        ];
        let against = Program {
            version: "torch 2".into(),
            idle_rss_bytes: 3,
        };
        let report = CaseReport::new(BASE, rounds, 2, &against);
        assert_eq!(
            (report.ours, report.theirs, report.ratio),
            (60.0, 40.0, 1.5)
        );
        assert_eq!(report.ours_rss_bytes, 6_000_000);
        assert_eq!(report.theirs_rss_bytes, 12_000_000);
        let text = report.to_string();
        for part in ["batch=2048", "60/s", "1.50", "1.00-3.00", "12.00 MB"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
        assert_eq!(text.len(), CaseReport::header().len());
    }
}
