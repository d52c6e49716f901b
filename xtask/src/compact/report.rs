//! What `compact` says.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use slimbed_compact::{Artefact, Choice, PartEntry, Values};
use slimbed_eval::ProofCard;
use slimbed_train::Selection;

use super::{CompactArgs, Done};
use crate::card;
use crate::output::human_bytes;

/// The result of a compaction.
#[derive(Serialize)]
pub struct CompactReport<'a> {
    input: &'a Path,
    artefact: &'a Path,
    dropped: Value,
    rank: Option<u32>,
    selection: Option<Selection>,
    fields: Vec<Field>,
    card: ProofCard,
}

/// What was weighed for one table, or one part of it.
#[derive(Serialize)]
struct Field {
    name: String,
    n_rows: u64,
    dim: u32,
    n_kept: u64,
    empty_rows: u64,
    /// Entropy of the places of the kept values.
    bound_mask_bytes: f64,
    /// Bits of the kept values.
    bound_value_bytes: f64,
    taken: String,
    bytes: u64,
    candidates: Vec<Candidate>,
    /// The type that was asked for.
    #[serde(skip)]
    values: Values,
}

#[derive(Serialize)]
struct Candidate {
    encoding: String,
    bytes: u64,
    #[serde(skip)]
    values: Values,
}

impl<'a> CompactReport<'a> {
    /// Looks at what was written.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn new(args: &'a CompactArgs, done: Done) -> anyhow::Result<Self> {
        let artefact = Artefact::open(&args.out)?;
        let entries = done.packed.manifest.fields.iter().zip(&done.packed.choices);
        let fields = entries.enumerate().flat_map(|(f, (entry, choices))| {
            let values = match &done.selection {
                Some(selection) => selection.values[f],
                None => args.values,
            };
            let parts = entry.parts.iter().zip(choices).enumerate();
            let artefact = &artefact;
            parts.map(move |(i, (part, choice))| {
                let (name, bytes) = match entry.parts.len() {
                    1 => (entry.name.clone(), artefact.field_bytes(f)),
                    _ => (
                        format!("{} {}", entry.name, PARTS[i.min(1)]),
                        choice.taken.n_bytes,
                    ),
                };
                field(name, part, choice, values, bytes)
            })
        });
        Ok(Self {
            input: &args.input,
            artefact: &args.out,
            dropped: args.dropped.describe(),
            rank: args.rank,
            fields: fields.collect(),
            selection: done.selection,
            card: done.card,
        })
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let mut text: String = self.fields.iter().map(Field::lines).collect();
        if let Some(selection) = &self.selection {
            let (before, after) = (selection.auc_before, selection.auc);
            let n = selection.n_evaluations;
            text += &format!(
                "types selected with validation AUC {after:.6} of {before:.6}, scored {n} times\n"
            );
        }
        let artefact = self.artefact.display();
        format!(
            "{text}\n{:<24} {artefact}\n\n{}",
            "artefact",
            card::table(&self.card)
        )
    }
}

/// What the two tables of a field with quotient and remainder are called.
const PARTS: [&str; 2] = ["quotient", "remainder"];

fn field(name: String, part: &PartEntry, choice: &Choice, values: Values, bytes: u64) -> Field {
    let candidates = choice.candidates.iter().map(|candidate| Candidate {
        encoding: candidate.encoding.name(),
        bytes: candidate.n_bytes,
        values: candidate.encoding.values,
    });
    Field {
        name,
        n_rows: part.n_rows,
        dim: part.dim,
        n_kept: part.n_kept,
        empty_rows: part.n_empty,
        bound_mask_bytes: choice.bound.mask,
        bound_value_bytes: choice.bound.values,
        taken: choice.taken.encoding.name(),
        bytes,
        candidates: candidates.collect(),
        values,
    }
}

impl Field {
    /// Two lines: what was taken, and what the other encodings of the same type would cost.
    fn lines(&self) -> String {
        let n_values = (self.n_rows * u64::from(self.dim)).max(1) as f64;
        let bound = self.bound_mask_bytes + self.bound_value_bytes;
        let same = self.candidates.iter().filter(|c| c.values == self.values);
        let others: Vec<_> = same
            .map(|c| format!("{} {}", c.encoding, human_bytes(c.bytes)))
            .collect();
        format!(
            "{}: {} x {}, {:.1}% kept, bound {}; {} takes {} ({:.2} of the bound)\n  candidates: {}\n",
            self.name,
            self.n_rows,
            self.dim,
            100.0 * self.n_kept as f64 / n_values,
            human_bytes(bound as u64),
            self.taken,
            human_bytes(self.bytes),
            self.bytes as f64 / bound.max(1.0),
            others.join(", "),
        )
    }
}
