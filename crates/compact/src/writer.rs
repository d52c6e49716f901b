//! Writing an artefact.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use slimbed_files::write_atomically;

use crate::container::{tensors_bytes, write_tensors};
use crate::encode::{Choice, Encoded, Encoder, Encoding, TableStats, encode};
use crate::manifest::{KEY, checksum};
use crate::structure::Buffer;
use crate::{ArtefactError, FieldEntry, Manifest, PartEntry, Pooling, Rows, Sharing, TableSource};

/// Rows to be stored, and how.
#[derive(Clone, Copy, Debug)]
pub struct PartTable<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// How they are stored.
    pub encoding: Encoding,
}

/// A matrix that pooled vectors are multiplied with: narrow tables become as wide as the model wants
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a> {
    /// `[width of the stored rows, dim]`.
    pub matrix: &'a [f32],
    /// Values of a projected vector.
    pub dim: usize,
}

/// A table to be stored.
#[derive(Clone, Debug)]
pub struct FieldTable<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// Ids of the field.
    pub n_rows: u64,
    /// How bags are pooled.
    pub pooling: Pooling,
    /// How ids become rows.
    pub sharing: Sharing,
    /// One part, or two for quotient and remainder.
    pub parts: Vec<PartTable<'a>>,
    /// What follows.
    pub projection: Option<Projection<'a>>,
}

impl<'a> FieldTable<'a> {
    /// A table with a row for every id.
    pub fn new(name: &'a str, rows: Rows<'a>, encoding: Encoding, pooling: Pooling) -> Self {
        Self {
            name,
            n_rows: rows.n_rows() as u64,
            pooling,
            sharing: Sharing::None,
            parts: vec![PartTable { rows, encoding }],
            projection: None,
        }
    }
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
/// When sizes do not fit, a table cannot be stored as asked, a name is used twice, or the file system
/// refuses; nothing is left behind.
pub fn write(
    path: &Path,
    fields: &[FieldTable<'_>],
    dense: &[DenseTensor<'_>],
    model: serde_json::Value,
    training: serde_json::Value,
) -> Result<Manifest, ArtefactError> {
    let stored: Vec<_> = fields
        .iter()
        .map(|field| store(path, field))
        .collect::<Result<_, _>>()?;
    write_stored(path, &stored, dense, model, training)
}

/// Stores the tables of `source` one after the other, each as its encoder chooses, and writes an artefact as
/// [`write()`] does. No more than one exact table is in memory at a time, besides what is going to be written.
///
/// # Errors
/// As [`write()`], and those of the source.
pub fn pack(
    path: &Path,
    source: &dyn TableSource,
    encoders: &[Encoder],
    dense: &[DenseTensor<'_>],
    model: serde_json::Value,
    training: serde_json::Value,
) -> Result<Packed, ArtefactError> {
    let (stored, choices) = store_all(path, source, encoders)?;
    let manifest = write_stored(path, &stored, dense, model, training)?;
    Ok(Packed { manifest, choices })
}

/// Bytes of the file that [`pack`] would write to `path`.
///
/// # Errors
/// As [`pack`], but for the file system's.
pub fn packed_bytes(
    path: &Path,
    source: &dyn TableSource,
    encoders: &[Encoder],
    dense: &[DenseTensor<'_>],
    model: serde_json::Value,
    training: serde_json::Value,
) -> Result<u64, ArtefactError> {
    let (stored, _) = store_all(path, source, encoders)?;
    let (views, manifest) = views_of(path, &stored, dense, model, training)?;
    views.n_bytes(&manifest)
}

/// The tables of a source in their stored form, and what was weighed for each part.
fn store_all(
    path: &Path,
    source: &dyn TableSource,
    encoders: &[Encoder],
) -> Result<(Vec<Stored<'static>>, Vec<Vec<Choice>>), ArtefactError> {
    let fields = source.fields().iter().zip(encoders).enumerate();
    let stored = fields.map(|(f, (field, encoder))| {
        let values = (0..field.parts.len()).map(|i| source.part(f, i));
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        let parts = values.iter().zip(&field.parts);
        let rows = parts.map(|(values, shape)| Rows::new(values, shape.dim));
        let rows = rows.collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|source| ArtefactError::Encode {
            path: path.to_owned(),
            field: field.name.clone(),
            source,
        })?;
        let choices = rows
            .iter()
            .map(|&rows| encoder.choose(&TableStats::of(rows)));
        let choices: Vec<_> = choices.collect();
        let parts = rows.iter().zip(&choices).map(|(&rows, choice)| PartTable {
            rows,
            encoding: choice.taken.encoding,
        });
        let matrix = source.projection(f)?;
        let table = FieldTable {
            name: &field.name,
            n_rows: field.n_rows as u64,
            pooling: field.pooling,
            sharing: field.sharing,
            parts: parts.collect(),
            projection: matrix.as_deref().map(|matrix| Projection {
                matrix,
                dim: field.dim,
            }),
        };
        Ok((store(path, &table)?.into_owned(), choices))
    });
    let stored: Vec<_> = stored.collect::<Result<_, ArtefactError>>()?;
    Ok(stored.into_iter().unzip())
}

/// What [`pack`] has done.
#[derive(Clone, Debug)]
pub struct Packed {
    /// What the artefact says of itself.
    pub manifest: Manifest,
    /// What was weighed for each table, part by part.
    pub choices: Vec<Vec<Choice>>,
}

/// A table in its stored form.
struct Stored<'a> {
    entry: FieldEntry,
    parts: Vec<Encoded<'a>>,
    /// `[width, dim]`.
    projection: Option<Cow<'a, [f32]>>,
}

impl Stored<'_> {
    /// The same with memory of its own.
    fn into_owned(self) -> Stored<'static> {
        let owned = |encoded: Encoded<'_>| Encoded {
            buffers: encoded
                .buffers
                .into_iter()
                .map(Buffer::into_owned)
                .collect(),
            unit_log2: encoded.unit_log2,
            n_present: encoded.n_present,
        };
        Stored {
            entry: self.entry,
            parts: self.parts.into_iter().map(owned).collect(),
            projection: self.projection.map(|p| Cow::Owned(p.into_owned())),
        }
    }
}

