//! What a comparison found, as a line of text or of JSON.

use std::fmt;

use indicatif::HumanCount;
use serde::Serialize;

use super::agreement::Difference;
use super::cases::Order;
use super::pages::Pages;
use crate::bench::report::median;
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
    page_kb: Both<Option<u64>>,
    huge_share: Both<Option<f64>>,
    bytes: Both<u64>,
    form: Both<String>,
    against: String,
    order: Order,
    threads: usize,
    difference: Difference,
    rounds: Vec<Round>,
}

/// Something of both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Both<T> {
    /// Ours.
    pub ours: T,
    /// That of the other side.
    pub theirs: T,
}

/// What is compared.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name of the case.
    pub case: String,
    /// The other side.
    pub against: String,
    /// Which row the id of which rank has.
    pub order: Order,
    /// Threads of each.
    pub threads: usize,
    /// How the tables are stored and read.
    pub form: Both<String>,
    /// Bytes of the tables.
    pub bytes: Both<u64>,
    /// The pages that hold them.
    pub pages: Both<Option<Pages>>,
}

/// One measurement of each side, in rows per second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    ours: f64,
    theirs: f64,
    ratio: f64,
}

impl Round {
    /// Compares two measurements.
    pub fn new(ours: f64, theirs: f64) -> Self {
        Self {
            ours,
            theirs,
            ratio: ours / theirs,
        }
    }
}

impl<T> Both<T> {
    fn map<U>(&self, f: impl Fn(&T) -> U) -> Both<U> {
        Both {
            ours: f(&self.ours),
            theirs: f(&self.theirs),
        }
    }
}

impl CaseReport {
    /// Sums up at least one round.
    pub fn new(subject: Subject, difference: Difference, rounds: Vec<Round>) -> Self {
        let median = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        Self {
            case: subject.case,
            unit: "rows/s",
            ours: median(|round| round.ours),
            theirs: median(|round| round.theirs),
            ratio: median(|round| round.ratio),
            page_kb: subject.pages.map(|pages| pages.map(|p| p.page_kb)),
            huge_share: subject.pages.map(|pages| pages.map(|p| p.huge_share)),
            bytes: subject.bytes,
            form: subject.form,
            against: subject.against,
            order: subject.order,
            threads: subject.threads,
            difference,
            rounds,
        }
    }

    /// The names above the columns of the text.
    pub fn header() -> String {
        let [case, ours, theirs, ratio] = ["case", "ours", "theirs", "ratio"];
        let [range, pages, bytes] = ["min-max", "pages, KiB", "bytes"];
        format!(
            "{case:<46} {ours:>10} {theirs:>10} {ratio:>6} {range:>11} {pages:>10} {bytes:>22}  form"
        )
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |rows_per_s: f64| format!("{:.1} ns", 1e9 / rows_per_s);
        let ratios = self.rounds.iter().map(|round| round.ratio);
        let range = format!(
            "{:.2}-{:.2}",
            ratios.clone().fold(f64::INFINITY, f64::min),
            ratios.fold(0.0, f64::max)
        );
        let kb = |kb: &Option<u64>| kb.map_or("?".into(), |kb| HumanCount(kb).to_string());
        let (pages, bytes) = (self.page_kb.map(kb), self.bytes.map(|&n| human_bytes(n)));
        write!(
            f,
            "{:<46} {:>10} {:>10} {:>6.2} {range:>11} {:>10} {:>22}  {} | {}",
            self.case,
            time(self.ours),
            time(self.theirs),
            self.ratio,
            format!("{} | {}", pages.ours, pages.theirs),
            format!("{} | {}", bytes.ours, bytes.theirs),
            self.form.ours,
            self.form.theirs,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::lookup::agreement::Tolerance;
    use slimbed_compact::Values;

    #[test]
    fn rounds_are_summed_up() {
        let both = |ours: &str, theirs: &str| Both {
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
        };
        let pages = |page_kb| {
            Some(Pages {
                page_kb,
                huge_share: 0.0,
            })
        };
        let subject = Subject {
            case: "d=16".into(),
            against: "torch 2".into(),
            order: Order::Ranked,
            threads: 1,
            form: both("dense f32", "int64"),
            bytes: Both {
                ours: 64_000_000,
                theirs: 1000,
            },
            pages: Both {
                ours: pages(2048),
                theirs: pages(4),
            },
        };
        let difference = Tolerance::new(Values::F32, 1).check(&[], &[]).unwrap();
        let rounds = [(2e8, 1e8), (3e8, 1e8), (1e8, 1e8)].map(|(a, b)| Round::new(a, b));
        let report = CaseReport::new(subject, difference, rounds.to_vec());
        assert_eq!((report.ours, report.theirs, report.ratio), (2e8, 1e8, 2.0));
        let text = report.to_string();
        for part in [
            "5.0 ns",
            "10.0 ns",
            "2.00",
            "1.00-3.00",
            "2,048 | 4",
            "64.00 MB | 1.00 kB",
        ] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["page_kb"]["theirs"], 4);
        assert_eq!(json["unit"], "rows/s");
    }
}
