//! `cargo xtask bench score`: our scorer and PyTorch's eager forward in turns.

pub mod child;
mod model;
mod report;
mod workload;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use slimbed_rng::Seed;
use slimbed_train::Environment;

use super::cases::{Rows, model};
use super::data;
use super::sides::{Script, Side, Sides};
use super::train::{announce, positive, progress_bar};
use crate::cli::Common;
use crate::output::Output;
use report::{Round, ScoreReport};
use workload::{Form, ScoreAnswer, ScoreWorkload};

/// Samples of a data file.
const N_SAMPLES: usize = 1 << 14;
/// Samples whose logits are compared.
const N_CHECKED: usize = 1 << 10;
const WARM_UP_SECONDS: f64 = 0.5;

/// The other side, in the binary so that the command works from any folder.
const SCRIPT: Script = Script {
    name: "score.py",
    text: include_str!("../../../../benches/compare/score.py"),
    command: "score",
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench score --against torch
  cargo xtask bench score --against torch --batch 1,16,2048 --form modules
  cargo xtask --json bench score --against torch --python .venv/bin/python

Both sides score the same samples with the same weights, on one thread unless --threads says otherwise: the DLRM \
of Criteo-Kaggle (13 dense features, 26 fields of dim 16, MLPs 512-256-64-16 and 512-256-1), tables with \
--rows rows in all, ids Zipf draws (s = 1.1), one id a field. Their logits have to be equal to 1e-5.

Ours is `slimbed_score::Scorer` on a loaded artefact. Theirs is benches/compare/score.py, eager under \
inference_mode, in three forms: modules, as people write it; functions, the same ops without modules; \
vectors, for one sample, products of a matrix and a vector.

For one sample the floor is measured in turns with ours: the products of a vector with the same bytes of \
weights, read once, and nothing else (benches/src/floor.rs), plus the 26 lookups alone.

Each measurement is a process of its own; the sides take turns, and the order changes every round. The ratio is \
the median over the rounds, above 1 when ours is faster. Run it on a machine that does nothing else.";

/// Scoring speed beside another program.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScoreBenchArgs {
    /// The other program.
    #[arg(long, value_name = "PROGRAM")]
    against: Against,
    /// Samples scored together.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1")]
    batch: Vec<NonZeroUsize>,
    /// How PyTorch's forward is written; without it, every form there is for the batch.
    #[arg(long, value_name = "FORM,…", value_delimiter = ',')]
    form: Vec<Form>,
    /// Rows of all tables.
    #[arg(long, value_name = "N", default_value = "2M")]
    rows: Rows,
    /// Measurements of each side in each case.
    #[arg(long, value_name = "N", default_value = "5")]
    rounds: NonZeroUsize,
    /// Seconds of one measurement, after the warm-up.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = positive)]
    seconds: f64,
    /// The Python that has PyTorch.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
}

/// The programs to compare with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Against {
    /// PyTorch on the CPU.
    Torch,
}

/// Runs the command.
///
/// # Errors
/// When there is no PyTorch, a side fails, or the logits of both differ.
pub fn run(args: &ScoreBenchArgs, common: &Common, output: Output) -> anyhow::Result<()> {
    let Against::Torch = args.against;
    let sides = Sides::find(&args.python, SCRIPT)?;
    let threads = common.threads.map_or(1, NonZeroUsize::get);
    let cases = args.cases();
    let bar = progress_bar((2 * cases.len() * args.rounds.get()) as u64);
    let cpu = Environment::collect().cpu;
    let (n_rounds, seconds, version) = (args.rounds, args.seconds, &sides.other.version);
    let conditions =
        format!("{cpu}, {threads} threads, {n_rounds} rounds of {seconds} s, against {version}");
    bar.suspend(|| output.line(conditions))?;
    let seed = Seed::new(common.seed);
    model::write(&sides, &args.rows.per_field(), seed)?;
    let mut disagreements = Vec::new();
    for (batch, form) in cases {
        let workload = args.workload(&sides, batch, form, threads);
        data::write(workload.samples(), seed)?;
        let report = measure(args, &sides, &workload, &bar)?;
        bar.suspend(|| output.result(&report, &report))?;
        disagreements.extend((!report.agrees()).then(|| report.to_string()));
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

fn measure(
    args: &ScoreBenchArgs,
    sides: &Sides,
    workload: &ScoreWorkload,
    bar: &ProgressBar,
) -> anyhow::Result<ScoreReport> {
    let case = format!(
        "batch={} rows={} {}",
        workload.batch,
        args.rows,
        workload.form.name()
    );
    let (mut rounds, mut logits) = (Vec::new(), [Vec::new(), Vec::new()]);
    for number in 0..args.rounds.get() {
        let run = |side: Side| -> anyhow::Result<ScoreAnswer> {
            announce(
                bar,
                format!("{case}, round {}, {}", number + 1, side.name()),
            );
            sides.run(side, workload, workload.threads)
        };
        // Whoever goes first may find the machine cooler: the order changes.
        let [ours, theirs] = if number.is_multiple_of(2) {
            let ours = run(Side::Ours)?;
            [ours, run(Side::Theirs)?]
        } else {
            let theirs = run(Side::Theirs)?;
            [run(Side::Ours)?, theirs]
        };
        rounds.push(Round::new(&ours, &theirs));
        logits = [ours.logits, theirs.logits];
    }
    let logits = [logits[0].as_slice(), &logits[1]];
    let (batch, threads) = (workload.batch, workload.threads);
    let against = &sides.other.version;
    Ok(ScoreReport::new(
        case, batch, rounds, logits, threads, against,
    ))
}

impl ScoreBenchArgs {
    /// Batch and form of each case.
    fn cases(&self) -> Vec<(usize, Form)> {
        let forms = match self.form.as_slice() {
            [] => Form::value_variants(),
            chosen => chosen,
        };
        let batches = self.batch.iter().map(|batch| batch.get());
        let cases = batches.flat_map(|batch| forms.iter().map(move |&form| (batch, form)));
        cases
            .filter(|&(batch, form)| batch == 1 || form != Form::Vectors)
            .collect()
    }

    fn workload(&self, sides: &Sides, batch: usize, form: Form, threads: usize) -> ScoreWorkload {
        let n_batches = (N_SAMPLES / batch).max(1);
        ScoreWorkload {
            model: model(),
            n_rows: self.rows.per_field(),
            batch,
            n_batches,
            data: sides.path("data.bin"),
            artefact: sides.path(model::ARTEFACT),
            params: sides.path(model::PARAMS),
            form,
            warm_up_seconds: WARM_UP_SECONDS.min(self.seconds),
            seconds: self.seconds,
            n_checked: (N_CHECKED / batch).clamp(1, n_batches),
            threads,
        }
    }
}
