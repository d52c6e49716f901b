//! The smallest types of values within a tolerance.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value as Json;
use slimbed_compact::{Artefact, Output, Scratch, Table, Values};
use slimbed_data::{Batch, Dataset, Split};
use slimbed_files::AtomicDir;
use slimbed_fused::{Forward, Inputs, Value};
use slimbed_score::{ModelSpec, dense_weights};

use crate::TrainError;
use crate::learner::{Ones, RowValues};
use crate::progress::bar;
use crate::scoring::{bags, check_data, score_batches};
use crate::ship::{ShipRequest, pack_as};

/// Samples that go through the network at a time, as the scorer takes them.
const CHUNK: usize = 64;

/// The types from the smallest to the exact one.
const LEVELS: [Values; 4] = [Values::Int4, Values::Int8, Values::F16, Values::F32];

/// The types of values of all fields, and what they were selected by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selection {
    /// The type of each field.
    pub values: Vec<Values>,
    /// Validation AUC of the artefact they were measured against.
    pub auc_before: f64,
    /// Validation AUC of the selection.
    pub auc: f64,
    /// How often the validation split was scored.
    pub n_evaluations: usize,
}

/// Selects for every field the type of its values so that the validation AUC loses at most
/// `settings.max_auc_drop`.
///
/// All fields begin as int4. When that loses too much, the fields are moved to the next type, those first that
/// win most by it alone, as few as it takes (found by bisection); when all of them are too few, the same begins
/// anew from there. The split is scored at most `4 + 3 (n_fields + log2 n_fields)` times, always with values
/// that were stored and decoded.
///
/// # Errors
/// When the artefact does not suit the data, or even exact values lose too much because some were dropped.
pub fn select(
    request: &ShipRequest<'_>,
    dataset: &Dataset,
    path: &Path,
) -> Result<Selection, TrainError> {
    let before = Artefact::open(request.before)?;
    let tolerance = request.settings.max_auc_drop;
    let mut judge = Judge::new(&before, dataset)?;
    let auc_before = judge.auc(&before.tables()?.iter().collect::<Vec<_>>())?;
    let folder = AtomicDir::create(&path.with_extension("candidates"))?;
    let n_fields = request.source.fields().len();
    let candidate = |level: usize, values: Values| {
        // Two files: a third candidate replaces the first, which is not used any more.
        let file = folder.path().join((level % 2).to_string());
        pack_as(request, &vec![values; n_fields], &file, Json::Null)?;
        Ok::<_, TrainError>(Artefact::open(&file)?)
    };
    let mut lower: Option<Artefact> = None;
    for (level, values) in LEVELS.into_iter().enumerate() {
        let upper = candidate(level, values)?;
        let auc = judge.auc(&upper.tables()?.iter().collect::<Vec<_>>())?;
        if auc_before - auc <= tolerance {
            let all = Step {
                types: [LEVELS[level.saturating_sub(1)], values],
                floor: auc_before - tolerance,
                auc,
            };
            let (values, auc) = all.fewest(&mut judge, lower.as_ref(), &upper)?;
            return Ok(Selection {
                values,
                auc_before,
                auc,
                n_evaluations: judge.n_evaluations,
            });
        }
        lower = Some(upper);
    }
    Err(TrainError::Setting {
        key: "export.max_auc_drop".into(),
        expected: "a tolerance that exact values keep to".into(),
        found: format!("{tolerance}: the dropped values alone lose more"),
        hint: String::new(),
    })
}

/// Two neighbouring types: with the first for all fields the AUC is too low, with the second it is not.
struct Step {
    types: [Values; 2],
    /// The lowest AUC that is allowed.
    floor: f64,
    /// With the second type for all fields.
    auc: f64,
}

impl Step {
    /// The types with as few fields of the second one as keep to the floor, and their AUC.
    fn fewest(
        &self,
        judge: &mut Judge<'_>,
        lower: Option<&Artefact>,
        upper: &Artefact,
    ) -> Result<(Vec<Values>, f64), TrainError> {
        let upper = upper.tables()?;
        let Some(lower) = lower else {
            return Ok((vec![self.types[1]; upper.len()], self.auc));
        };
        let lower = lower.tables()?;
        let order = ranking(judge, &lower, &upper)?;
        let (mut too_few, mut enough, mut auc) = (0, upper.len(), self.auc);
        while enough - too_few > 1 {
            let n = (too_few + enough) / 2;
            let found = judge.auc(&mixed(&lower, &upper, &order[..n]))?;
            if found >= self.floor {
                (enough, auc) = (n, found);
            } else {
                too_few = n;
            }
        }
        let mut values = vec![self.types[0]; upper.len()];
        order[..enough]
            .iter()
            .for_each(|&f| values[f] = self.types[1]);
        Ok((values, auc))
    }
}

