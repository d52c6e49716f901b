//! What the command line may say.

use std::num::NonZeroUsize;

use clap::{Args, Parser, Subcommand};

use crate::bench::BenchCommand;
use crate::compact::CompactArgs;
use crate::data::DataCommand;
use crate::eval::EvalArgs;
use crate::inspect::InspectArgs;
use crate::output::Output;
use crate::plot::PlotArgs;
use crate::sweep::SweepArgs;
use crate::train::TrainArgs;
use crate::validate::ValidateArgs;

const EXAMPLES: &str = "\
Examples:
  cargo xtask data prepare --data datasets/criteo-kaggle.toml --input train.txt --out prepared/criteo
  cargo xtask validate --only fmt,layers,tidy
  cargo xtask --json validate --skip tests

Exit codes: 0 success; 2 bad input, usage or configuration; 1 anything else.
With --json the last line of stdout is one JSON object, on failure {\"error\": …, \"exit_code\": …}; \
progress, notes and the readable error go to stderr.";

const DATA_EXAMPLES: &str = "\
Examples:
  cargo xtask data synth --rows 200000 --out synth.tsv
  cargo xtask data prepare --data datasets/synthetic.toml --input synth.tsv --out prepared/synth
  cargo xtask data inspect prepared/synth --verify";

const BENCH_EXAMPLES: &str = "\
Examples:
  cargo xtask bench train --against torch
  cargo xtask bench train --against torch --batch 2048,128 --rows 2M
  cargo xtask bench lookup --against torch --rows 10M --dim 16
  cargo xtask bench lookup --pruned
  cargo xtask bench score --against torch";

/// Train click-through models with small embedding tables, and ship the small tables.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Print the result as one JSON object on the last line of stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Seed of every random draw.
    #[arg(long, global = true, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Worker threads; all cores unless RAYON_NUM_THREADS says otherwise. No result depends on it.
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

impl Common {
    /// The audience that the `--json` flag asks for.
    pub fn output(&self) -> Output {
        if self.json {
            Output::Json
        } else {
            Output::Text
        }
    }
}

/// The commands, each in a module of its own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prepare, inspect and generate data.
    #[command(subcommand, after_help = DATA_EXAMPLES)]
    Data(DataCommand),
    /// Check format, layers, tidiness, licences, lints, docs and tests: what CI runs.
    Validate(ValidateArgs),
    /// Train a model, save it, and score the test split with the reloaded file.
    Train(Box<TrainArgs>),
    /// Train methods and baselines over several seeds, and print one table.
    Sweep(Box<SweepArgs>),
    /// Score a split with a saved artefact.
    Eval(EvalArgs),
    /// Store the tables of a run or a file anew, smaller, and show what that saves and costs.
    Compact(Box<CompactArgs>),
    /// Show an artefact: per field rows, dim, encoding and bytes.
    Inspect(InspectArgs),
    /// Draw what a method has done to the rows of a run.
    Plot(PlotArgs),
    /// Measure our speed and memory beside other programs.
    #[command(subcommand, after_help = BENCH_EXAMPLES)]
    Bench(BenchCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