fn write_stored(
    path: &Path,
    stored: &[Stored<'_>],
    dense: &[DenseTensor<'_>],
    model: serde_json::Value,
    training: serde_json::Value,
) -> Result<Manifest, ArtefactError> {
    let (views, manifest) = views_of(path, stored, dense, model, training)?;
    views.write(&manifest)?;
    Ok(manifest)
}

/// The tensors of a file, and what it says of itself.
fn views_of<'v>(
    path: &'v Path,
    stored: &'v [Stored<'_>],
    dense: &[DenseTensor<'v>],
    model: serde_json::Value,
    training: serde_json::Value,
) -> Result<(Views<'v>, Manifest), ArtefactError> {
    let mut views = Views::new(path);
    for field in stored {
        let entry = &field.entry;
        for (i, part) in field.parts.iter().enumerate() {
            for buffer in &part.buffers {
                views.insert_buffer(entry.tensor(i), buffer)?;
            }
        }
        if let Some(matrix) = &field.projection {
            let shape = [entry.width() as usize, entry.dim as usize];
            views.insert_floats(entry.projection(), &shape, matrix)?;
        }
    }
    for tensor in dense {
        let name = format!("dense.{}", tensor.name);
        views.insert_floats(name, tensor.shape, tensor.values)?;
    }
    let fields: Vec<_> = stored.iter().map(|field| field.entry.clone()).collect();
    let manifest = Manifest {
        format_version: Manifest::version_of(&fields),
        checksums: views.checksums(),
        fields,
        model,
        training,
    };
    Ok((views, manifest))
}

fn store<'a>(path: &Path, field: &FieldTable<'a>) -> Result<Stored<'a>, ArtefactError> {
    let parts = field.parts.iter();
    let encoded: Vec<_> = parts
        .map(|part| encode(part.rows, part.encoding))
        .collect::<Result<_, _>>()
        .map_err(|source| ArtefactError::Encode {
            path: path.to_owned(),
            field: field.name.to_owned(),
            source,
        })?;
    let entry = entry(field, &encoded);
    entry
        .check()
        .map_err(|(expected, found)| ArtefactError::Tensor {
            path: path.to_owned(),
            tensor: entry.tensor(0),
            expected,
            found,
        })?;
    Ok(Stored {
        entry,
        parts: encoded,
        projection: field.projection.map(|p| Cow::Borrowed(p.matrix)),
    })
}

