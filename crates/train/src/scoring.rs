//! Logits of a whole split, from live weights or from an artefact.

use std::path::Path;

use candle_core::Device;
use slimbed_compact::{Artefact, Bags, Output, Scratch, Table};
use slimbed_data::{Batch, BatchOptions, Dataset, Order, Split};
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

/// Writes the embeddings of a batch, `[n, fields · dim]`.
type Embed<'e> = dyn FnMut(&Batch, &mut [f32]) -> Result<(), TrainError> + 'e;

/// Scores a split with live `tables` and `dense`; `progress` is told how many samples each batch had.
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
    let mut embed =
        |batch: &Batch, out: &mut [f32]| Ok(lookup(tables, &id_batch(batch), dim, out)?);
    let width = tables.len() * dim;
    score_with(&mut embed, width, dense, dataset, split, progress)
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
    let (tables, mut scratch) = (artefact.tables()?, Scratch::default());
    let width: usize = tables.iter().map(Table::dim).sum();
    let mut embed =
        |batch: &Batch, out: &mut [f32]| embed(&tables, batch, width, out, &mut scratch);
    score_with(&mut embed, width, dense.as_mut(), dataset, split, progress)
}

fn score_with(
    embed: &mut Embed<'_>,
    width: usize,
    dense: &mut dyn DenseNetwork,
    dataset: &Dataset,
    split: Split,
    progress: &dyn Fn(u64),
) -> Result<Scores, TrainError> {
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
        embeddings.resize(batch.n * width, 0.0);
        embed(&batch, &mut embeddings)?;
        let start = scores.logits.len();
        scores.logits.resize(start + batch.n, 0.0);
        dense.logits(inputs(&batch, &embeddings), &mut scores.logits[start..])?;
        scores.labels.extend(&batch.labels);
        progress(batch.n as u64);
    }
    Ok(scores)
}

/// Looks a batch up in the artefact's tables, field beside field.
fn embed(
    tables: &[Table<'_>],
    batch: &Batch,
    width: usize,
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), TrainError> {
    let mut start = 0;
    for (field, table) in batch.fields.iter().zip(tables) {
        let bags = Bags {
            ids: &field.ids,
            offsets: field.offsets.as_deref(),
            weights: None,
        };
        let out = Output {
            values: &mut *out,
            start,
            stride: width,
        };
        table.lookup(&bags, out, scratch)?;
        start += table.dim();
    }
    Ok(())
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
