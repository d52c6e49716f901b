//! `cargo xtask data synth`: a file of any size whose best possible AUC is known.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use slimbed_data::synth::{BayesReport, SynthModel, SynthReport, SynthSpec, write_tsv};
use slimbed_files::{IoContext, write_atomically};
use slimbed_rng::Seed;
use toml::Table;

use crate::failure::BadInput;
use crate::output::{Output, human_bytes};
use crate::progress::{Progress, Speed, Unit};
use crate::settings::{SetArgs, overlay};

const EXAMPLES: &str = "\
Examples:
  cargo xtask data synth --rows 1000000 --out synth.tsv
  cargo xtask --seed 7 data synth --rows 20000 --preset small --out small.tsv
  cargo xtask data synth --rows 100000 --out rare.tsv --set base_rate=0.05 --set rare_mass=1e-4

The form is Criteo's: label, integer columns, 8-digit hexadecimal tokens, tabs, no header.
FILE.json says how the file was made and what the best possible model scores on it.";

/// Where to write, and how much.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SynthArgs {
    /// Number of rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// The file to write; its report goes to FILE.json.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The distribution to draw from.
    #[arg(long, value_enum, default_value_t = Preset::Criteo)]
    preset: Preset,
    #[command(flatten)]
    set: SetArgs,
}

/// The distributions at hand.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// 13 integer columns and 26 fields with the sizes and the skew of Criteo.
    Criteo,
    /// 4 integer columns and 6 fields: what a test learns in seconds.
    Small,
}

#[derive(Debug, Serialize)]
struct Written<'a> {
    file: &'a Path,
    report: &'a Path,
    bytes: u64,
    seconds: f64,
    rows_per_sec: u64,
    bayes: BayesReport,
}

/// Writes the file, then its report; a file without its report is taken away again.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &SynthArgs, seed: Seed, output: Output) -> anyhow::Result<()> {
    let model = SynthModel::new(args.spec()?, seed)?;
    let (report, speed) = write_files(&model, args.rows, &args.out)?;
    let report_path = path_of_report(&args.out);
    let written = Written {
        file: &args.out,
        report: &report_path,
        bytes: fs::metadata(&args.out).at("read", &args.out)?.len(),
        seconds: speed.seconds,
        rows_per_sec: speed.rows_per_sec(),
        bayes: report.bayes,
    };
    output.result(&written, format!("{}\n{speed}", written.text()))
}

impl SynthArgs {
    /// The preset with the settings over it.
    fn spec(&self) -> anyhow::Result<SynthSpec> {
        let preset = self.preset.spec();
        let layers = self.set.tables()?;
        if layers.is_empty() {
            return Ok(preset);
        }
        let mut table = Table::try_from(&preset)?;
        overlay(&mut table, &layers);
        let spec = table.try_into::<SynthSpec>();
        Ok(spec.map_err(|e| BadInput(format!("--set: {}", e.message())))?)
    }
}

/// Writes `n_rows` rows to `out` and their report to `out` with `.json` behind it.
///
/// # Errors
/// When a file cannot be written; neither is left then.
pub fn write_files(
    model: &SynthModel,
    n_rows: u64,
    out: &Path,
) -> anyhow::Result<(SynthReport, Speed)> {
    let progress = Progress::start("writing", n_rows, Unit::Rows);
    let report = write_rows(model, n_rows, out, &progress)?;
    write_report(&path_of_report(out), &report).inspect_err(|_| {
        // The error says more than a failure to remove would.
        let _ = fs::remove_file(out);
    })?;
    Ok((report, progress.finish(n_rows)))
}

fn write_rows(
    model: &SynthModel,
    n_rows: u64,
    out: &Path,
    progress: &Progress,
) -> anyhow::Result<SynthReport> {
    let mut report = None;
    write_atomically::<anyhow::Error>(out, |file, _| {
        let written = write_tsv(model, n_rows, file, &mut |row| progress.set(row));
        report = Some(written.with_context(|| format!("cannot write {}", out.display()))?);
        Ok(())
    })?;
    report.context("no report was made")
}

fn write_report(path: &Path, report: &SynthReport) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    write_atomically(path, |file, _| {
        Ok(file.write_all(text.as_bytes()).at("write", path)?)
    })
}

/// Where the report of `file` is.
pub fn path_of_report(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

impl Preset {
    fn spec(self) -> SynthSpec {
        match self {
            Self::Criteo => SynthSpec::criteo_like(),
            Self::Small => SynthSpec::small(),
        }
    }
}

impl Written<'_> {
    fn text(&self) -> String {
        let auc = |auc: Option<f64>| auc.map_or_else(|| "undefined".into(), |a| format!("{a:.6}"));
        format!(
            "{}: {}, label 1 in {:.4} of the rows\nbest possible AUC {}, log loss {:.6} (on the labels drawn {}, {:.6})",
            self.file.display(),
            human_bytes(self.bytes),
            self.bayes.realised_rate,
            auc(self.bayes.auc),
            self.bayes.logloss,
            auc(self.bayes.realised_auc),
            self.bayes.realised_logloss,
        )
    }
}
