//! How large the shipped file is going to be, known before its weights are.

use std::path::Path;

use serde_json::{Value, json};
use slimbed_compact::{ArtefactError, DenseTensor, SourceField, TableSource, packed_bytes};
use slimbed_data::{Dataset, Split};
use slimbed_rng::Seed;

use super::rows::{first_order_fields, source_fields};
use crate::{Config, TrainError};

/// Name of the file in errors.
const FILE: &str = "export/model.safetensors";

/// Bytes by which the data may begin later than foreseen, and digits of a part that depend on trained values.
const ALIGNMENT: u64 = 64;
const DIGITS: u64 = 4;

/// The shipped file without its tables: the network's weights, settings and names.
pub struct FileSize<'a> {
    dataset: &'a Dataset,
    config: &'a Config,
    /// Name and shape of each weight.
    weights: Vec<(String, Vec<usize>)>,
    /// As many as the largest weight has values.
    zeros: Vec<f32>,
    /// The tables of first-order weights, which no method reduces.
    first_order: Vec<SourceField>,
    model: Value,
    training: Value,
}

impl<'a> FileSize<'a> {
    /// That of a run with these settings.
    ///
    /// # Errors
    /// When a size of the network cannot work.
    pub fn new(dataset: &'a Dataset, config: &'a Config, seed: Seed) -> Result<Self, TrainError> {
        let spec = config.model.spec(dataset.n_dense(), dataset.fields().len());
        let network = spec.network()?;
        let params = network.params().iter();
        let most = params.clone().map(|param| param.len()).max().unwrap_or(0);
        let steps = dataset
            .n_rows(Split::Train)
            .div_ceil(config.train.batch_size as u64);
        let last_step = steps * config.train.epochs;
        Ok(Self {
            dataset,
            config,
            weights: params
                .map(|param| (param.name.clone(), param.shape.clone()))
                .collect(),
            zeros: vec![0.0; most],
            first_order: if spec.has_first_order() {
                first_order_fields(dataset)
            } else {
                Vec::new()
            },
            model: serde_json::to_value(&spec).unwrap_or(Value::Null),
            training: training_record(dataset, config, seed, last_step),
        })
    }

    /// The data of the run.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// Bytes of the file with these tables, or a few more.
    ///
    /// # Errors
    /// When rows cannot be read or stored.
    pub fn with(&self, tables: &dyn TableSource) -> Result<u64, TrainError> {
        let fields = [tables.fields(), &self.first_order].concat();
        let export = &self.config.export;
        let encoders = vec![export.encoder(export.values); fields.len()];
        let parts = fields.iter().map(|field| field.parts.len() as u64);
        let digits = DIGITS * parts.sum::<u64>();
        let tables = WithFirstOrder { tables, fields };
        let dense = self.weights.iter().map(|(name, shape)| DenseTensor {
            name,
            shape,
            values: &self.zeros[..shape.iter().product()],
        });
        let bytes = packed_bytes(
            Path::new(FILE),
            &tables,
            &encoders,
            &dense.collect::<Vec<_>>(),
            self.model.clone(),
            self.training.clone(),
        )?;
        Ok(bytes + ALIGNMENT + digits)
    }

    /// Bytes of the file with next to no tables.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn rest(&self) -> Result<u64, TrainError> {
        let mut fields = source_fields(self.dataset, self.config.model.dim);
        for field in &mut fields {
            field.n_rows = 1;
            field.parts[0].n_rows = 1;
        }
        self.with(&Ones(fields))
    }
}

/// The embeddings, and behind them first-order weights that keep all their values.
struct WithFirstOrder<'a> {
    tables: &'a dyn TableSource,
    fields: Vec<SourceField>,
}

impl TableSource for WithFirstOrder<'_> {
    fn fields(&self) -> &[SourceField] {
        &self.fields
    }

    fn part(&self, f: usize, i: usize) -> Result<Vec<f32>, ArtefactError> {
        if f < self.tables.fields().len() {
            return self.tables.part(f, i);
        }
        Ok(vec![1.0; self.fields[f].n_rows])
    }

    fn projection(&self, f: usize) -> Result<Option<Vec<f32>>, ArtefactError> {
        if f < self.tables.fields().len() {
            return self.tables.projection(f);
        }
        Ok(None)
    }
}

/// Tables of these shapes that keep all their values.
pub struct Ones(pub Vec<SourceField>);

impl TableSource for Ones {
    fn fields(&self) -> &[SourceField] {
        &self.0
    }

    fn part(&self, f: usize, i: usize) -> Result<Vec<f32>, ArtefactError> {
        let part = self.0[f].parts[i];
        Ok(vec![1.0; part.n_rows * part.dim])
    }

    fn projection(&self, f: usize) -> Result<Option<Vec<f32>>, ArtefactError> {
        let field = &self.0[f];
        let n = field.parts[0].dim * field.dim;
        Ok(field.is_projected.then(|| vec![1.0; n]))
    }
}

/// What the artefacts of a run say of how they came to be.
pub fn training_record(dataset: &Dataset, config: &Config, seed: Seed, best_step: u64) -> Value {
    json!({
        "data": dataset.meta().name,
        "method": config.method.name,
        "seed": seed.get(),
        "best_step": best_step,
        "config": config,
    })
}