fn entry(field: &FieldTable<'_>, encoded: &[Encoded<'_>]) -> FieldEntry {
    let parts = field.parts.iter().zip(encoded);
    let parts: Vec<_> = parts
        .map(|(part, encoded)| part_entry(part, encoded))
        .collect();
    let mut entry = FieldEntry {
        name: field.name.to_owned(),
        n_rows: field.n_rows,
        dim: 0,
        pooling: field.pooling,
        sharing: field.sharing,
        parts,
        projected: field.projection.is_some(),
    };
    let dim = field.projection.map_or(entry.width(), |p| p.dim as u64);
    entry.dim = u32::try_from(dim).unwrap_or(u32::MAX);
    entry
}

fn part_entry(part: &PartTable<'_>, encoded: &Encoded<'_>) -> PartEntry {
    let stats = TableStats::of(part.rows);
    let n_rows = part.rows.n_rows() as u64;
    PartEntry {
        n_rows,
        dim: part.rows.dim() as u32,
        n_head: part.encoding.n_head.into(),
        rows: part.encoding.rows,
        n_stored: encoded.n_present.unwrap_or(n_rows),
        structure: part.encoding.structure,
        values: part.encoding.values,
        unit_log2: encoded.unit_log2,
        n_kept: stats.n_kept() as u64,
        n_empty: stats.n_empty() as u64,
    }
}

/// The tensors of the file, by name.
struct Views<'v> {
    path: &'v Path,
    tensors: BTreeMap<String, TensorView<'v>>,
}

impl<'v> Views<'v> {
    fn new(path: &'v Path) -> Self {
        let tensors = BTreeMap::new();
        Self { path, tensors }
    }

    fn insert_buffer(&mut self, part: String, buffer: &'v Buffer<'_>) -> Result<(), ArtefactError> {
        let name = part + buffer.suffix;
        self.insert(name, buffer.dtype(), &buffer.shape, buffer.bytes())
    }

    fn insert_floats(
        &mut self,
        name: String,
        shape: &[usize],
        values: &'v [f32],
    ) -> Result<(), ArtefactError> {
        self.insert(name, Dtype::F32, shape, bytemuck::cast_slice(values))
    }

    fn insert(
        &mut self,
        name: String,
        dtype: Dtype,
        shape: &[usize],
        bytes: &'v [u8],
    ) -> Result<(), ArtefactError> {
        let error = |expected: String, found: String| ArtefactError::Tensor {
            path: self.path.to_owned(),
            tensor: name.clone(),
            expected,
            found,
        };
        let view = TensorView::new(dtype, shape.to_vec(), bytes)
            .map_err(|_| error(format!("shape {shape:?}"), format!("{} bytes", bytes.len())))?;
        if self.tensors.contains_key(&name) {
            return Err(error("one tensor of that name".into(), "two".into()));
        }
        self.tensors.insert(name, view);
        Ok(())
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        let sums = self.tensors.iter();
        sums.map(|(name, view)| (name.clone(), checksum(view.data())))
            .collect()
    }

    fn write(&self, manifest: &Manifest) -> Result<(), ArtefactError> {
        write_atomically(self.path, |file, _| {
            let written = write_tensors(file, &self.tensors, (KEY, manifest.to_json()));
            written.map_err(|source| self.container(source))
        })
    }

    /// Bytes of the file that would be written.
    fn n_bytes(&self, manifest: &Manifest) -> Result<u64, ArtefactError> {
        let bytes = tensors_bytes(&self.tensors, (KEY, manifest.to_json()));
        bytes.map_err(|source| self.container(source))
    }

    fn container(&self, source: safetensors::SafeTensorError) -> ArtefactError {
        ArtefactError::Container {
            path: self.path.to_owned(),
            source,
        }
    }
}
