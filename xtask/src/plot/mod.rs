//! `cargo xtask plot`: what a method has done to the rows of a run, as a picture.

mod chart;
mod kept;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use slimbed_data::Dataset;
use slimbed_files::write_atomically;
use slimbed_train::{MethodKind, SavedRun};

use crate::output::Output;
use chart::{Chart, Curve};

const EXAMPLES: &str = "\
Examples:
  cargo xtask plot runs/synthetic-dlrm-amtl-s1
  cargo xtask plot runs/synthetic-dlrm-pep-s1 --out pep.svg
  cargo xtask plot runs/synthetic-dlrm-mlet-s1 --json

Draws an SVG: how many values of a row the shipped file keeps by how often its id stands in the training split \
(AMTL: sizes; PEP and magnitude pruning: what pruning has left), over all fields and for the largest of them; for \
MLET the singular values of the rows in training and of the folded ones. With --json the curves as numbers.";

/// Draw what a method has done to the rows of a run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PlotArgs {
    /// A run's folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The picture; by default plot.svg in the run's folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What was drawn.
#[derive(Serialize)]
struct Drawn {
    file: PathBuf,
    curves: Vec<Curve>,
}

/// Runs the command.
///
/// # Errors
/// When the run is not finished, or a file cannot be read or written.
pub fn run(args: &PlotArgs, output: Output) -> anyhow::Result<()> {
    let saved = SavedRun::open(&args.run)?;
    let dataset = Dataset::open(&saved.info().data_dir)
        .with_context(|| format!("cannot open the data of {}", args.run.display()))?;
    let chart = chart_of(&saved, &dataset)?;
    let file = args
        .out
        .clone()
        .unwrap_or_else(|| args.run.join("plot.svg"));
    write(&file, &chart.svg()?)?;
    let text = format!("{} curves in {}", chart.curves.len(), file.display());
    let curves = chart.curves;
    output.result(&Drawn { file, curves }, text)
}

/// The picture that suits the method of a run.
fn chart_of(saved: &SavedRun, dataset: &Dataset) -> anyhow::Result<Chart> {
    let run = saved.dir().id();
    if saved.config().method.name == MethodKind::Mlet {
        let values = slimbed_train::singular_values(saved, dataset)?;
        let curve = |(name, values): (String, Vec<f64>)| Curve {
            name,
            points: (1..).map(f64::from).zip(values).collect(),
        };
        return Ok(Chart {
            title: format!("{run}: singular values"),
            x: "number".into(),
            y: "singular value".into(),
            curves: values.into_iter().map(curve).collect(),
        });
    }
    Ok(Chart {
        title: format!("{run}: values kept by frequency"),
        x: "occurrences in the training split, log2".into(),
        y: "values kept of a row, mean".into(),
        curves: kept::curves(&saved.dir().artefact(), dataset)?,
    })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    write_atomically(path, |file, temporary| {
        use slimbed_files::IoContext;
        file.write_all(text.as_bytes()).at("write", temporary)
    })
    .map_err(|e: slimbed_files::FileError| e.into())
}
