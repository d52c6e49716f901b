//! Opening an artefact.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};

use crate::container::read_header;
use crate::error::FormError;
use crate::lookup::Isa;
use crate::manifest::{FORMAT_VERSION, KEY, checksum};
use crate::memory::Memory;
use crate::structure::{Core, Presence, Tensors};
use crate::table::Part;
use crate::{ArtefactError, FieldEntry, Manifest, PartEntry, RowsStored, Table};

/// An opened artefact whose header has been checked.
#[derive(Debug)]
pub struct Artefact {
    path: PathBuf,
    memory: Memory,
    /// Where the tensors' bytes begin in the file.
    data_start: usize,
    header: Metadata,
    manifest: Manifest,
}

/// Name and size of one tensor in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub n_bytes: u64,
}

impl Artefact {
    /// Maps `path` and checks its header, its manifest, every tensor's type and size, and the indices
    /// that lookups follow; the values are not read (see [`verify`](Self::verify)).
    ///
    /// # Errors
    /// Names the file and what was expected of it.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        Self::check(path, Memory::map(path)?)
    }

    /// The same with a copy in memory of our own, in huge pages where the system has them: lookups miss
    /// the translation cache less often, nothing is read from the disk later, and the file may change.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn load(path: &Path) -> Result<Self, ArtefactError> {
        Self::check(path, Memory::load(path)?)
    }

    fn check(path: &Path, memory: Memory) -> Result<Self, ArtefactError> {
        let container = |source| ArtefactError::Container {
            path: path.to_owned(),
            source,
        };
        let (data_start, header) = read_header(&memory).map_err(container)?;
        let manifest = read_manifest(path, &header)?;
        let artefact = Self {
            path: path.to_owned(),
            memory,
            data_start,
            header,
            manifest,
        };
        artefact.check_tensors()?;
        Ok(artefact)
    }

    /// What the artefact says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the whole file.
    pub fn n_bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Every tensor's name and bytes, in the order of the file.
    pub fn tensors(&self) -> Vec<StoredTensor> {
        let names = self.header.offset_keys();
        names
            .into_iter()
            .map(|name| StoredTensor {
                n_bytes: self.bytes(&name).map_or(0, |b| b.len() as u64),
                name,
            })
            .collect()
    }

    /// Bytes of the tensors of field number `f`; 0 if there is no such field.
    pub fn field_bytes(&self, f: usize) -> u64 {
        let Some(field) = self.manifest.fields.get(f) else {
            return 0;
        };
        let names = self.field_tensors(field);
        let bytes = names.iter().filter_map(|name| self.bytes(name).ok());
        bytes.map(|bytes| bytes.len() as u64).sum()
    }

    /// The table of field number `f`. Its indices are checked again, which takes milliseconds for millions of
    /// rows: keep it.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn table(&self, f: usize) -> Result<Table<'_>, ArtefactError> {
        let Some(field) = self.manifest.fields.get(f) else {
            return Err(self.tensor_error(&format!("field {f}"), "a field", "none"));
        };
        let parts = field.parts.iter().enumerate();
        let parts = parts
            .map(|(i, part)| self.part(&field.tensor(i), part))
            .collect::<Result<_, _>>()?;
        Ok(Table {
            n_rows: field.n_rows,
            dim: field.dim as usize,
            pooling: field.pooling,
            sharing: field.sharing,
            parts,
            projection: self.projection(field)?,
            isa: Isa::best(),
        })
    }

    /// The tables of all fields, in the order in which the model takes them.
    ///
    /// # Errors
    /// As [`table`](Self::table).
    pub fn tables(&self) -> Result<Vec<Table<'_>>, ArtefactError> {
        (0..self.manifest.fields.len())
            .map(|f| self.table(f))
            .collect()
    }

    /// Shape and values of the dense weight called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn dense(&self, name: &str) -> Result<(&[usize], &[f32]), ArtefactError> {
        self.floats(&format!("dense.{name}"))
    }

    /// Names of the dense weights.
    pub fn dense_names(&self) -> Vec<String> {
        let names = self.header.offset_keys();
        names
            .iter()
            .filter_map(|name| name.strip_prefix("dense."))
            .map(str::to_owned)
            .collect()
    }

    /// Reads every tensor and compares it with its checksum.
    ///
    /// # Errors
    /// Names the first tensor that differs.
    pub fn verify(&self) -> Result<(), ArtefactError> {
        for name in self.header.offset_keys() {
            let found = checksum(self.bytes(&name)?);
            let expected = self.manifest.checksums.get(&name);
            if expected != Some(&found) {
                let expected = expected.map_or("a checksum", String::as_str);
                return Err(self.tensor_error(&name, &format!("xxh3 {expected}"), &found));
            }
        }
        Ok(())
    }

    fn check_tensors(&self) -> Result<(), ArtefactError> {
        let (mut fields, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (f, field) in self.manifest.fields.iter().enumerate() {
            let mismatch = |(expected, found): (String, String)| {
                self.tensor_error(&field.tensor(0), &expected, &found)
            };
            field.check().map_err(mismatch)?;
            if !fields.insert(&field.name) {
                return Err(self.tensor_error(&field.tensor(0), "a field of its own", "two"));
            }
            self.table(f)?;
            names.extend(self.field_tensors(field));
        }
        for name in self.header.offset_keys() {
            if name.starts_with("dense.") {
                self.floats(&name)?;
            } else if !names.contains(&name) {
                return Err(self.tensor_error(&name, "a part of a table", "an unknown tensor"));
            }
        }
        Ok(())
    }

    /// Names of the tensors that a field may have.
    fn field_tensors(&self, field: &FieldEntry) -> Vec<String> {
        let starts = (0..field.parts.len()).map(|i| field.tensor(i));
        let parts = starts.flat_map(|start| {
            let names = crate::structure::SUFFIXES.map(|suffix| start.clone() + suffix);
            names.into_iter()
        });
        let projection = field.projected.then(|| field.projection());
        parts.chain(projection).collect()
    }

    fn part(&self, name: &str, part: &PartEntry) -> Result<Part<'_>, ArtefactError> {
        let find = |suffix: &str| {
            let name = format!("{name}{suffix}");
            let info = self.header.info(&name)?;
            Some((info.dtype, info.shape.as_slice(), self.bytes(&name).ok()?))
        };
        let tensors = Tensors { find: &find };
        let error = |error: FormError| {
            let tensor = format!("{name}{}", error.suffix);
            self.tensor_error(&tensor, &error.expected, &error.found)
        };
        let (n_head, n_rows) = (part.n_head as usize, part.n_rows as usize);
        let n_stored = part.n_stored as usize;
        let dim = part.dim as usize;
        let core = Core::open(
            part.structure,
            &tensors,
            (n_head, n_stored),
            (part.values, dim),
        );
        let presence = match part.rows {
            RowsStored::All => None,
            RowsStored::Present => {
                Some(Presence::open(&tensors, (n_head, n_rows), n_stored).map_err(error)?)
            }
        };
        Ok(Part {
            n_rows: part.n_rows as u32,
            dim,
            presence,
            core: core.map_err(error)?,
            values: part.values,
            unit: 2.0_f64.powi(part.unit_log2) as f32,
        })
    }

    fn projection(&self, field: &FieldEntry) -> Result<Option<&[f32]>, ArtefactError> {
        if !field.projected {
            return Ok(None);
        }
        let name = field.projection();
        let (shape, values) = self.floats(&name)?;
        let expected = [field.width() as usize, field.dim as usize];
        if shape != expected {
            let (expected, found) = (format!("shape {expected:?}"), format!("{shape:?}"));
            return Err(self.tensor_error(&name, &expected, &found));
        }
        Ok(Some(values))
    }

    fn floats(&self, tensor: &str) -> Result<(&[usize], &[f32]), ArtefactError> {
        let bytes = self.bytes(tensor)?;
        let info = self.header.info(tensor);
        let (dtype, shape) = info.map_or((Dtype::F32, &[][..]), |i| (i.dtype, i.shape.as_slice()));
        if dtype != Dtype::F32 {
            return Err(self.tensor_error(tensor, "type F32", &format!("{dtype:?}")));
        }
        let values = bytemuck::try_cast_slice(bytes)
            .map_err(|reason| self.tensor_error(tensor, "aligned f32", &reason.to_string()))?;
        Ok((shape, values))
    }

    fn bytes(&self, tensor: &str) -> Result<&[u8], ArtefactError> {
        let Some(info) = self.header.info(tensor) else {
            return Err(self.tensor_error(tensor, "a tensor", "no such tensor"));
        };
        let (start, end) = info.data_offsets;
        let data = self.memory.get(self.data_start..).unwrap_or(&[]);
        data.get(start..end)
            .ok_or_else(|| self.tensor_error(tensor, "bytes within the file", "an end beyond it"))
    }

    fn tensor_error(&self, tensor: &str, expected: &str, found: &str) -> ArtefactError {
        ArtefactError::Tensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

fn read_manifest(path: &Path, header: &Metadata) -> Result<Manifest, ArtefactError> {
    let error = |key: &str, expected: String, found: String| ArtefactError::Metadata {
        path: path.to_owned(),
        key: key.to_owned(),
        expected,
        found,
    };
    let text = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY));
    let text = text.ok_or_else(|| error(KEY, "an artefact's JSON".into(), "nothing".into()))?;
    // The version first: a newer manifest may have another form altogether.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| error(KEY, "JSON".into(), e.to_string()))?;
    let version = value["format_version"].as_u64();
    let version = version.filter(|version| (1..=FORMAT_VERSION.into()).contains(version));
    let Some(version) = version else {
        let found = value["format_version"].to_string();
        let expected = format!("1 to {FORMAT_VERSION}");
        return Err(error("format_version", expected, found));
    };
    serde_json::from_value(value).map_err(|e| {
        error(
            KEY,
            format!("a manifest of version {version}"),
            e.to_string(),
        )
    })
}
