//! Logits of a whole split, from live weights or from an artefact.

use std::path::Path;

use candle_core::Device;
use slimbed_compact::{Artefact, Bags};
use slimbed_data::{Batch, BatchOptions, Dataset, Order, Split};
use slimbed_eval::Metrics;
use slimbed_fused::Value;
use slimbed_score::{LookupScratch, ModelSpec, Scorer, Tables, first_order_name};

use crate::TrainError;
use crate::learner::{Learner, Ones, RowValues};
use crate::models::load_model;

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

/// Scores a split with a live learner; `progress` is told how many samples each batch had.
///
/// # Errors
/// When the data cannot be read or does not suit the model.
pub fn score(
    learner: &mut Learner,
    dataset: &Dataset,
    split: Split,
    progress: &dyn Fn(u64),
) -> Result<Scores, TrainError> {
    learner.settle();
    score_batches(dataset, split, progress, |batch, logits| {
        learner.logits(batch, logits)
    })
}

/// Opens an artefact, checks it against the data and scores a split with it: on the CPU with the scorer that
/// is shipped, elsewhere with the device's network.
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
    score_opened(&artefact, dataset, split, device, progress)
}

/// The same with an artefact that is open, and whose values are not verified.
pub(crate) fn score_opened(
    artefact: &Artefact,
    dataset: &Dataset,
    split: Split,
    device: &Device,
    progress: &dyn Fn(u64),
) -> Result<Scores, TrainError> {
    let spec = ModelSpec::of(artefact)?;
    check_data(&spec, artefact, dataset)?;
    if device.is_cpu() {
        let scorer = Scorer::new(artefact)?;
        return score_batches(dataset, split, progress, |batch, logits| {
            Ok(scorer.logits(&scored(batch, &bags(batch)), logits)?)
        });
    }
    let tables = Tables::new(artefact, &spec)?;
    let mut dense = load_model(artefact, device)?;
    let (mut rows, mut scratch) = (RowValues::default(), LookupScratch::default());
    let mut ones = Ones::of(dense.network());
    score_batches(dataset, split, progress, |batch, logits| {
        let RowValues {
            embeddings,
            first_order,
        } = &mut rows;
        let width = |value| batch.n * dense.network().width(value);
        embeddings.resize(width(Value::EMBEDDINGS), 0.0);
        first_order.resize(width(Value::FIRST_ORDER), 0.0);
        let bags = bags(batch);
        let ids = scored(batch, &bags);
        tables.lookup(&ids, embeddings, &mut scratch)?;
        tables.lookup_first_order(&ids, first_order, &mut scratch)?;
        dense.logits(rows.inputs(batch, &mut ones), logits)
    })
}

/// Reads a split batch by batch; `logits` writes those of a batch.
pub(crate) fn score_batches(
    dataset: &Dataset,
    split: Split,
    progress: &dyn Fn(u64),
    mut logits: impl FnMut(&Batch, &mut [f32]) -> Result<(), TrainError>,
) -> Result<Scores, TrainError> {
    let options = BatchOptions {
        batch_size: BATCH,
        order: Order::Sequential,
        start_batch: 0,
        prefetch: 2,
    };
    let mut scores = Scores::default();
    for batch in dataset.batches(split, options)? {
        let batch = batch?;
        let start = scores.logits.len();
        scores.logits.resize(start + batch.n, 0.0);
        logits(&batch, &mut scores.logits[start..])?;
        scores.labels.extend(&batch.labels);
        progress(batch.n as u64);
    }
    Ok(scores)
}

/// The ids of a batch as the scorer takes them.
pub(crate) fn bags(batch: &Batch) -> Vec<Bags<'_>> {
    let fields = batch.fields.iter();
    let bags = fields.map(|field| Bags {
        ids: &field.ids,
        offsets: field.offsets.as_deref(),
        weights: None,
    });
    bags.collect()
}

fn scored<'a>(batch: &'a Batch, fields: &'a [Bags<'a>]) -> slimbed_score::Batch<'a> {
    slimbed_score::Batch {
        n: batch.n,
        dense: &batch.dense,
        fields,
    }
}

/// Checks that an artefact has a model, and that it was made for data of this shape.
///
/// # Errors
/// Names what differs.
pub fn check_artefact(artefact: &Artefact, dataset: &Dataset) -> Result<(), TrainError> {
    check_data(&ModelSpec::of(artefact)?, artefact, dataset)
}

pub(crate) fn check_data(
    spec: &ModelSpec,
    artefact: &Artefact,
    dataset: &Dataset,
) -> Result<(), TrainError> {
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
    let mut found: Vec<_> = fields
        .iter()
        .map(|f| format!("{}:{}", f.name, f.n_rows))
        .collect();
    if spec.has_first_order() {
        let weights = fields.iter();
        found.extend(weights.map(|f| format!("{}:{}", first_order_name(&f.name), f.n_rows)));
    }
    if stored != found {
        return mismatch("fields (name:rows)", stored.join(" "), found.join(" "));
    }
    Ok(())
}
