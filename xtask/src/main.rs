//! Slimbed's front: `cargo xtask COMMAND`.
//!
//! This file parses and dispatches; each command has a file of its own and calls the libraries.
//! Exit codes: 0 success, 2 bad input, usage or configuration, 1 anything else. See [`failure`].

mod bench;
mod card;
mod cli;
mod compact;
mod data;
mod device;
mod eval;
mod failure;
mod inspect;
mod output;
mod plot;
mod progress;
mod reduction;
mod settings;
mod source;
mod sweep;
mod threads;
mod train;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::exit_with_usage(&error),
    };
    threads::configure(cli.common.threads);
    let output = cli.common.output();
    match dispatch(&cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::exit_with(&error, output),
    }
}

fn dispatch(cli: &Cli, output: Output) -> anyhow::Result<()> {
    match &cli.command {
        Command::Bench(command) => bench::run(command, &cli.common, output),
        Command::Data(command) => data::run(command, &cli.common, output),
        Command::Train(args) => train::run(args, &cli.common, output),
        Command::Plot(args) => plot::run(args, output),
        Command::Sweep(args) => sweep::run(args, output),
        Command::Eval(args) => eval::run(args, output),
        Command::Compact(args) => compact::run(args, output),
        Command::Inspect(args) => inspect::run(args, output),
        Command::Validate(args) => validate::run(args, output),
    }
}
