//! `cargo xtask data`: raw files in, packed columns out, and synthetic files for trying both.

mod inspect;
pub mod prepare;
pub mod synth;

use clap::Subcommand;
use slimbed_rng::Seed;

use crate::cli::Common;
use crate::output::Output;

/// What to do with data.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Read raw files by a recipe into a folder of packed columns.
    Prepare(prepare::PrepareArgs),
    /// Show what a prepared folder holds.
    Inspect(inspect::InspectArgs),
    /// Write a synthetic file whose best possible AUC is known.
    Synth(synth::SynthArgs),
}

/// Runs one of the commands on data.
///
/// # Errors
/// Those of the command.
pub fn run(command: &DataCommand, common: &Common, output: Output) -> anyhow::Result<()> {
    let seed = Seed::new(common.seed);
    match command {
        DataCommand::Prepare(args) => prepare::run(args, seed, output),
        DataCommand::Inspect(args) => inspect::run(args, output),
        DataCommand::Synth(args) => synth::run(args, seed, output),
    }
}
