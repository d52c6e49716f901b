//! Rows to begin with: fresh ones, or those of a file.

use std::path::Path;

use slimbed_compact::{ArtefactError, SourceField, StoredTables, TableSource};
use slimbed_data::Dataset;
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, Mask, PlainEmbedding, Pooling, RowInit, RowSettings, Table,
    TrainedRows,
};
use slimbed_rng::Seed;
use slimbed_score::first_order_name;

use crate::{Config, TrainError};

/// The tables of a data set, as layers take them.
pub fn field_specs(dataset: &Dataset) -> Vec<FieldSpec> {
    let fields = dataset.fields().iter();
    let fields = fields.map(|field| FieldSpec {
        name: field.name.clone(),
        n_rows: field.n_rows as usize,
        pooling: Pooling::Sum,
    });
    fields.collect()
}

/// How the rows of a run start and are updated.
pub fn row_settings(config: &Config, seed: Seed) -> RowSettings {
    let train = &config.train;
    RowSettings {
        dim: config.model.dim,
        init: train.row_init(),
        seed,
        rule: train.sparse_rule(),
        weight_decay: train.embedding_weight_decay as f32,
    }
}

/// First-order weights of the ids, all 0: a table of one value a row for each field, updated like the rows.
///
/// # Errors
/// When memory runs out or a setting of the optimiser cannot work.
pub fn first_order_layer(
    dataset: &Dataset,
    config: &Config,
    seed: Seed,
) -> Result<PlainEmbedding, TrainError> {
    let fields = field_specs(dataset).into_iter().map(|field| FieldSpec {
        name: first_order_name(&field.name),
        ..field
    });
    let settings = RowSettings {
        dim: 1,
        init: RowInit::Zeros,
        ..row_settings(config, seed)
    };
    Ok(PlainEmbedding::new(&fields.collect::<Vec<_>>(), &settings)?)
}

/// The tables of the first-order weights, as the encoder takes them.
pub fn first_order_fields(dataset: &Dataset) -> Vec<SourceField> {
    let fields = source_fields(dataset, 1).into_iter();
    let fields = fields.map(|field| SourceField {
        name: first_order_name(&field.name),
        ..field
    });
    fields.collect()
}

/// Copies the first-order weights of the artefact at `path` to `tables`.
///
/// # Errors
/// When it does not hold tables of these shapes.
pub fn copy_first_order(
    path: &Path,
    dataset: &Dataset,
    tables: &mut [Table],
) -> Result<(), TrainError> {
    let source = StoredTables::open(path)?;
    let (n_fields, all) = (dataset.fields().len(), source.fields());
    check_tables(
        path,
        &all[n_fields.min(all.len())..],
        dataset,
        1,
        first_order_name,
    )?;
    for (f, table) in tables.iter_mut().enumerate() {
        table
            .values_mut()
            .copy_from_slice(&source.rows(n_fields + f)?);
    }
    Ok(())
}

/// Fresh rows, or those of the artefact at `from`.
///
/// # Errors
/// When memory runs out, or the artefact does not hold tables of these shapes.
pub fn trained_rows(
    dataset: &Dataset,
    config: &Config,
    seed: Seed,
    from: Option<&Path>,
) -> Result<TrainedRows, TrainError> {
    let mut rows = TrainedRows::new(&field_specs(dataset), &row_settings(config, seed))?;
    if let Some(path) = from {
        let source = stored(path, dataset, config.model.dim)?;
        for (f, table) in rows.tables_mut().iter_mut().enumerate() {
            table.values_mut().copy_from_slice(&source.rows(f)?);
        }
    }
    Ok(rows)
}

/// The values that are not zero in the artefact at `path`.
///
/// # Errors
/// When it does not hold tables of these shapes.
pub fn mask_of(path: &Path, dataset: &Dataset, dim: usize) -> Result<Mask, TrainError> {
    let source = stored(path, dataset, dim)?;
    let fields = &source.fields()[..dataset.fields().len()];
    let n_rows: Vec<usize> = fields.iter().map(|field| field.n_rows).collect();
    let words = (0..n_rows.len()).map(|f| Ok(nonzero_bits(&source.rows(f)?)));
    let words = words.collect::<Result<Vec<_>, TrainError>>()?;
    Ok(Mask::from_words(&n_rows, dim, words)?)
}

/// A bit for every value that is not zero, the lowest first.
fn nonzero_bits(values: &[f32]) -> Vec<u32> {
    let word = |values: &[f32]| {
        let bits = values.iter().enumerate();
        bits.fold(0, |word, (bit, &x)| word | u32::from(x != 0.0) << bit)
    };
    values.chunks(32).map(word).collect()
}

/// Opens the tables of an artefact and compares the shapes of the embeddings with those of the data; first-order
/// weights may stand behind them.
fn stored(path: &Path, dataset: &Dataset, dim: usize) -> Result<StoredTables, TrainError> {
    let source = StoredTables::open(path)?;
    let (all, n_fields) = (source.fields(), dataset.fields().len());
    let embeddings = match all.get(n_fields) {
        Some(next) if next.name == first_order_name(&all[0].name) => &all[..n_fields],
        _ => all,
    };
    check_tables(path, embeddings, dataset, dim, str::to_owned)?;
    Ok(source)
}

/// Compares tables with the fields of the data.
fn check_tables(
    path: &Path,
    tables: &[SourceField],
    dataset: &Dataset,
    dim: usize,
    name: impl Fn(&str) -> String,
) -> Result<(), TrainError> {
    let describe = |name: &str, n_rows: usize, dim: usize| format!("{name}:{n_rows}x{dim}");
    let found = tables.iter();
    let found: Vec<_> = found
        .map(|field| describe(&field.name, field.n_rows, field.dim))
        .collect();
    let expected = dataset.fields().iter();
    let expected: Vec<_> = expected
        .map(|field| describe(&name(&field.name), field.n_rows as usize, dim))
        .collect();
    if found != expected {
        return Err(TrainError::DataShape {
            what: "tables (name:rows x dim)",
            expected: expected.join(" "),
            found: format!("{} in {}", found.join(" "), path.display()),
        });
    }
    Ok(())
}

/// The tables of a data set, as the encoder takes them.
pub fn source_fields(dataset: &Dataset, dim: usize) -> Vec<SourceField> {
    let fields = dataset.fields().iter().map(|field| {
        let (name, n_rows) = (field.name.clone(), field.n_rows as usize);
        SourceField::own(name, n_rows, dim, slimbed_compact::Pooling::Sum)
    });
    fields.collect()
}

/// The rows of a layer as scoring sees them.
pub struct LayerRows<'a> {
    pub fields: &'a [SourceField],
    pub layer: &'a dyn EmbeddingLayer,
}

impl TableSource for LayerRows<'_> {
    fn fields(&self) -> &[SourceField] {
        self.fields
    }

    fn part(&self, f: usize, _i: usize) -> Result<Vec<f32>, ArtefactError> {
        let mut rows = vec![0.0; self.layer.n_rows(f) * self.layer.dim()];
        self.layer.write_rows(f, 0, &mut rows);
        Ok(rows)
    }
}
