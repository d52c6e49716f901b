//! `cargo xtask inspect`: what an artefact holds.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use slimbed_compact::{Artefact, FieldEntry};

use crate::eval::artefact_path;
use crate::output::{Output, human_bytes};

const EXAMPLES: &str = "\
Examples:
  cargo xtask inspect runs/synthetic-dlrm-s1
  cargo xtask inspect model.safetensors --verify --json";

/// Show an artefact: per field rows, dim, encoding and bytes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// A run's folder, or an artefact.
    #[arg(value_name = "RUN|FILE")]
    model: PathBuf,
    /// Read every tensor and compare it with its checksum.
    #[arg(long)]
    verify: bool,
}

#[derive(Serialize)]
struct Inspection<'a> {
    artefact: PathBuf,
    artefact_bytes: u64,
    header_bytes: u64,
    table_bytes: u64,
    weight_bytes: u64,
    dense_table_bytes: u64,
    verified: bool,
    fields: Vec<Field<'a>>,
    model: &'a serde_json::Value,
    training: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Field<'a> {
    #[serde(flatten)]
    entry: &'a FieldEntry,
    bytes: u64,
    /// Share of stored values that are 0.
    sparsity: f64,
    empty_rows: u64,
}

/// Runs the command.
///
/// # Errors
/// When the artefact is missing or damaged.
pub fn run(args: &InspectArgs, output: Output) -> anyhow::Result<()> {
    let path = artefact_path(&args.model);
    let artefact = Artefact::open(&path)?;
    if args.verify {
        artefact.verify()?;
    }
    let inspection = inspect(&artefact, path, args.verify)?;
    output.result(&inspection, table(&inspection))
}

fn inspect(artefact: &Artefact, path: PathBuf, verified: bool) -> anyhow::Result<Inspection<'_>> {
    let manifest = artefact.manifest();
    let fields = manifest.fields.iter().enumerate();
    let fields: Vec<_> = fields
        .map(|(f, entry)| field(artefact, f, entry))
        .collect::<Result<_, _>>()?;
    let tensor_bytes: u64 = artefact.parts().iter().map(|part| part.n_bytes).sum();
    let table_bytes = fields.iter().map(|field| field.bytes).sum();
    Ok(Inspection {
        artefact: path,
        artefact_bytes: artefact.n_bytes(),
        header_bytes: artefact.n_bytes() - tensor_bytes,
        table_bytes,
        weight_bytes: tensor_bytes - table_bytes,
        dense_table_bytes: manifest.fields.iter().map(FieldEntry::dense_bytes).sum(),
        verified,
        fields,
        model: &manifest.model,
        training: &manifest.training,
    })
}

fn field<'a>(artefact: &Artefact, f: usize, entry: &'a FieldEntry) -> anyhow::Result<Field<'a>> {
    let values = artefact.rows(f)?;
    let rows = values.chunks_exact((entry.dim as usize).max(1));
    let empty_rows = rows.filter(|row| row.iter().all(|&x| x == 0.0)).count() as u64;
    let n_zeros = values.iter().filter(|&&x| x == 0.0).count();
    let sparsity = n_zeros as f64 / values.len().max(1) as f64;
    Ok(Field {
        entry,
        bytes: size_of_val(values) as u64,
        sparsity,
        empty_rows,
    })
}

fn table(inspection: &Inspection<'_>) -> String {
    let mut text = format!(
        "{:<20} {:>12} {:>5} {:<10} {:<6} {:>12} {:>8} {:>10}\n",
        "field", "rows", "dim", "encoding", "values", "bytes", "zeros", "empty rows"
    );
    for field in &inspection.fields {
        let entry = field.entry;
        text += &format!(
            "{:<20} {:>12} {:>5} {:<10} {:<6} {:>12} {:>7.1}% {:>10}\n",
            entry.name,
            entry.n_rows,
            entry.dim,
            format!("{:?}", entry.encoding).to_lowercase(),
            format!("{:?}", entry.values).to_lowercase(),
            human_bytes(field.bytes),
            100.0 * field.sparsity,
            field.empty_rows,
        );
    }
    text + &totals(inspection)
}

fn totals(inspection: &Inspection<'_>) -> String {
    let rows = [
        ("tables", inspection.table_bytes),
        ("weights", inspection.weight_bytes),
        ("header", inspection.header_bytes),
        ("file", inspection.artefact_bytes),
        ("tables as dense f32", inspection.dense_table_bytes),
    ];
    rows.iter()
        .map(|(name, bytes)| format!("{name:<20} {:>12}\n", human_bytes(*bytes)))
        .collect()
}
