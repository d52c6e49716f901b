//! The proof card as text.

use slimbed_eval::{LookupRates, PartBytes, ProofCard, Quality, ResidentBytes, SplitQuality};

use crate::output::human_bytes;

/// The card as a table for people.
pub fn table(card: &ProofCard) -> String {
    let mut text = format!("{:<24} {:>14} {:>14}\n", "proof card", "before", "after");
    let mut row = |name: &str, before: String, after: String| {
        text += &format!("{name:<24} {before:>14} {after:>14}\n");
    };
    row(
        "file",
        human_bytes(card.bytes_before),
        human_bytes(card.bytes),
    );
    for (name, bytes) in parts(&card.parts) {
        row(&name, String::new(), human_bytes(bytes));
    }
    row("as dense f32", String::new(), human_bytes(card.dense_bytes));
    row(
        "dense / file",
        String::new(),
        format!("{:.2} times", card.ratio),
    );
    for (name, bytes) in resident(card.resident.as_ref()) {
        row(name, String::new(), bytes);
    }
    for (name, before, after) in quality(card.quality) {
        row(&name, before, after);
    }
    if let Some((before, after)) = rates(card.lookups) {
        row("lookups, one thread", before, after);
    }
    text + &remarks(card)
}

fn parts(parts: &PartBytes) -> Vec<(String, u64)> {
    let mut rows = vec![("  tables".to_owned(), parts.tables)];
    let kinds = parts.table_parts.iter();
    rows.extend(kinds.map(|(kind, &bytes)| (format!("    {kind}"), bytes)));
    rows.push(("  weights".into(), parts.weights));
    rows.push(("  header".into(), parts.header));
    rows
}

fn resident(resident: Option<&ResidentBytes>) -> Vec<(&'static str, String)> {
    let Some(resident) = resident else {
        return Vec::new();
    };
    let scored = resident.scored.map(|bytes| ("memory, test scored", bytes));
    let rows = [Some(("memory, just mapped", resident.mapped)), scored];
    let rows = rows.into_iter().flatten();
    rows.map(|(name, bytes)| (name, human_bytes(bytes)))
        .collect()
}

fn quality(quality: Option<Quality>) -> Vec<(String, String, String)> {
    let of = |split: &str, quality: SplitQuality| {
        let row = |metric: &str, before: f64, after: f64| {
            let name = format!("{split} {metric}");
            (name, format!("{before:.6}"), format!("{after:.6}"))
        };
        [
            row("AUC", quality.auc_before, quality.auc),
            row("logloss", quality.logloss_before, quality.logloss),
        ]
    };
    let splits = quality.map(|q| [of("validation", q.validation), of("test", q.test)]);
    splits.into_iter().flatten().flatten().collect()
}

fn rates(rates: Option<LookupRates>) -> Option<(String, String)> {
    let millions = |per_s: f64| format!("{:.1} M/s", per_s / 1e6);
    rates.map(|rates| (millions(rates.per_s_before), millions(rates.per_s)))
}

/// What the figures do not say, and a warning where nothing was saved.
fn remarks(card: &ProofCard) -> String {
    let mut text = String::new();
    if let Some(resident) = &card.resident {
        text += &format!("Memory: {}.\n", resident.method);
    }
    if card.quality.is_none() {
        text += "No metrics: they take a model in the file, and data.\n";
    }
    if card.bytes >= card.bytes_before {
        text += "The file is not smaller than before.\n";
    }
    text
}
