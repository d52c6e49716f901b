//! Whether both sides compute the same: their losses after some steps from the same parameters.

use serde::Serialize;
use slimbed_rng::Seed;

use super::cases::{Case, Rows};
use super::data;
use super::sides::{Side, Sides};
use super::workload::{Answer, Precision, TableOptimizer, Task, TheirTables};

/// How far apart the losses may be; a wrong gradient is off by far more.
const TOLERANCE: f64 = 1e-4;
/// Each side rounds in its own order, and a step passes on what the last one rounded: at batch 512 PyTorch on
/// one thread and on two came out 1e-4 apart. A larger batch averages more: both sides were less than 2e-5
/// apart for eight seeds.
const BATCH: usize = 1024;
/// Few rows, so that the file of parameters is small.
const ROWS: Rows = Rows(100_000);

/// The losses of both sides.
#[derive(Debug, Serialize)]
pub struct LossCheck {
    case: String,
    unit: &'static str,
    ours: Option<f64>,
    theirs: Option<f64>,
    /// Between both; `None` when one is not finite.
    difference: Option<f64>,
    tolerance: f64,
    agrees: bool,
    /// The largest difference of a step, the first one included.
    largest_difference: Option<f64>,
}

impl LossCheck {
    /// Lets both sides train from our initial parameters on the same data, in f32.
    ///
    /// # Errors
    /// When a side fails.
    pub fn run(
        sides: &Sides,
        their_tables: TheirTables,
        optimizer: TableOptimizer,
        seed: Seed,
        mut before: impl FnMut(Side),
    ) -> anyhow::Result<Self> {
        let case = Case {
            batch: BATCH,
            rows: ROWS,
            optimizer,
            precision: Precision::F32,
        };
        let task = Task::Losses {
            // The loss after 200 updates is that of step 201.
            n_steps: n_steps(optimizer) + 1,
            params: sides.path("params.bin"),
        };
        let mut workload = case.workload(sides, their_tables, seed, task);
        workload.n_batches = n_steps(optimizer) as usize + 1;
        data::write(workload.samples(), seed)?;
        let mut losses = |side| {
            before(side);
            let answer: Answer = sides.run(side, &workload, workload.threads)?;
            anyhow::Ok(answer.losses)
        };
        // We come first: the parameters are ours.
        let (ours, theirs) = (losses(Side::Ours)?, losses(Side::Theirs)?);
        Ok(Self::compare(optimizer, &ours, &theirs))
    }

    /// Whether both losses are numbers and close.
    pub fn agrees(&self) -> bool {
        self.agrees
    }

    fn compare(optimizer: TableOptimizer, ours: &[Option<f64>], theirs: &[Option<f64>]) -> Self {
        let last = |losses: &[Option<f64>]| {
            let last = losses.get(n_steps(optimizer) as usize);
            last.copied().flatten()
        };
        let (last_ours, last_theirs) = (last(ours), last(theirs));
        let difference = difference(last_ours, last_theirs);
        let differences = ours
            .iter()
            .zip(theirs)
            .map(|(&a, &b)| self::difference(a, b));
        Self {
            case: name(optimizer),
            unit: "loss",
            ours: last_ours,
            theirs: last_theirs,
            difference,
            tolerance: TOLERANCE,
            agrees: difference.is_some_and(|difference| difference <= TOLERANCE),
            largest_difference: differences
                .collect::<Option<Vec<f64>>>()
                .and_then(|all| all.into_iter().reduce(f64::max)),
        }
    }
}

impl std::fmt::Display for LossCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |x: Option<f64>| x.map_or("not finite".to_owned(), |x| format!("{x:.7}"));
        let verdict = if self.agrees { "agree" } else { "DO NOT AGREE" };
        write!(
            f,
            "{}: ours {}, theirs {}: they {verdict} to {:.0e}",
            self.case,
            number(self.ours),
            number(self.theirs),
            self.tolerance
        )
    }
}

/// Steps before the losses are compared. The first step of a row-wise Adagrad has the same length however
/// small the gradient is, so that what is rounded there grows fast: 200 steps with it tell nothing.
fn n_steps(optimizer: TableOptimizer) -> u64 {
    match optimizer {
        TableOptimizer::Sgd => 200,
        TableOptimizer::RowWiseAdagrad => 5,
    }
}

fn name(optimizer: TableOptimizer) -> String {
    let plain = format!("loss after {} steps", n_steps(optimizer));
    match optimizer {
        TableOptimizer::Sgd => plain,
        other => format!("{plain} {}", other.name()),
    }
}

fn difference(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| (a - b).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(ours: &[Option<f64>], theirs: &[Option<f64>]) -> LossCheck {
        LossCheck::compare(TableOptimizer::Sgd, ours, theirs)
    }

    #[test]
    fn close_losses_agree_and_others_do_not() {
        let losses = |last| {
            let mut losses = vec![Some(0.7); 201];
            losses[200] = last;
            losses
        };
        let same = losses(Some(0.5));
        for (last, agrees) in [
            (Some(0.5), true),
            (Some(0.500_09), true),
            (Some(0.500_11), false),
            (Some(0.499_89), false),
            (None, false),
        ] {
            assert_eq!(compare(&same, &losses(last)).agrees, agrees, "{last:?}");
            assert_eq!(compare(&losses(last), &same).agrees, agrees, "{last:?}");
        }
        assert!(!compare(&losses(None), &losses(None)).agrees);
        assert!(!compare(&same, &same[..200]).agrees, "a step is missing");
    }

    #[test]
    fn the_largest_difference_may_be_on_the_way() {
        let mut theirs = vec![Some(0.7); 201];
        theirs[5] = Some(0.75);
        let check = compare(&vec![Some(0.7); 201], &theirs);
        assert!(check.agrees);
        assert!((check.largest_difference.unwrap() - 0.05).abs() < 1e-12);
    }
}
