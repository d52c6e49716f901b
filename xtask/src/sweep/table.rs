//! The table of a sweep.

use serde::Serialize;
use slimbed_eval::{MeanStd, MetricError};
use slimbed_train::Report;

use crate::output::human_bytes;

/// What became of one variant.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// It was trained with every seed.
    Trained(Box<Trained>),
    /// It cannot be had.
    Refused {
        /// Its name.
        variant: String,
        /// Why.
        refused: String,
    },
}

/// One variant over all seeds.
#[derive(Debug, Serialize)]
pub struct Trained {
    /// Its name.
    pub variant: String,
    /// Seeds of its runs.
    pub seeds: Vec<u64>,
    /// AUC of the test split.
    pub test_auc: MeanStd,
    /// Logloss of the test split.
    pub test_logloss: MeanStd,
    /// Bytes of the file.
    pub artefact_bytes: MeanStd,
    /// Bytes of its tables.
    pub table_bytes: MeanStd,
    /// Seconds in training steps of all phases.
    pub train_secs: MeanStd,
}

impl Trained {
    /// Puts the runs of a variant together.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(variant: String, seeds: &[u64], reports: &[Report]) -> Result<Self, MetricError> {
        let over =
            |value: fn(&Report) -> f64| MeanStd::of(&reports.iter().map(value).collect::<Vec<_>>());
        Ok(Self {
            variant,
            seeds: seeds.to_vec(),
            test_auc: over(|report| report.test_auc)?,
            test_logloss: over(|report| report.test_logloss)?,
            artefact_bytes: over(|report| report.artefact_bytes as f64)?,
            table_bytes: over(|report| report.card.parts.tables as f64)?,
            train_secs: over(|report| report.train_secs)?,
        })
    }
}

/// The table as Markdown.
pub fn markdown(lines: &[Line]) -> String {
    let header = "| variant | test AUC | test logloss | file | tables | training |\n\
                  |---|---|---|---|---|---|\n";
    let line = |line: &Line| match line {
        Line::Trained(line) => format!(
            "| {} | {} | {} | {} | {} | {:.1} s |\n",
            line.variant,
            spread(line.test_auc),
            spread(line.test_logloss),
            human_bytes(line.artefact_bytes.mean as u64),
            human_bytes(line.table_bytes.mean as u64),
            line.train_secs.mean,
        ),
        Line::Refused { variant, refused } => format!("| {variant} | {refused} | | | | |\n"),
    };
    header.to_owned() + &lines.iter().map(line).collect::<String>()
}

/// `0.79883 ± 0.00012`.
fn spread(value: MeanStd) -> String {
    match value.std {
        None => format!("{:.5}", value.mean),
        Some(std) => format!("{:.5} ± {std:.5}", value.mean),
    }
}
