//! `cargo xtask validate`: what CI runs, cheapest first.

mod file_access;
mod graph;
mod layers;
mod licences;
mod manifests;
mod sources;
#[cfg(test)]
mod tests;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::BadInput;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  cargo xtask validate                      everything, stopping at the first failure
  cargo xtask validate --only layers,tidy   two checks that take a second
  cargo xtask validate --skip tests         what to run before a commit";

/// Which steps to run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ValidateArgs {
    /// Run these steps only.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
    /// Leave these steps out.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    skip: Vec<Step>,
}

/// One check, in the order of their cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// `cargo fmt --check`.
    Fmt,
    /// Which crate may use which, read from the manifests and from cargo's graph.
    Layers,
    /// File headers, leftovers, file sizes, machine paths.
    Tidy,
    /// The licences and the origin of third-party crates, against `deny.toml`.
    Licences,
    /// Clippy on every target, warnings denied.
    Clippy,
    /// rustdoc, warnings denied.
    Docs,
    /// `cargo test --workspace`.
    Tests,
}

#[derive(Debug, Serialize)]
struct Passed {
    step: Step,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Summary {
    steps: Vec<Passed>,
    seconds: f64,
}

/// Runs the chosen steps and stops at the first that fails.
///
/// # Errors
/// The findings of the step that failed, or its output; usage errors when no step is left.
pub fn run(args: &ValidateArgs, output: Output) -> anyhow::Result<()> {
    let start = Instant::now();
    let root = workspace_root();
    let mut steps = Vec::new();
    for step in chosen(args)? {
        let start = Instant::now();
        step.check(&root)
            .with_context(|| format!("validate: step {} failed", step.name()))?;
        let seconds = start.elapsed().as_secs_f64();
        output.line(format_args!("{:<9} ok  {seconds:7.1} s", step.name()))?;
        steps.push(Passed { step, seconds });
    }
    let seconds = start.elapsed().as_secs_f64();
    let text = format!("validate: passed {} in {seconds:.1} s", count(steps.len()));
    output.result(&Summary { steps, seconds }, text)
}

fn count(n_steps: usize) -> String {
    let plural = if n_steps == 1 { "" } else { "s" };
    format!("{n_steps} step{plural}")
}

fn chosen(args: &ValidateArgs) -> Result<Vec<Step>, BadInput> {
    let wanted = |step: &Step| {
        (args.only.is_empty() || args.only.contains(step)) && !args.skip.contains(step)
    };
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(wanted)
        .collect();
    if steps.is_empty() {
        return Err(BadInput("--only and --skip leave no step to run".into()));
    }
    Ok(steps)
}

impl Step {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn check(self, root: &Path) -> anyhow::Result<()> {
        let clippy = "clippy --quiet --workspace --all-targets -- -D warnings";
        match self {
            Self::Fmt => cargo(root, "fmt --all --check"),
            Self::Layers => none_found(&[layers::check(root)?, file_access::check(root)?].concat()),
            Self::Tidy => none_found(&tidy::check(root)?),
            Self::Licences => none_found(&licences::check(root)?),
            Self::Clippy => cargo(root, clippy),
            Self::Docs => cargo(root, "doc --quiet --workspace --no-deps"),
            Self::Tests => cargo(root, "test --workspace"),
        }
    }
}

fn none_found(findings: &[String]) -> anyhow::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} findings\n{}", findings.len(), findings.join("\n"))
}

fn cargo(root: &Path, arguments: &str) -> anyhow::Result<()> {
    // Cargo tells its children which binary it is; the name alone serves a binary run by hand.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(program)
        .args(arguments.split(' '))
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    if done.status.success() {
        return Ok(());
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    bail!(
        "cargo {arguments}\n{}{}",
        text(&done.stdout),
        text(&done.stderr)
    )
}

/// The folder this program was built from.
fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
