//! The proof card: what a shipped file saves and costs, measured with files that were opened again.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use slimbed_compact::{Artefact, FieldEntry};
use slimbed_data::{Dataset, Split};
use slimbed_eval::{Metrics, PartBytes, ProofCard, Quality, ResidentBytes, SplitQuality};
use slimbed_files::IoContext;

use crate::TrainError;
use crate::environment::resident_bytes_of;
use crate::progress::bar;
use crate::rates::lookup_rates;
use crate::scoring::{Scores, score_artefact, score_opened};

/// How resident bytes are measured.
const METHOD: &str = "pages of the file's mapping, from /proc/self/smaps";

/// A card, and the metrics of the shipped file in full.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The card.
    pub card: ProofCard,
    /// Of the validation split.
    pub validation: Metrics,
    /// Of the test split.
    pub test: Metrics,
}

/// Opens both files and measures everything: the validation split, then the test split once with each file,
/// then lookups.
///
/// # Errors
/// When a file is damaged or does not suit the data.
pub fn prove(
    before: &Path,
    after: &Path,
    dataset: &Dataset,
    device: &Device,
) -> Result<Proof, TrainError> {
    let measured = Measured { dataset, device };
    let [validation_before, validation] =
        [before, after].map(|path| measured.metrics(path, Split::Validation));
    let (validation_before, validation) = (validation_before?, validation?);
    let test_before = measured.metrics(before, Split::Test)?;
    let (test, resident) = measured.test_and_memory(after)?;
    let quality = Quality {
        validation: SplitQuality::new(&validation_before, &validation),
        test: SplitQuality::new(&test_before, &test),
    };
    let card = ProofCard {
        resident,
        quality: Some(quality),
        lookups: Some(lookup_rates([before, after], dataset)?),
        ..byte_card(file_bytes(before)?, after)?
    };
    Ok(Proof {
        card,
        validation,
        test,
    })
}

/// The card of a file without a model, or without data: bytes only.
///
/// # Errors
/// When the file is damaged.
pub fn byte_card(bytes_before: u64, after: &Path) -> Result<ProofCard, TrainError> {
    let artefact = Artefact::open(after)?;
    let mapped = resident_bytes_of(after);
    let fields = &artefact.manifest().fields;
    let parts = part_bytes(&artefact);
    let tables = fields.iter().map(FieldEntry::dense_bytes).sum::<u64>();
    // Weights are dense f32.
    let dense_bytes = tables + parts.weights;
    Ok(ProofCard {
        bytes_before,
        bytes: artefact.n_bytes(),
        dense_bytes,
        ratio: dense_bytes as f64 / artefact.n_bytes() as f64,
        parts,
        resident: mapped.map(|mapped| ResidentBytes {
            method: METHOD.into(),
            mapped,
            scored: None,
        }),
        quality: None,
        lookups: None,
    })
}

/// What the bytes of an artefact are.
pub fn part_bytes(artefact: &Artefact) -> PartBytes {
    let names: Vec<_> = artefact.manifest().fields.iter().map(|f| &f.name).collect();
    let (mut table_parts, mut weights) = (BTreeMap::<String, u64>::new(), 0);
    for tensor in artefact.tensors() {
        match tensor.name.strip_prefix("table.") {
            Some(name) => *table_parts.entry(kind(name, &names)).or_default() += tensor.n_bytes,
            None => weights += tensor.n_bytes,
        }
    }
    let tables = table_parts.values().sum();
    PartBytes {
        tables,
        table_parts,
        weights,
        header: artefact.n_bytes() - tables - weights,
    }
}

/// What all measurements share.
struct Measured<'a> {
    dataset: &'a Dataset,
    device: &'a Device,
}

impl Measured<'_> {
    fn metrics(&self, path: &Path, split: Split) -> Result<Metrics, TrainError> {
        self.watch(path, split, |progress| {
            score_artefact(path, self.dataset, split, self.device, progress)
        })
    }

    /// Metrics of the test split, and the memory behind the file before and after.
    fn test_and_memory(&self, path: &Path) -> Result<(Metrics, Option<ResidentBytes>), TrainError> {
        let artefact = Artefact::open(path)?;
        let mapped = resident_bytes_of(path);
        let metrics = self.watch(path, Split::Test, |progress| {
            score_opened(&artefact, self.dataset, Split::Test, self.device, progress)
        })?;
        let resident = mapped.map(|mapped| ResidentBytes {
            method: METHOD.into(),
            mapped,
            scored: resident_bytes_of(path),
        });
        Ok((metrics, resident))
    }

    fn watch(
        &self,
        path: &Path,
        split: Split,
        score: impl FnOnce(&dyn Fn(u64)) -> Result<Scores, TrainError>,
    ) -> Result<Metrics, TrainError> {
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        let title = format!("{} by {file}", split.name());
        let bar = bar(self.dataset.n_rows(split), &title);
        let scores = score(&|n| bar.inc(n));
        bar.finish_and_clear();
        scores?.metrics(split)
    }
}

/// Bytes of a file.
pub(crate) fn file_bytes(path: &Path) -> Result<u64, TrainError> {
    Ok(std::fs::metadata(path).at("read size of", path)?.len())
}

/// What the tensor `table.<name>` of one of the fields `fields` holds.
fn kind(name: &str, fields: &[&String]) -> String {
    let rest = |field: &&String| {
        let rest = name.strip_prefix(field.as_str())?;
        (rest.is_empty() || rest.starts_with('.')).then_some(rest)
    };
    // Of `C1` and `C1.index` the longer one, if both are fields.
    let rest = fields.iter().filter_map(rest).min_by_key(|rest| rest.len());
    let rest = rest.unwrap_or_default();
    let rest = rest.strip_prefix(".remainder").unwrap_or(rest);
    match rest.strip_prefix('.') {
        None => "values".into(),
        Some(kind) => kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_told_apart_by_what_follows_the_field() {
        let fields = ["C1".to_owned(), "C1.index".to_owned(), "C10".to_owned()];
        let fields: Vec<_> = fields.iter().collect();
        for (name, expected) in [
            ("C1", "values"),
            ("C10", "values"),
            ("C10.index", "index"),
            ("C1.index", "values"),
            ("C1.index.present", "present"),
            ("C1.remainder", "values"),
            ("C1.remainder.rows", "rows"),
            ("C1.projection", "projection"),
        ] {
            assert_eq!(kind(name, &fields), expected, "{name}");
        }
    }
}
