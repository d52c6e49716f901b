//! `cargo xtask eval`: scores a split with a saved artefact.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use slimbed_data::{Dataset, Split};
use slimbed_eval::Metrics;
use slimbed_train::score_artefact;

use crate::device::DeviceArg;
use crate::failure::BadInput;
use crate::output::Output;
use crate::progress::{Progress, Unit};

const EXAMPLES: &str = "\
Examples:
  cargo xtask eval runs/synthetic-dlrm-s1
  cargo xtask eval runs/synthetic-dlrm-s1 --split validation --json
  cargo xtask eval model.safetensors --data prepared/criteo

A run knows its data; an artefact alone needs --data.";

/// Score a split with a saved artefact.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EvalArgs {
    /// A run's folder, or an artefact.
    #[arg(value_name = "RUN|FILE")]
    model: PathBuf,
    /// Prepared data; by default that of the run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The split to score.
    #[arg(long, value_enum, default_value_t = SplitArg::Test)]
    split: SplitArg,
    #[command(flatten)]
    device: DeviceArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum SplitArg {
    Train,
    Validation,
    Test,
}

impl SplitArg {
    fn split(self) -> Split {
        match self {
            Self::Train => Split::Train,
            Self::Validation => Split::Validation,
            Self::Test => Split::Test,
        }
    }
}

#[derive(Serialize)]
struct EvalReport<'a> {
    artefact: &'a Path,
    data: &'a Path,
    split: SplitArg,
    metrics: Metrics,
}

/// Runs the command.
///
/// # Errors
/// When the artefact or the data is missing, damaged, or does not fit the other.
pub fn run(args: &EvalArgs, output: Output) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let artefact = artefact_path(&args.model);
    let data = match &args.data {
        Some(data) => data.clone(),
        None => data_of_run(&args.model)?,
    };
    let dataset = Dataset::open(&data)?;
    let split = args.split.split();
    let bar = Progress::start("score", dataset.n_rows(split), Unit::Rows);
    let scores = score_artefact(&artefact, &dataset, split, &device, &|n| bar.advance(n));
    bar.clear();
    let metrics = scores?.metrics(split)?;
    let report = EvalReport {
        artefact: &artefact,
        data: &data,
        split: args.split,
        metrics,
    };
    output.result(&report, table(&report))
}

/// The artefact of a run, or the path itself.
pub fn artefact_path(model: &Path) -> PathBuf {
    if model.is_dir() {
        model.join("export/model.safetensors")
    } else {
        model.to_owned()
    }
}

/// The prepared data a run was trained on.
fn data_of_run(run: &Path) -> anyhow::Result<PathBuf> {
    let path = run.join("report.json");
    let describe = || format!("cannot tell the data of {}; give --data DIR", run.display());
    let text = std::fs::read_to_string(&path)
        .map_err(|e| BadInput(format!("{}: {e}", path.display())))
        .with_context(describe)?;
    let report: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| BadInput(format!("{}: {e}", path.display())))
        .with_context(describe)?;
    let data = report["data_dir"].as_str();
    let data = data.ok_or_else(|| BadInput(format!("{}: no `data_dir`", path.display())));
    Ok(PathBuf::from(data.with_context(describe)?))
}

fn table(report: &EvalReport<'_>) -> String {
    let metrics = &report.metrics;
    let rows = [
        ("artefact", report.artefact.display().to_string()),
        (
            "data",
            format!(
                "{} ({})",
                report.data.display(),
                report.split.split().name()
            ),
        ),
        ("samples", metrics.n.to_string()),
        ("AUC", format!("{:.6}", metrics.auc)),
        ("logloss", format!("{:.6}", metrics.logloss)),
        (
            "normalised entropy",
            format!("{:.6}", metrics.normalised_entropy),
        ),
        ("PR-AUC", format!("{:.6}", metrics.pr_auc)),
        ("calibration", format!("{:.4}", metrics.calibration)),
        (
            "calibration error",
            format!("{:.4}", metrics.expected_calibration_error),
        ),
    ];
    rows.iter()
        .map(|(name, value)| format!("{name:<24} {value}\n"))
        .collect()
}
