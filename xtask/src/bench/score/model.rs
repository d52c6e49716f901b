//! The tables and weights that both sides score with.

use std::io::{BufWriter, Write};

use slimbed_compact::{DenseTensor, Encoding, FieldTable, Pooling, Rows};
use slimbed_files::{FileError, IoContext, write_atomically};
use slimbed_fused::NamedTensor;
use slimbed_rng::Seed;
use slimbed_score::ModelSpec;

use super::super::cases::model;
use super::super::sides::Sides;

/// Our file.
pub const ARTEFACT: &str = "model.safetensors";
/// Theirs.
pub const PARAMS: &str = "params.bin";

/// Writes the same model for both sides: weights as training starts with them, rows of training's size.
///
/// # Errors
/// When a file cannot be written.
pub fn write(sides: &Sides, n_rows: &[usize], seed: Seed) -> anyhow::Result<()> {
    let weights = weights(seed)?;
    let tables: Vec<Vec<f32>> = n_rows
        .iter()
        .enumerate()
        .map(|(f, &n)| table(seed, f, n))
        .collect();
    write_artefact(sides, &tables, &weights)?;
    write_atomically(&sides.path(PARAMS), |file, path| {
        let mut file = BufWriter::new(file);
        let dense = weights.iter().flat_map(|tensor| &tensor.values);
        for value in tables.iter().flatten().chain(dense) {
            file.write_all(&value.to_le_bytes()).at("write", path)?;
        }
        file.flush().at("write", path)
    })
    .map_err(|e: FileError| e.into())
}

fn weights(seed: Seed) -> anyhow::Result<Vec<NamedTensor>> {
    let network = model().network()?;
    let params = network.params().iter();
    let tensors = params.map(|param| NamedTensor {
        name: param.name.clone(),
        shape: param.shape.clone(),
        values: param.initial(seed),
    });
    Ok(tensors.collect())
}

/// Values between −1 and 1, so that every table matters to the logits.
fn table(seed: Seed, f: usize, n_rows: usize) -> Vec<f32> {
    let mut values = vec![0.0; n_rows * model().dim];
    let mut stream = seed.stream("bench/table", f as u64);
    stream.fill_uniform(&mut values, 1.0);
    values
}

fn write_artefact(
    sides: &Sides,
    tables: &[Vec<f32>],
    weights: &[NamedTensor],
) -> anyhow::Result<()> {
    let names: Vec<String> = (1..=tables.len()).map(|f| format!("C{f}")).collect();
    let fields = names.iter().zip(tables).map(|(name, table)| {
        let rows = Rows::new(table, model().dim)?;
        anyhow::Ok(FieldTable::new(
            name,
            rows,
            Encoding::EXACT_DENSE,
            Pooling::Sum,
        ))
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    let dense = weights.iter().map(|tensor| DenseTensor {
        name: &tensor.name,
        shape: &tensor.shape,
        values: &tensor.values,
    });
    let dense: Vec<_> = dense.collect();
    let spec = serde_json::to_value(ModelSpec::Dlrm(model()))?;
    let training = serde_json::Value::Null;
    slimbed_compact::write(&sides.path(ARTEFACT), &fields, &dense, spec, training)?;
    Ok(())
}
