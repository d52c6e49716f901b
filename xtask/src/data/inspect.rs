//! `cargo xtask data inspect`: what a prepared folder holds.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;
use slimbed_data::{Dataset, Split};

use crate::output::{Output, human_bytes};
use crate::progress::{Progress, Unit};

const EXAMPLES: &str = "\
Examples:
  cargo xtask data inspect prepared/criteo
  cargo xtask data inspect prepared/criteo --dim 64 --verify
  cargo xtask --json data inspect prepared/criteo";

const F32_BYTES: u64 = 4;

/// Which folder, and how closely.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// The folder made by `data prepare`.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Read every block and compare it with its checksum.
    #[arg(long)]
    verify: bool,
    /// Dimension of the plain f32 tables whose bytes are shown.
    #[arg(long, value_name = "N", default_value_t = 16)]
    dim: u32,
}

#[derive(Debug, Serialize)]
struct Contents<'a> {
    folder: &'a Path,
    name: &'a str,
    seed: u64,
    bad_rows: u64,
    verified: bool,
    n_dense: usize,
    dim: u32,
    splits: Vec<SplitLine>,
    fields: Vec<FieldLine<'a>>,
}

#[derive(Debug, Serialize)]
struct SplitLine {
    name: &'static str,
    rows: u64,
    base_rate: f64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct FieldLine<'a> {
    name: &'a str,
    rows: u32,
    oov_share: f64,
    table_bytes: u64,
}

/// Shows rows, splits and fields, and verifies the checksums when asked to.
///
/// # Errors
/// When the folder is no prepared data, or damaged.
pub fn run(args: &InspectArgs, output: Output) -> anyhow::Result<()> {
    let dataset = Dataset::open(&args.dir)?;
    if args.verify {
        verify(&dataset)?;
    }
    let contents = Contents::of(&dataset, args);
    output.result(&contents, contents.text())
}

fn verify(dataset: &Dataset) -> anyhow::Result<()> {
    let n_rows = Split::ALL.iter().map(|&split| dataset.n_rows(split)).sum();
    let bar = Progress::start("verifying", n_rows, Unit::Rows);
    dataset.verify(&|n_more| bar.advance(n_more))?;
    bar.clear();
    Ok(())
}

impl<'a> Contents<'a> {
    fn of(dataset: &'a Dataset, args: &'a InspectArgs) -> Self {
        let meta = dataset.meta();
        let n_train = dataset.n_rows(Split::Train);
        let split = |split: Split| SplitLine {
            name: split.name(),
            rows: dataset.n_rows(split),
            base_rate: dataset.base_rate(split),
            bytes: dataset.n_bytes(split),
        };
        let field = |field: &'a slimbed_data::FieldInfo| FieldLine {
            name: &field.name,
            rows: field.n_rows,
            oov_share: field.n_oov as f64 / n_train as f64,
            table_bytes: u64::from(field.n_rows) * u64::from(args.dim) * F32_BYTES,
        };
        Self {
            folder: &args.dir,
            name: &meta.name,
            seed: meta.seed,
            bad_rows: meta.n_bad_rows,
            verified: args.verify,
            n_dense: dataset.n_dense(),
            dim: args.dim,
            splits: Split::ALL.into_iter().map(split).collect(),
            fields: dataset.fields().iter().map(field).collect(),
        }
    }

    fn text(&self) -> String {
        let verified = if self.verified {
            ", every checksum right"
        } else {
            ""
        };
        let mut lines = vec![
            format!(
                "{} ({}), seed {}{verified}",
                self.folder.display(),
                self.name,
                self.seed
            ),
            format!(
                "{} dense columns, {} fields, {} bad rows skipped",
                self.n_dense,
                self.fields.len(),
                self.bad_rows
            ),
            String::new(),
            format!(
                "{:<12} {:>14} {:>10} {:>10}",
                "split", "rows", "label 1", "on disk"
            ),
        ];
        for split in &self.splits {
            let (rows, bytes) = (HumanCount(split.rows).to_string(), human_bytes(split.bytes));
            lines.push(format!(
                "{:<12} {rows:>14} {:>10.4} {bytes:>10}",
                split.name, split.base_rate
            ));
        }
        lines.push(String::new());
        let table = format!("f32 x {}", self.dim);
        lines.push(format!(
            "{:<12} {:>14} {:>10} {table:>10}",
            "field", "table rows", "OOV share"
        ));
        for field in &self.fields {
            lines.push(line(
                field.name,
                field.rows.into(),
                Some(field.oov_share),
                field.table_bytes,
            ));
        }
        let rows = self.fields.iter().map(|field| u64::from(field.rows)).sum();
        let bytes = self.fields.iter().map(|field| field.table_bytes).sum();
        lines.push(line("all", rows, None, bytes));
        lines.join("\n")
    }
}

fn line(name: &str, rows: u64, oov_share: Option<f64>, bytes: u64) -> String {
    let (rows, bytes) = (HumanCount(rows).to_string(), human_bytes(bytes));
    let oov = oov_share.map_or_else(String::new, |share| format!("{share:.4}"));
    format!("{name:<12} {rows:>14} {oov:>10} {bytes:>10}")
}
