//! Logits of a whole split, from live weights or from an artefact.

use std::path::Path;

use candle_core::{Device, Tensor};
use slimbed_compact::{Artefact, Pooling};
use slimbed_data::{BatchOptions, Dataset, Order, Split};
use slimbed_embedding::{TableView, lookup};
use slimbed_eval::Metrics;
use slimbed_nn::{Mode, Model};

use crate::learner::{dense_tensor, id_batch};
use crate::models::load_model;
use crate::{ModelSpec, TrainError};

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

/// Scores a split with `tables` and `model`; `progress` is told how many samples each batch had.
///
/// # Errors
/// When the data cannot be read or does not suit the model.
pub fn score(
    tables: &[TableView<'_>],
    model: &dyn Model,
    dataset: &Dataset,
    split: Split,
    device: &Device,
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
    for batch in dataset.batches(split, options)? {
        let batch = batch?;
        let mut embeddings = vec![0.0; batch.n * tables.len() * dim];
        lookup(tables, &id_batch(&batch), dim, &mut embeddings)?;
        let embeddings = Tensor::from_vec(embeddings, (batch.n, tables.len(), dim), device)?;
        let dense = dense_tensor(&batch, device)?;
        let logits = model.forward(&dense, &embeddings, Mode::Eval)?;
        scores.logits.extend(logits.to_vec1::<f32>()?);
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
    let (spec, model) = load_model(&artefact, device)?;
    check_data(&spec, &artefact, dataset)?;
    score(
        &views(&artefact)?,
        model.as_ref(),
        dataset,
        split,
        device,
        progress,
    )
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
