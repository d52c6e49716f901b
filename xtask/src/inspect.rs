//! `cargo xtask inspect`: what an artefact holds.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use slimbed_compact::{Artefact, FieldEntry, PartEntry, Pooling};

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
    fields: Vec<Field>,
    model: &'a serde_json::Value,
    training: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Field {
    name: String,
    n_rows: u64,
    dim: u32,
    pooling: Pooling,
    encoding: String,
    bytes: u64,
    /// Entropy of the mask and bits of the kept values.
    bound_bytes: f64,
    /// Share of values that are 0.
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
    let inspection = inspect(&artefact, path, args.verify);
    output.result(&inspection, table(&inspection))
}

fn inspect(artefact: &Artefact, path: PathBuf, verified: bool) -> Inspection<'_> {
    let manifest = artefact.manifest();
    let fields = manifest.fields.iter().enumerate();
    let fields: Vec<_> = fields.map(|(f, entry)| field(artefact, f, entry)).collect();
    let tensor_bytes: u64 = artefact.tensors().iter().map(|t| t.n_bytes).sum();
    let table_bytes = fields.iter().map(|field| field.bytes).sum();
    Inspection {
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
    }
}

fn field(artefact: &Artefact, f: usize, entry: &FieldEntry) -> Field {
    let parts = &entry.parts;
    let sum = |of: fn(&PartEntry) -> u64| parts.iter().map(of).sum::<u64>();
    let n_values = sum(|part| part.n_rows * u64::from(part.dim));
    let encodings: Vec<_> = parts.iter().map(|part| part.encoding().name()).collect();
    Field {
        name: entry.name.clone(),
        n_rows: entry.n_rows,
        dim: entry.dim,
        pooling: entry.pooling,
        encoding: encodings.join(", "),
        bytes: artefact.field_bytes(f),
        bound_bytes: parts.iter().map(|part| part.bound().bytes()).sum(),
        sparsity: 1.0 - sum(|part| part.n_kept) as f64 / n_values.max(1) as f64,
        empty_rows: sum(|part| part.n_empty),
    }
}

fn table(inspection: &Inspection<'_>) -> String {
    let mut text = format!(
        "{:<20} {:>12} {:>5} {:<24} {:>10} {:>8} {:>8} {:>10}\n",
        "field", "rows", "dim", "encoding", "bytes", "of bound", "zeros", "empty rows"
    );
    for field in &inspection.fields {
        text += &format!(
            "{:<20} {:>12} {:>5} {:<24} {:>10} {:>8.2} {:>7.1}% {:>10}\n",
            field.name,
            field.n_rows,
            field.dim,
            field.encoding,
            human_bytes(field.bytes),
            field.bytes as f64 / field.bound_bytes.max(1.0),
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
