//! What a comparison of scoring found, as a line of text or of JSON.

use serde::Serialize;

use super::super::report::median;
use super::workload::{Floor, ScoreAnswer};

/// How far apart logits may be, for logits of magnitude 1 and more in proportion.
const TOLERANCE: f32 = 1e-5;

/// One case.
#[derive(Debug, Serialize)]
pub struct ScoreReport {
    case: String,
    unit: &'static str,
    /// Median over the rounds.
    ours: f64,
    /// Median over the rounds.
    theirs: f64,
    /// Median of the rounds' ratios; above 1 we are faster.
    ratio: f64,
    /// What one sample needs, and the median of how many times as long ours takes.
    floor: Option<FloorReport>,
    /// Between the logits of both sides; `None` when one is not finite.
    largest_difference: Option<f32>,
    agrees: bool,
    threads: usize,
    against: String,
    rounds: Vec<Round>,
}

#[derive(Debug, Serialize)]
struct FloorReport {
    products_us: f64,
    lookups_us: f64,
    times_floor: f64,
}

/// One measurement of each side.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    ours_us: f64,
    theirs_us: f64,
    ratio: f64,
    floor: Option<Floor>,
}

impl Round {
    /// Compares two measurements.
    pub fn new(ours: &ScoreAnswer, theirs: &ScoreAnswer) -> Self {
        Self {
            ours_us: ours.batch_us,
            theirs_us: theirs.batch_us,
            ratio: theirs.batch_us / ours.batch_us,
            floor: ours.floor,
        }
    }
}

impl ScoreReport {
    /// Sums up at least one round; `logits` are those of both sides.
    pub fn new(
        case: String,
        batch: usize,
        rounds: Vec<Round>,
        logits: [&[f32]; 2],
        threads: usize,
        against: &str,
    ) -> Self {
        let median = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let per_second = |us: f64| batch as f64 * 1e6 / us;
        let difference = difference(logits);
        Self {
            case,
            unit: "samples/s",
            ours: per_second(median(|round| round.ours_us)),
            theirs: per_second(median(|round| round.theirs_us)),
            ratio: median(|round| round.ratio),
            floor: FloorReport::new(&rounds),
            largest_difference: difference.is_finite().then_some(difference),
            agrees: difference <= TOLERANCE,
            threads,
            against: against.to_owned(),
            rounds,
        }
    }

    /// Whether both sides give the same logits.
    pub fn agrees(&self) -> bool {
        self.agrees
    }
}

impl FloorReport {
    fn new(rounds: &[Round]) -> Option<Self> {
        let floors: Option<Vec<Floor>> = rounds.iter().map(|round| round.floor).collect();
        let floors = floors.filter(|floors| !floors.is_empty())?;
        let of = |value: fn(&Floor) -> f64| median(floors.iter().map(value).collect());
        let times = rounds.iter().zip(&floors);
        let times =
            times.map(|(round, floor)| round.ours_us / (floor.products_us + floor.lookups_us));
        Some(Self {
            products_us: of(|floor| floor.products_us),
            lookups_us: of(|floor| floor.lookups_us),
            times_floor: median(times.collect()),
        })
    }
}

/// The largest difference of two logits, divided by the larger of 1 and their magnitude; infinite when one is
/// not finite or missing.
fn difference([ours, theirs]: [&[f32]; 2]) -> f32 {
    if ours.len() != theirs.len() || ours.is_empty() {
        return f32::INFINITY;
    }
    let pairs = ours.iter().zip(theirs);
    let each = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    each.fold(0.0, |most, d| if d <= most { most } else { d })
}

impl std::fmt::Display for ScoreReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |value: fn(&Round) -> f64| median(self.rounds.iter().map(value).collect());
        let verdict = if self.agrees { "agree" } else { "DO NOT AGREE" };
        write!(
            f,
            "{:<34} ours {:>9.1} µs  theirs {:>9.1} µs  ratio {:>5.2}  logits {verdict}",
            self.case,
            us(|round| round.ours_us),
            us(|round| round.theirs_us),
            self.ratio,
        )?;
        if let Some(floor) = &self.floor {
            write!(
                f,
                "  floor {:.1} µs (products {:.1}, lookups {:.1}): {:.2} times",
                floor.products_us + floor.lookups_us,
                floor.products_us,
                floor.lookups_us,
                floor.times_floor,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(batch_us: f64, floor: Option<Floor>) -> ScoreAnswer {
        ScoreAnswer {
            batch_us,
            logits: Vec::new(),
            floor,
            threads: 1,
        }
    }

    #[test]
    fn rounds_are_summed_up() {
        let floor = |products_us| {
            Some(Floor {
                products_us,
                lookups_us: 5.0,
            })
        };
        let rounds = [(20.0, 100.0), (25.0, 150.0), (40.0, 120.0)]
            .map(|(ours, theirs)| Round::new(&answer(ours, floor(15.0)), &answer(theirs, None)));
        let report = ScoreReport::new("c".into(), 2, rounds.into(), [&[1.0], &[1.0]], 1, "torch 2");
        assert_eq!(
            (report.ours, report.theirs, report.ratio),
            (80_000.0, 2e6 / 120.0, 5.0)
        );
        assert_eq!(report.floor.as_ref().unwrap().times_floor, 1.25);
        let text = report.to_string();
        for part in ["ours      25.0 µs", "agree", "floor 20.0 µs", "1.25 times"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[test]
    fn logits_agree_to_a_hundred_thousandth() {
        for (theirs, agrees) in [
            (&[1.0, 200.001_f32][..], true),
            (&[1.000_02, 200.0], false),
            (&[1.0, 200.01], false),
            (&[1.0, f32::NAN], false),
            (&[1.0], false),
        ] {
            let logits = [&[1.0, 200.0][..], theirs];
            let report = ScoreReport::new("c".into(), 1, Vec::new(), logits, 1, "torch 2");
            assert_eq!(report.agrees(), agrees, "{theirs:?}");
        }
    }
}