/// The fields, those first that win most when only they are taken from `upper`.
fn ranking(
    judge: &mut Judge<'_>,
    lower: &[Table<'_>],
    upper: &[Table<'_>],
) -> Result<Vec<usize>, TrainError> {
    let mut aucs = Vec::new();
    for f in 0..upper.len() {
        aucs.push((f, judge.auc(&mixed(lower, upper, &[f]))?));
    }
    aucs.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(aucs.into_iter().map(|(f, _)| f).collect())
}

/// The tables of `lower`, but those numbered in `moved` of `upper`.
fn mixed<'t, 'a>(
    lower: &'t [Table<'a>],
    upper: &'t [Table<'a>],
    moved: &[usize],
) -> Vec<&'t Table<'a>> {
    let pairs = lower.iter().zip(upper).enumerate();
    pairs
        .map(|(f, (lower, upper))| if moved.contains(&f) { upper } else { lower })
        .collect()
}

/// Scores the validation split with one network and any tables.
struct Judge<'a> {
    dataset: &'a Dataset,
    forward: Forward,
    rows: RowValues,
    ones: Ones,
    scratch: Scratch,
    n_evaluations: usize,
}

impl<'a> Judge<'a> {
    fn new(artefact: &Artefact, dataset: &'a Dataset) -> Result<Self, TrainError> {
        let spec = ModelSpec::of(artefact)?;
        check_data(&spec, artefact, dataset)?;
        let forward = Forward::new(spec.network()?, &dense_weights(artefact)?)?;
        Ok(Self {
            dataset,
            ones: Ones::of(forward.network()),
            forward,
            rows: RowValues::default(),
            scratch: Scratch::default(),
            n_evaluations: 0,
        })
    }

    fn auc(&mut self, tables: &[&Table<'_>]) -> Result<f64, TrainError> {
        let split = Split::Validation;
        self.n_evaluations += 1;
        let title = format!("select, round {}", self.n_evaluations);
        let (dataset, bar) = (self.dataset, bar(self.dataset.n_rows(split), &title));
        let progress = |n| bar.inc(n);
        let scores = score_batches(dataset, split, &progress, |batch, logits| {
            self.look_up(tables, batch)?;
            self.logits(batch, logits)
        });
        bar.finish_and_clear();
        Ok(scores?.metrics(split)?.auc)
    }

    /// Writes the embeddings of a batch, `[n, fields, dim]`, and its first-order weights.
    fn look_up(&mut self, tables: &[&Table<'_>], batch: &Batch) -> Result<(), TrainError> {
        let bags = bags(batch);
        let network = self.forward.network();
        let (embeddings, first_order) = tables.split_at(bags.len().min(tables.len()));
        let RowValues {
            embeddings: e,
            first_order: w,
        } = &mut self.rows;
        for (tables, values, value) in [
            (embeddings, e, Value::EMBEDDINGS),
            (first_order, w, Value::FIRST_ORDER),
        ] {
            let stride = network.width(value);
            values.resize(batch.n * stride, 0.0);
            for (f, (table, bags)) in tables.iter().zip(&bags).enumerate() {
                let out = Output {
                    values,
                    start: f * table.dim(),
                    stride,
                };
                let looked_up = table.lookup(bags, out, &mut self.scratch);
                looked_up.map_err(|e| TrainError::DataShape {
                    what: "ids",
                    expected: "rows of the table".into(),
                    found: e.to_string(),
                })?;
            }
        }
        Ok(())
    }

    fn logits(&mut self, batch: &Batch, logits: &mut [f32]) -> Result<(), TrainError> {
        let (forward, inputs) = (&self.forward, self.rows.inputs(batch, &mut self.ones));
        let network = forward.network();
        let chunks = logits.par_chunks_mut(CHUNK).enumerate();
        chunks.try_for_each_init(
            || forward.scratch(),
            |scratch, (i, out)| {
                let (first, n) = (i * CHUNK, out.len());
                let part = |value| {
                    let width = network.width(value);
                    first * width..(first + n) * width
                };
                let inputs = Inputs {
                    n,
                    dense: &inputs.dense[part(Value::DENSE)],
                    embeddings: &inputs.embeddings[part(Value::EMBEDDINGS)],
                    first_order: &inputs.first_order[part(Value::FIRST_ORDER)],
                };
                Ok(forward.logits(inputs, scratch, out)?)
            },
        )
    }
}
