//! `cargo xtask data prepare`: raw files in, a folder of packed columns out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;
use slimbed_data::{DataError, Pass, PrepareOptions, PrepareReport, Recipe, SplitInfo};
use slimbed_rng::Seed;

use crate::output::Output;
use crate::progress::{Progress, Unit};
use crate::settings::{SetArgs, load_recipe};

const EXAMPLES: &str = "\
Examples:
  cargo xtask data prepare --data datasets/criteo-kaggle.toml --input train.txt --out prepared/criteo
  cargo xtask data prepare --data datasets/criteo-kaggle-days.toml --input day_*.gz \\
      --max-bad-rows 100 --out prepared/days
  cargo xtask data prepare --data datasets/criteo-kaggle.toml --input train.txt --out prepared/rare10 \\
      --set min_count=10 --set split.shares.train=6
  cargo xtask data prepare --data datasets/movielens-1m.toml --input ml-1m/ --out prepared/ml-1m
  cargo xtask data prepare --data datasets/avazu.toml --input train.csv.gz --out prepared/avazu

Several files are read as one, in the order given; plain, gzip and zstd files are told apart by their \
first bytes.
The vocabulary is learnt from the training split only; --seed draws a random split.
DIR appears when everything is written, and not at all when something fails.";

/// What to read, and where to.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PrepareArgs {
    /// The dataset's recipe, a TOML file: columns, split, rare-id rule.
    #[arg(long, value_name = "RECIPE")]
    data: PathBuf,
    /// The raw files, or the one folder of a recipe that names its files.
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., required = true)]
    input: Vec<PathBuf>,
    /// The folder to make; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Skip and count up to N malformed rows; one more is an error.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_bad_rows: u64,
    #[command(flatten)]
    set: SetArgs,
}

#[derive(Debug, Serialize)]
struct Prepared<'a> {
    folder: &'a Path,
    rows: u64,
    bad_rows: u64,
    bad_row_examples: &'a [String],
    splits: &'a [SplitInfo],
    seconds: f64,
    rows_per_sec: f64,
}

/// Prepares the files and says what came of them.
///
/// # Errors
/// Names the recipe's line, or the file, line and column of the input; nothing is left behind then.
pub fn run(args: &PrepareArgs, seed: Seed, output: Output) -> anyhow::Result<()> {
    let recipe = load_recipe(&args.data, &args.set.tables()?)?;
    let options = PrepareOptions {
        seed,
        max_bad_rows: args.max_bad_rows,
    };
    let report = prepare_shown(&recipe, &args.input, &args.out, &options)?;
    let prepared = Prepared::new(&report, &args.out);
    output.result(&prepared, prepared.text())
}

/// Prepares `files` into `folder` under a progress bar, and warns of skipped rows on stderr.
///
/// # Errors
/// As [`run`].
pub fn prepare_shown(
    recipe: &Recipe,
    files: &[PathBuf],
    folder: &Path,
    options: &PrepareOptions,
) -> anyhow::Result<PrepareReport> {
    let bar = Progress::start("", total_bytes(&recipe.input_files(files)?), Unit::Bytes);
    let report = slimbed_data::prepare(recipe, files, folder, options, &|at| {
        bar.set_stage(pass_name(at.pass), at.bytes);
    });
    bar.clear();
    let report = with_folder(report, folder)?;
    for example in &report.bad_row_examples {
        eprintln!("warning: skipped {example}");
    }
    if report.meta.n_bad_rows > 0 {
        eprintln!(
            "warning: skipped {} bad rows in all",
            report.meta.n_bad_rows
        );
    }
    Ok(report)
}

/// Adds the folder to a failure to write; what is wrong with the input stands for itself.
fn with_folder(
    report: Result<PrepareReport, DataError>,
    folder: &Path,
) -> anyhow::Result<PrepareReport> {
    match report {
        Err(error @ DataError::File(_)) => {
            Err(error).with_context(|| format!("cannot prepare {}", folder.display()))
        }
        other => Ok(other?),
    }
}

/// The bytes of all files; one that cannot be asked counts as empty, and opening it will say why.
fn total_bytes(files: &[PathBuf]) -> u64 {
    let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
    sizes.map(|metadata| metadata.len()).sum()
}

fn pass_name(pass: Pass) -> &'static str {
    match pass {
        Pass::Lines => "counting lines",
        Pass::Times => "reading times",
        Pass::Vocabulary => "counting ids",
        Pass::Encode => "writing",
    }
}

impl<'a> Prepared<'a> {
    fn new(report: &'a PrepareReport, folder: &'a Path) -> Self {
        let meta = &report.meta;
        Self {
            folder,
            rows: meta.splits.iter().map(|split| split.n_rows).sum(),
            bad_rows: meta.n_bad_rows,
            bad_row_examples: &report.bad_row_examples,
            splits: &meta.splits,
            seconds: report.secs,
            rows_per_sec: report.rows_per_s,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.folder.display());
        for split in self.splits {
            let rate = split.n_positives as f64 / split.n_rows as f64;
            let rows = HumanCount(split.n_rows).to_string();
            text += &format!(
                "  {:<10} {rows:>13} rows, label 1 in {rate:.4}\n",
                split.name
            );
        }
        format!(
            "{text}skipped {} bad rows\n{} rows in {:.2} s ({} rows/s)",
            self.bad_rows,
            HumanCount(self.rows),
            self.seconds,
            HumanCount(self.rows_per_sec as u64)
        )
    }
}
