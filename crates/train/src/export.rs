//! From a trained learner to the file that is shipped.

use std::path::Path;

use serde_json::Value;
use slimbed_compact::{
    ArtefactError, Combine, DenseTensor, Encoding, FieldTable, Manifest, PartTable, Pooling,
    Projection, Rows, Sharing,
};
use slimbed_data::Dataset;
use slimbed_embedding::{EmbeddingLayer, FieldTables};
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
    n_rows: Vec<u64>,
    pooling: Vec<slimbed_embedding::Pooling>,
    dim: usize,
    tables: Vec<FieldTables>,
}

impl Stored {
    fn of(
        layer: Box<dyn EmbeddingLayer>,
        dataset: &Dataset,
        name: impl Fn(&str) -> String,
    ) -> Self {
        let fields = dataset.fields();
        Self {
            names: fields.iter().map(|field| name(&field.name)).collect(),
            n_rows: fields.iter().map(|field| field.n_rows.into()).collect(),
            pooling: layer.pooling().to_vec(),
            dim: layer.dim(),
            tables: layer.into_tables(),
        }
    }

    fn fields(&self, path: &Path) -> impl Iterator<Item = Result<FieldTable<'_>, ArtefactError>> {
        (0..self.names.len()).map(move |f| {
            let (name, tables) = (&self.names[f], &self.tables[f]);
            let dim = self.dim;
            let projection = tables.projection.as_deref();
            Ok(FieldTable {
                name,
                n_rows: self.n_rows[f],
                pooling: stored_pooling(self.pooling[f]),
                sharing: stored_sharing(tables.sharing),
                parts: exact(path, name, tables)?,
                projection: projection.map(|matrix| Projection { matrix, dim }),
            })
        })
    }
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
