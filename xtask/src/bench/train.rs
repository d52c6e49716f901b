//! `cargo xtask bench train`: our trainer and another one in turns.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use slimbed_rng::Seed;
use slimbed_train::Environment;

use super::cases::{BASE, Case, DEFAULTS, Rows, model};
use super::check::LossCheck;
use super::data;
use super::report::{CaseReport, Round};
use super::sides::{Program, Script, Side, Sides};
use super::workload::{Precision, TableOptimizer, Task, TheirTables, Workload};
use crate::cli::Common;
use crate::failure::BadInput;
use crate::output::{Output, human_bytes};

/// Samples of a data file, whatever the batch; enough that rows come from memory, not from a cache.
const N_SAMPLES: usize = 1 << 18;
const MIN_BATCHES: usize = 8;
const WARM_UP_STEPS: u64 = 10;
const WARM_UP_SECONDS: f64 = 1.0;
const LEARNING_RATE: f64 = 0.1;

/// The other side, in the binary so that the command works from any folder.
const SCRIPT: Script = Script {
    name: "train.py",
    text: include_str!("../../../benches/compare/train.py"),
    command: "train",
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench train --against torch                    five cases, about ten minutes
  cargo xtask bench train --against torch --batch 2048,128 --rows 2M --rounds 3 --seconds 3
  cargo xtask bench train --against torch --optimizer row-wise-adagrad --precision f32,bf16
  cargo xtask bench train --against torch --their-tables per-field
  cargo xtask --json bench train --against torch --python .venv/bin/python

Both sides train the DLRM of Criteo-Kaggle: 13 dense features, 26 fields of dim 16, MLPs 512-256-64-16 and \
512-256-1, binary cross-entropy, SGD with rate 0.1 on the dense parameters. The tables have the rows of \
Criteo-Kaggle, the large ones cut to one size, so that the sum is --rows. Ids are Zipf draws (s = 1.1), \
labels come from a planted logistic model. Both read the same file into memory and loop over it, with the \
same number of threads.

Ours is the step of `cargo xtask train`: plain tables, fused network. bf16 rounds the operands of the \
products and keeps parameters in f32.

Theirs is benches/compare/train.py: one EmbeddingBag(sparse=True) over all tables (--their-tables per-field: \
one for each field, as facebookresearch/dlrm has them), batched products for the interaction, torch.optim.SGD, the fastest we found; bf16 is CPU autocast of the MLPs. PyTorch has no row-wise Adagrad: theirs is that of \
facebookresearch/dlrm, written with PyTorch's ops on the coalesced gradient.

Each measurement is a process of its own: it warms up for a second, then counts whole steps for --seconds. \
The sides take turns, the order changes every round; the ratio is the median over the rounds, above 1 when \
ours is faster. Memory is the peak resident size of the process.

First both take 200 steps (5 with row-wise Adagrad) from the same parameters on the same data; when their \
losses are then not equal to 1e-4 the command fails, after all measurements.

Run it on a machine that does nothing else: PyTorch's threads wait for each other in a loop, and become ten \
times slower and more when another program takes a core.";

/// Training speed and memory beside another program.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainBenchArgs {
    /// The other program.
    #[arg(long, value_name = "PROGRAM")]
    against: Against,
    /// Measurements of each side in each case.
    #[arg(long, value_name = "N", default_value = "5")]
    rounds: NonZeroUsize,
    /// Seconds of one measurement, after the warm-up.
    #[arg(long, value_name = "SECONDS", default_value = "6", value_parser = positive)]
    seconds: f64,
    /// The Python that has PyTorch.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// How PyTorch holds the tables: one EmbeddingBag for all fields, the fastest, or one per field,
    /// as facebookresearch/dlrm.
    #[arg(long, value_name = "KIND", value_enum, default_value = "one")]
    their_tables: TheirTables,
    #[command(flatten)]
    choice: Choice,
}

/// The programs to compare with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Against {
    /// PyTorch on the CPU.
    Torch,
}

/// Which cases to run: without these flags the five that matter, with any of them all combinations,
/// where a flag that is not given stands for batch 2048, 33.7M rows, sgd, f32.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cases (all combinations; five that matter when none is given)")]
struct Choice {
    /// Samples of a step [without it: 2048].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    batch: Vec<NonZeroUsize>,
    /// Rows of all tables, like 2M,33.7M [without it: 33.7M].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    rows: Vec<Rows>,
    /// Optimisers of the tables [without it: sgd].
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    optimizer: Vec<TableOptimizer>,
    /// Types of the products' operands [without it: f32].
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',')]
    precision: Vec<Precision>,
}

