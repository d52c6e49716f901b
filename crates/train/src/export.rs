//! From a trained learner to the file that is shipped.

use std::path::Path;

use serde_json::Value;
use slimbed_compact::{ArtefactError, DenseTensor, Encoding, FieldTable, Manifest, Pooling, Rows};
use slimbed_data::Dataset;
use slimbed_embedding::{EmbeddingLayer, Table};
use slimbed_score::{ModelSpec, first_order_name};

use crate::TrainError;
use crate::learner::Learner;

/// Writes the learner's tables and weights as an artefact of exact rows.
///
/// The learner is used up: its tables are written from the memory they were trained in, and what only training
/// needs is given back before.
///
/// # Errors
/// When a tensor cannot be read from its device or the file cannot be written.
pub fn export(
    path: &Path,
    mut learner: Learner,
    spec: &ModelSpec,
    dataset: &Dataset,
    training: Value,
) -> Result<Manifest, TrainError> {
    learner.settle();
    let weights = learner.dense.export()?;
    let embeddings = Stored::of(learner.embedding, dataset, str::to_owned);
    let first_order = learner
        .first_order
        .map(|layer| -> Box<dyn EmbeddingLayer> { Box::new(layer) });
    let first_order = first_order.map(|layer| Stored::of(layer, dataset, first_order_name));
    let stored = std::iter::once(&embeddings).chain(&first_order);
    let fields = stored.flat_map(|stored| stored.fields(path));
    let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
    let dense: Vec<_> = weights
        .iter()
        .map(|tensor| DenseTensor {
            name: &tensor.name,
            shape: &tensor.shape,
            values: &tensor.values,
        })
        .collect();
    let model = serde_json::to_value(spec).map_err(|e| TrainError::RunFile {
        path: path.to_owned(),
        reason: e.to_string(),
    })?;
    Ok(slimbed_compact::write(
        path, &fields, &dense, model, training,
    )?)
}

/// The tables of a layer.
struct Stored {
    names: Vec<String>,
    pooling: Vec<slimbed_embedding::Pooling>,
    tables: Vec<Table>,
}

impl Stored {
    fn of(
        layer: Box<dyn EmbeddingLayer>,
        dataset: &Dataset,
        name: impl Fn(&str) -> String,
    ) -> Self {
        let fields = dataset.fields().iter();
        Self {
            names: fields.map(|field| name(&field.name)).collect(),
            pooling: layer.pooling().to_vec(),
            tables: layer.into_tables(),
        }
    }

    fn fields(&self, path: &Path) -> impl Iterator<Item = Result<FieldTable<'_>, ArtefactError>> {
        let tables = self.tables.iter().zip(&self.pooling);
        let fields = self.names.iter().zip(tables);
        fields.map(move |(name, (table, &pooling))| exact(path, name, table, pooling))
    }
}

/// A table as it is.
fn exact<'a>(
    path: &Path,
    field: &'a str,
    table: &'a Table,
    pooling: slimbed_embedding::Pooling,
) -> Result<FieldTable<'a>, ArtefactError> {
    let rows = Rows::new(table.values(), table.dim()).map_err(|source| ArtefactError::Encode {
        path: path.to_owned(),
        field: field.to_owned(),
        source,
    })?;
    let pooling = match pooling {
        slimbed_embedding::Pooling::Sum => Pooling::Sum,
        slimbed_embedding::Pooling::Mean => Pooling::Mean,
    };
    Ok(FieldTable::new(field, rows, Encoding::EXACT_DENSE, pooling))
}
