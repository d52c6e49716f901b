//! Logits of a whole split, from live weights or from an artefact.

use std::path::Path;

use candle_core::Device;
use slimbed_compact::{Artefact, Pooling};
use slimbed_data::{BatchOptions, Dataset, Order, Split};
use slimbed_embedding::{TableView, lookup};
use slimbed_eval::Metrics;

use crate::learner::{id_batch, inputs};
use crate::models::load_model;
use crate::{DenseNetwork, ModelSpec, TrainError};

/// Samples scored together.
const BATCH: usize = 4096;

/// Logits and labels of a split, in the order of the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// One logit a sample.
    pub logits: Vec<f32>,
    /// Its label, 0 or 1.
    pub labels: Vec<f32>,
}

impl Scores {
    /// All metrics of the split.
    ///
    /// # Errors
    /// When a metric has no value, for example because a class is missing; names `split`.
    pub fn metrics(&self, split: Split) -> Result<Metrics, TrainError> {
        Metrics::from_logits(&self.logits, &self.labels).map_err(|source| TrainError::Metric {
            split: split.name(),
            source,
        })
    }
}

/// Scores a split with `tables` and `dense`; `progress` is told how many samples each batch had.
///
/// # Errors
/// When the data cannot be read or does not suit the model.
pub fn score(
    tables: &[TableView<'_>],
    dense: &mut dyn DenseNetwork,
    dataset: &Dataset,
    split: Split,
    progress: &dyn Fn(u64),
) -> Result<Scores, TrainError> {
    let dim = tables.first().map_or(0, |table| table.dim);
    let options = BatchOptions {
        batch_size: BATCH,
        order: Order::Sequential,
        start_batch: 0,
        prefetch: 2,
    };
    let mut scores = Scores::default();
    let mut embeddings = Vec::new();
    for batch in dataset.batches(split, options)? {
        let batch = batch?;
        embeddings.resize(batch.n * tables.len() * dim, 0.0);
        lookup(tables, &id_batch(&batch), dim, &mut embeddings)?;
        let start = scores.logits.len();
        scores.logits.resize(start + batch.n, 0.0);
        dense.logits(inputs(&batch, &embeddings), &mut scores.logits[start..])?;
        scores.labels.extend(&batch.labels);
        progress(batch.n as u64);
    }
    Ok(scores)
}

/// Opens an artefact, checks it against the data and scores a split with it.
///
/// # Errors
/// When the artefact is damaged or was made for other data.
pub fn score_artefact(
    path: &Path,
    dataset: &Dataset,
    split: Split,
    device: &Device,
    progress: &dyn Fn(u64),
) -> Result<Scores, TrainError> {
    let artefact = Artefact::open(path)?;
    artefact.verify()?;
    let (spec, mut dense) = load_model(&artefact, device)?;
    check_data(&spec, &artefact, dataset)?;
    score(&views(&artefact)?, dense.as_mut(), dataset, split, progress)
}

/// The artefact's tables.
fn views(artefact: &Artefact) -> Result<Vec<TableView<'_>>, TrainError> {
    let fields = artefact.manifest().fields.iter().enumerate();
    fields
        .map(|(f, field)| {
            let pooling = match field.pooling {
                Pooling::Sum => slimbed_embedding::Pooling::Sum,
                Pooling::Mean => slimbed_embedding::Pooling::Mean,
            };
            Ok(TableView {
                values: artefact.rows(f)?,
                dim: field.dim as usize,
                pooling,
            })
        })
        .collect()
}

fn check_data(spec: &ModelSpec, artefact: &Artefact, dataset: &Dataset) -> Result<(), TrainError> {
    let mismatch = |what, expected: String, found: String| {
        Err(TrainError::DataShape {
            what,
            expected,
            found,
        })
    };
    let (n_dense, ..) = spec.shape();
    if n_dense != dataset.n_dense() {
        let found = dataset.n_dense().to_string();
        return mismatch("dense features", n_dense.to_string(), found);
    }
    let (stored, fields) = (&artefact.manifest().fields, dataset.fields());
    let stored: Vec<_> = stored
        .iter()
        .map(|f| format!("{}:{}", f.name, f.n_rows))
        .collect();
    let found: Vec<_> = fields
        .iter()
        .map(|f| format!("{}:{}", f.name, f.n_rows))
        .collect();
    if stored != found {
        return mismatch("fields (name:rows)", stored.join(" "), found.join(" "));
    }
    Ok(())
}