/// Runs the command.
///
/// # Errors
/// When there is no PyTorch, a side fails, or the losses of both differ.
pub fn run(args: &TrainBenchArgs, common: &Common, output: Output) -> anyhow::Result<()> {
    let Against::Torch = args.against;
    let cases = args.choice.cases()?;
    let bench = Bench {
        sides: Sides::find(&args.python, SCRIPT)?,
        their_tables: args.their_tables,
        seed: Seed::new(common.seed),
        n_rounds: args.rounds.get(),
        seconds: args.seconds,
    };
    let optimizers = optimizers(&cases);
    let n_runs = 2 * (optimizers.len() + cases.len() * bench.n_rounds);
    let bar = progress_bar(n_runs as u64);
    bar.suspend(|| output.line(bench.conditions()))?;
    let mut disagreements = Vec::new();
    for optimizer in optimizers {
        let check = LossCheck::run(
            &bench.sides,
            bench.their_tables,
            optimizer,
            bench.seed,
            |side| {
                announce(&bar, format!("loss, {}", side.name()));
            },
        )?;
        bar.suspend(|| output.result(&check, &check))?;
        disagreements.extend((!check.agrees()).then(|| check.to_string()));
    }
    if output == Output::Text {
        bar.suspend(|| output.line(CaseReport::header()))?;
    }
    for case in cases {
        let report = bench.measure(case, &bar)?;
        bar.suspend(|| output.result(&report, &report))?;
    }
    bar.finish_and_clear();
    if !disagreements.is_empty() {
        bail!(
            "the sides do not compute the same: {}",
            disagreements.join("; ")
        );
    }
    Ok(())
}

/// What all measurements share.
struct Bench {
    sides: Sides,
    their_tables: TheirTables,
    seed: Seed,
    n_rounds: usize,
    seconds: f64,
}

impl Bench {
    fn measure(&self, case: Case, bar: &ProgressBar) -> anyhow::Result<CaseReport> {
        let task = Task::Time {
            warm_up_steps: WARM_UP_STEPS,
            warm_up_seconds: WARM_UP_SECONDS.min(self.seconds),
            seconds: self.seconds,
        };
        let workload = case.workload(&self.sides, self.their_tables, self.seed, task);
        data::write(workload.samples(), self.seed)?;
        let rounds = (0..self.n_rounds).map(|i| {
            let what = format!("{case}, round {} of {}", i + 1, self.n_rounds);
            self.round(i, &workload, &what, bar)
        });
        let rounds = rounds.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(CaseReport::new(
            case,
            rounds,
            workload.threads,
            &self.sides.other,
        ))
    }

    fn round(
        &self,
        number: usize,
        workload: &Workload,
        what: &str,
        bar: &ProgressBar,
    ) -> anyhow::Result<Round> {
        let run = |side: Side| {
            announce(bar, format!("{what}, {}", side.name()));
            self.sides.run(side, workload, workload.threads)
        };
        // Whoever goes first may find the machine cooler: the order changes.
        let first = if number.is_multiple_of(2) {
            Side::Ours
        } else {
            Side::Theirs
        };
        let answers = [run(first)?, run(first.other())?];
        let [ours, theirs] = match first {
            Side::Ours => [&answers[0], &answers[1]],
            Side::Theirs => [&answers[1], &answers[0]],
        };
        Ok(Round::new(ours, theirs))
    }

    fn conditions(&self) -> String {
        let cpu = Environment::collect().cpu;
        let (n_threads, n_rounds) = (rayon::current_num_threads(), self.n_rounds);
        let Program {
            version,
            idle_rss_bytes,
        } = &self.sides.other;
        format!(
            "{cpu}, {n_threads} threads, {n_rounds} rounds of {} s, against {version} ({}; {} without any data)",
            self.seconds,
            self.their_tables,
            human_bytes(*idle_rss_bytes)
        )
    }
}

