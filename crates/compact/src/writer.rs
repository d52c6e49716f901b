//! Writing an artefact.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use slimbed_files::write_atomically;

use crate::container::write_tensors;
use crate::manifest::{FORMAT_VERSION, KEY, checksum};
use crate::{ArtefactError, Encoding, FieldEntry, Manifest, Pooling, Values};

/// A table to be stored.
#[derive(Clone, Copy, Debug)]
pub struct FieldTable<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// `[n_rows, dim]`, row by row.
    pub rows: &'a [f32],
    /// Values of a row.
    pub dim: usize,
    /// How bags are pooled.
    pub pooling: Pooling,
}

/// A dense weight to be stored as the tensor `dense.<name>`.
#[derive(Clone, Copy, Debug)]
pub struct DenseTensor<'a> {
    /// Name of the parameter.
    pub name: &'a str,
    /// Sizes of the dimensions.
    pub shape: &'a [usize],
    /// Row-major values.
    pub values: &'a [f32],
}

/// Writes an artefact beside `path`, syncs it and renames it to `path`; the same input gives the same
/// bytes.
///
/// # Errors
/// When sizes do not fit, a name is used twice, or the file system refuses; nothing is left behind.
pub fn write(
    path: &Path,
    fields: &[FieldTable<'_>],
    dense: &[DenseTensor<'_>],
    model: serde_json::Value,
    training: serde_json::Value,
) -> Result<Manifest, ArtefactError> {
    let entries: Vec<_> = fields.iter().map(entry).collect();
    let mut views = BTreeMap::new();
    for (field, entry) in fields.iter().zip(&entries) {
        let shape = [entry.n_rows as usize, field.dim];
        insert(path, &mut views, entry.tensor(), &shape, field.rows)?;
    }
    for tensor in dense {
        insert(
            path,
            &mut views,
            format!("dense.{}", tensor.name),
            tensor.shape,
            tensor.values,
        )?;
    }
    let checksums = views
        .iter()
        .map(|(name, view)| (name.clone(), checksum(view.data())));
    let checksums = checksums.collect();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        fields: entries,
        model,
        training,
        checksums,
    };
    write_atomically(path, |file, _| {
        let written = write_tensors(file, &views, (KEY, manifest.to_json()));
        written.map_err(|source| ArtefactError::Container {
            path: path.to_owned(),
            source,
        })
    })?;
    Ok(manifest)
}

fn entry(field: &FieldTable<'_>) -> FieldEntry {
    FieldEntry {
        name: field.name.to_owned(),
        n_rows: field.rows.len().checked_div(field.dim).unwrap_or(0) as u64,
        dim: field.dim as u32,
        pooling: field.pooling,
        encoding: Encoding::Dense,
        values: Values::F32,
    }
}

fn insert<'a>(
    path: &Path,
    views: &mut BTreeMap<String, TensorView<'a>>,
    name: String,
    shape: &[usize],
    values: &'a [f32],
) -> Result<(), ArtefactError> {
    let bytes = bytemuck::cast_slice(values);
    let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(|_| {
        let (expected, found) = (
            format!("shape {shape:?}"),
            format!("{} values", values.len()),
        );
        ArtefactError::Tensor {
            path: path.to_owned(),
            tensor: name.clone(),
            expected,
            found,
        }
    })?;
    if views.insert(name.clone(), view).is_some() {
        let (expected, found) = ("one tensor of that name".into(), "two".into());
        return Err(ArtefactError::Tensor {
            path: path.to_owned(),
            tensor: name,
            expected,
            found,
        });
    }
    Ok(())
}
