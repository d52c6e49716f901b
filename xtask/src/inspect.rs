//! `cargo xtask inspect`: what an artefact holds.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use slimbed_compact::{Artefact, Combine, FieldEntry, PartEntry, Pooling, Sharing};
use slimbed_eval::PartBytes;
use slimbed_train::part_bytes;

use crate::eval::artefact_path;
use crate::output::{Output, human_bytes};

const EXAMPLES: &str = "\
Examples:
  cargo xtask inspect runs/synthetic-dlrm-s1
  cargo xtask inspect model.safetensors --verify --json

`of bound`: the table's bytes over the information in it, which is the zero-order entropy of the places of the kept \
values, the bits of these values, and a projection where there is one. `zeros` and `empty rows` are those of the \
rows that are stored.";

/// Show an artefact: per field rows, dim, encoding, bytes, bound, sparsity and empty rows.
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
    /// Bytes of all tables by what they are.
    parts: PartBytes,
    verified: bool,
    fields: Vec<Field>,
    total: Sums,
    model: &'a serde_json::Value,
    training: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Field {
    name: String,
    /// Ids.
    n_rows: u64,
    dim: u32,
    pooling: Pooling,
    sharing: Sharing,
    /// Values of a row before the projection, where there is one.
    projected_from: Option<u32>,
    encoding: String,
    parts: Vec<PartEntry>,
    #[serde(flatten)]
    sums: Sums,
}

/// Of a field or of all of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sums {
    stored_rows: u64,
    bytes: u64,
    /// Entropy of the mask, bits of the kept values, and the projection.
    bound_bytes: f64,
    dense_bytes: u64,
    n_values: u64,
    n_kept: u64,
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
    let parts = part_bytes(artefact);
    let total = fields
        .iter()
        .fold(Sums::default(), |sum, field| sum.plus(field.sums));
    Inspection {
        artefact: path,
        artefact_bytes: artefact.n_bytes(),
        header_bytes: parts.header,
        table_bytes: parts.tables,
        weight_bytes: parts.weights,
        dense_table_bytes: total.dense_bytes,
        parts,
        verified,
        fields,
        total,
        model: &manifest.model,
        training: &manifest.training,
    }
}

fn field(artefact: &Artefact, f: usize, entry: &FieldEntry) -> Field {
    let parts = &entry.parts;
    let sum = |of: fn(&PartEntry) -> u64| parts.iter().map(of).sum::<u64>();
    let width = width(entry);
    let projection_bytes = match width {
        Some(width) => 4.0 * f64::from(width) * f64::from(entry.dim),
        None => 0.0,
    };
    let bounds = parts.iter().map(|part| part.bound().bytes());
    let sums = Sums {
        stored_rows: sum(|part| part.n_rows),
        bytes: artefact.field_bytes(f),
        bound_bytes: bounds.sum::<f64>() + projection_bytes,
        dense_bytes: entry.dense_bytes(),
        n_values: sum(|part| part.n_rows * u64::from(part.dim)),
        n_kept: sum(|part| part.n_kept),
        sparsity: 0.0,
        empty_rows: sum(|part| part.n_empty),
    };
    Field {
        name: entry.name.clone(),
        n_rows: entry.n_rows,
        dim: entry.dim,
        pooling: entry.pooling,
        sharing: entry.sharing,
        projected_from: width,
        encoding: encoding(entry, width),
        parts: parts.clone(),
        // Also fills in the sparsity.
        sums: Sums::default().plus(sums),
    }
}

/// Values of a row before the projection; `None` without one.
fn width(entry: &FieldEntry) -> Option<u32> {
    let dims = entry.parts.iter().map(|part| part.dim);
    let width = match entry.sharing {
        Sharing::QuotientRemainder {
            combine: Combine::Concat,
            ..
        } => dims.sum(),
        _ => dims.max().unwrap_or(0),
    };
    entry.projected.then_some(width)
}

/// How a field is stored, for example `hash to 1000 rows, dense int8, 8 -> 16`.
fn encoding(entry: &FieldEntry, width: Option<u32>) -> String {
    let parts: Vec<_> = entry
        .parts
        .iter()
        .map(|part| part.encoding().name())
        .collect();
    let rows: Vec<_> = entry
        .parts
        .iter()
        .map(|part| part.n_rows.to_string())
        .collect();
    let sharing = match entry.sharing {
        Sharing::None => String::new(),
        Sharing::Hash { .. } => format!("hash to {} rows, ", rows.join(" ")),
        Sharing::Cutoff => format!("first {} rows, ", rows.join(" ")),
        Sharing::QuotientRemainder { combine, .. } => {
            let how = match combine {
                Combine::Sum => "sum",
                Combine::Product => "product",
                Combine::Concat => "concat",
            };
            format!("{how} of {} rows, ", rows.join(" and "))
        }
    };
    let projection = width.map(|width| format!(", {width} -> {}", entry.dim));
    format!(
        "{sharing}{}{}",
        parts.join(" and "),
        projection.unwrap_or_default()
    )
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        let n_values = self.n_values + other.n_values;
        let n_kept = self.n_kept + other.n_kept;
        Self {
            stored_rows: self.stored_rows + other.stored_rows,
            bytes: self.bytes + other.bytes,
            bound_bytes: self.bound_bytes + other.bound_bytes,
            dense_bytes: self.dense_bytes + other.dense_bytes,
            n_values,
            n_kept,
            sparsity: 1.0 - n_kept as f64 / n_values.max(1) as f64,
            empty_rows: self.empty_rows + other.empty_rows,
        }
    }
}

fn table(inspection: &Inspection<'_>) -> String {
    let width = |of: fn(&Field) -> usize, least: usize| {
        let widths = inspection.fields.iter().map(of);
        widths.fold(least, usize::max)
    };
    let (name, encoding) = (width(|f| f.name.len(), 10), width(|f| f.encoding.len(), 12));
    let mut text = format!(
        "{:<name$} {:>12} {:>5} {:<encoding$} {:>10} {:>8} {:>8} {:>12}\n",
        "field", "rows", "dim", "encoding", "bytes", "of bound", "zeros", "empty rows"
    );
    let mut line = |title: &str, rows: u64, dim: &str, how: &str, sums: Sums| {
        text += &format!(
            "{title:<name$} {rows:>12} {dim:>5} {how:<encoding$} {:>10} {:>8.2} {:>7.1}% {:>12}\n",
            human_bytes(sums.bytes),
            sums.bytes as f64 / sums.bound_bytes.max(1.0),
            100.0 * sums.sparsity,
            sums.empty_rows,
        );
    };
    for field in &inspection.fields {
        let dim = field.dim.to_string();
        line(&field.name, field.n_rows, &dim, &field.encoding, field.sums);
    }
    let rows = inspection.fields.iter().map(|field| field.n_rows).sum();
    line("all", rows, "", "", inspection.total);
    text + &totals(inspection)
}

fn totals(inspection: &Inspection<'_>) -> String {
    let mut rows = vec![("tables".to_owned(), inspection.table_bytes)];
    let kinds = inspection.parts.table_parts.iter();
    rows.extend(kinds.map(|(kind, &bytes)| (format!("  {kind}"), bytes)));
    rows.extend([
        ("weights".into(), inspection.weight_bytes),
        ("header".into(), inspection.header_bytes),
        ("file".into(), inspection.artefact_bytes),
        ("tables as dense f32".into(), inspection.dense_table_bytes),
    ]);
    let rows = rows.iter();
    let lines = rows.map(|(name, bytes)| format!("{name:<20} {:>12}\n", human_bytes(*bytes)));
    format!("\n{}", lines.collect::<String>())
}