impl Case {
    /// What both sides are to do.
    pub(super) fn workload(
        self,
        sides: &Sides,
        their_tables: TheirTables,
        seed: Seed,
        task: Task,
    ) -> Workload {
        Workload {
            model: model(),
            n_rows: self.rows.per_field(),
            batch: self.batch,
            n_batches: (N_SAMPLES / self.batch).max(MIN_BATCHES),
            data: sides.path("data.bin"),
            optimizer: self.optimizer,
            precision: self.precision,
            their_tables,
            lr: LEARNING_RATE,
            embedding_lr: self.optimizer.learning_rate(),
            seed: seed.get(),
            threads: rayon::current_num_threads(),
            task,
        }
    }
}

impl Choice {
    fn cases(&self) -> Result<Vec<Case>, BadInput> {
        let has_bf16 = slimbed_fused::bf16_is_available();
        if self.is_empty() {
            let runs = |case: &Case| case.precision == Precision::F32 || has_bf16;
            return Ok(DEFAULTS.into_iter().filter(runs).collect());
        }
        if self.precision.contains(&Precision::Bf16) && !has_bf16 {
            let message = "--precision bf16: expected a processor with AVX512-BF16";
            return Err(BadInput(message.into()));
        }
        Ok(self.combinations())
    }

    fn is_empty(&self) -> bool {
        self.batch.is_empty()
            && self.rows.is_empty()
            && self.optimizer.is_empty()
            && self.precision.is_empty()
    }

    fn combinations(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &precision in or_default(&self.precision, &BASE.precision) {
            for &optimizer in or_default(&self.optimizer, &BASE.optimizer) {
                for &rows in or_default(&self.rows, &BASE.rows) {
                    let batches: Vec<_> = self.batch.iter().map(|batch| batch.get()).collect();
                    for &batch in or_default(&batches, &BASE.batch) {
                        cases.push(Case {
                            batch,
                            rows,
                            optimizer,
                            precision,
                        });
                    }
                }
            }
        }
        cases
    }
}

fn or_default<'a, T>(chosen: &'a [T], default: &'a T) -> &'a [T] {
    if chosen.is_empty() {
        std::slice::from_ref(default)
    } else {
        chosen
    }
}

/// SGD, and whatever else the cases use.
fn optimizers(cases: &[Case]) -> Vec<TableOptimizer> {
    let used = |&optimizer: &TableOptimizer| {
        optimizer == TableOptimizer::Sgd || cases.iter().any(|case| case.optimizer == optimizer)
    };
    let all = TableOptimizer::value_variants();
    all.iter().copied().filter(used).collect()
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e6 => Ok(seconds),
        _ => Err("expected a positive number of seconds".into()),
    }
}

pub(super) fn progress_bar(n_runs: u64) -> ProgressBar {
    let template = "[{bar:20}] {pos}/{len}  {elapsed} of about {duration}  {msg}";
    // The default style is less telling, but a bar is no reason to fail.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(n_runs + 1).with_style(style)
}

/// Says what runs next; what ran before is done.
pub(super) fn announce(bar: &ProgressBar, what: String) {
    bar.inc(1);
    bar.set_message(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(choice: &Choice) -> Vec<String> {
        let cases = choice.combinations();
        cases.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_choice_is_completed_and_combined() {
        let mut choice = Choice {
            batch: vec![NonZeroUsize::new(64).unwrap()],
            rows: Vec::new(),
            optimizer: Vec::new(),
            precision: Vec::new(),
        };
        assert_eq!(names(&choice), ["batch=64 rows=33.7M sgd f32"]);
        choice.rows = vec![Rows(1000), Rows(2_000_000)];
        choice.optimizer = vec![TableOptimizer::Sgd, TableOptimizer::RowWiseAdagrad];
        let expected = [
            "batch=64 rows=1.0k sgd f32",
            "batch=64 rows=2.0M sgd f32",
            "batch=64 rows=1.0k row-wise-adagrad f32",
            "batch=64 rows=2.0M row-wise-adagrad f32",
        ];
        assert_eq!(names(&choice), expected);
    }

    #[test]
    fn every_optimiser_of_the_cases_is_checked_and_sgd_always() {
        use TableOptimizer::{RowWiseAdagrad, Sgd};
        let adagrad = Case {
            optimizer: RowWiseAdagrad,
            ..BASE
        };
        assert_eq!(optimizers(&[BASE, BASE]), [Sgd]);
        assert_eq!(optimizers(&[adagrad]), [Sgd, RowWiseAdagrad]);
    }
}
