//! From a trained learner to the file that is shipped.

use std::path::Path;

use serde_json::Value;
use slimbed_compact::{ArtefactError, DenseTensor, Encoding, FieldTable, Manifest, Pooling, Rows};
use slimbed_data::Dataset;
use slimbed_embedding::Table;
use slimbed_score::ModelSpec;

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
    learner.embedding.settle();
    let weights = learner.dense.export()?;
    let pooling = learner.embedding.pooling().to_vec();
    let tables = learner.embedding.into_tables();
    let tables = tables.iter().zip(&pooling);
    let fields: Vec<_> = dataset
        .fields()
        .iter()
        .zip(tables)
        .map(|(field, (table, &pooling))| exact(path, &field.name, table, pooling))
        .collect::<Result<_, _>>()?;
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
