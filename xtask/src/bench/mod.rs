//! `cargo xtask bench`: our speed beside that of other programs, on the same machine at the same time.

mod cases;
mod check;
mod child;
mod data;
mod lookup;
mod report;
mod score;
mod sides;
mod train;
mod workload;
mod zipf;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Common;
use crate::output::Output;

const CHILD_EXAMPLES: &str = "\
Examples:
  cargo xtask bench train-child workload.json
  cargo xtask bench score-child workload.json";

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Training speed and memory beside PyTorch, on the same data with the same threads.
    Train(train::TrainBenchArgs),
    /// Speed of lookups beside PyTorch, or of reduced tables beside the dense one.
    Lookup(lookup::LookupArgs),
    /// Our side of one measurement, in a process of its own.
    #[command(hide = true, after_help = CHILD_EXAMPLES)]
    TrainChild(ChildArgs),
    /// Scoring speed beside PyTorch's eager forward, on the same samples with the same weights.
    Score(score::ScoreBenchArgs),
    /// Our side of one measurement of scoring, in a process of its own.
    #[command(hide = true, after_help = CHILD_EXAMPLES)]
    ScoreChild(ChildArgs),
}

/// The argument of a measuring process.
#[derive(Debug, Args)]
pub struct ChildArgs {
    /// What to do.
    workload: PathBuf,
}

/// Runs a command of `bench`.
///
/// # Errors
/// As the command's own `run`.
pub fn run(command: &BenchCommand, common: &Common, output: Output) -> anyhow::Result<()> {
    match command {
        BenchCommand::Train(args) => train::run(args, common, output),
        BenchCommand::Lookup(args) => lookup::run(args, common, output),
        BenchCommand::TrainChild(args) => child::run(&args.workload),
        BenchCommand::Score(args) => score::run(args, common, output),
        BenchCommand::ScoreChild(args) => score::child::run(&args.workload),
    }
}
