//! From a trained learner to the file that is shipped.

use std::path::Path;

use serde_json::Value;
use slimbed_compact::{
    ArtefactError, Combine, DenseTensor, Encoding, FieldTable, Manifest, PartTable, Pooling,
    Projection, Rows, Sharing,
};
use slimbed_data::Dataset;
use slimbed_embedding::FieldTables;
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
    let dim = spec.shape().2;
    let tables = tables.iter().zip(&pooling);
    let fields: Vec<_> = dataset
        .fields()
        .iter()
        .zip(tables)
        .map(|(field, (tables, &pooling))| {
            Ok::<_, ArtefactError>(FieldTable {
                name: &field.name,
                n_rows: field.n_rows.into(),
                pooling: stored_pooling(pooling),
                sharing: stored_sharing(tables.sharing),
                parts: exact(path, &field.name, tables)?,
                projection: tables
                    .projection
                    .as_deref()
                    .map(|matrix| Projection { matrix, dim }),
            })
        })
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

/// The tables of a field as they are.
fn exact<'a>(
    path: &Path,
    field: &str,
    tables: &'a FieldTables,
) -> Result<Vec<PartTable<'a>>, ArtefactError> {
    let parts = tables.parts.iter().map(|table| {
        let rows = Rows::new(table.values(), table.dim())?;
        let encoding = Encoding::EXACT_DENSE;
        Ok(PartTable { rows, encoding })
    });
    let parts = parts.collect::<Result<_, _>>();
    parts.map_err(|source| ArtefactError::Encode {
        path: path.to_owned(),
        field: field.to_owned(),
        source,
    })
}

fn stored_pooling(pooling: slimbed_embedding::Pooling) -> Pooling {
    match pooling {
        slimbed_embedding::Pooling::Sum => Pooling::Sum,
        slimbed_embedding::Pooling::Mean => Pooling::Mean,
    }
}

/// A layer's sharing as the artefact names it.
pub(crate) fn stored_sharing(sharing: slimbed_embedding::Sharing) -> Sharing {
    use slimbed_embedding::Sharing as Trained;
    match sharing {
        Trained::None => Sharing::None,
        Trained::Hash { seed } => Sharing::Hash { seed },
        Trained::Cutoff => Sharing::Cutoff,
        Trained::QuotientRemainder { divisor, combine } => Sharing::QuotientRemainder {
            divisor,
            combine: match combine {
                slimbed_embedding::Combine::Sum => Combine::Sum,
                slimbed_embedding::Combine::Product => Combine::Product,
                slimbed_embedding::Combine::Concat => Combine::Concat,
            },
        },
    }
}
