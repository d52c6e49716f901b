//! Opening an artefact.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use slimbed_files::IoContext;

use crate::manifest::{FORMAT_VERSION, KEY, checksum};
use crate::{ArtefactError, FieldEntry, Manifest};

/// An opened, memory-mapped artefact whose header has been checked.
#[derive(Debug)]
pub struct Artefact {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin in the file.
    data_start: usize,
    header: Metadata,
    manifest: Manifest,
}

/// Name and size of one tensor in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the tensor.
    pub name: String,
    /// Its bytes.
    pub n_bytes: u64,
}

impl Artefact {
    /// Opens `path` and checks its header, its manifest and every tensor's type and size; the values are
    /// not read (see [`verify`](Self::verify)).
    ///
    /// # Errors
    /// Names the file and what was expected of it.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let file = File::open(path).at("open", path)?;
        // SAFETY: the map is only read, and artefacts are replaced by renaming a new file over them,
        // never changed in place; a file that another program shortens meanwhile is beyond our reach.
        let map = unsafe { Mmap::map(&file) }.at("map", path)?;
        let container = |source| ArtefactError::Container {
            path: path.to_owned(),
            source,
        };
        let (header_bytes, header) = SafeTensors::read_metadata(&map).map_err(container)?;
        let manifest = read_manifest(path, &header)?;
        let data_start = header_bytes + 8;
        let artefact = Self {
            path: path.to_owned(),
            map,
            data_start,
            header,
            manifest,
        };
        artefact.check()?;
        Ok(artefact)
    }

    /// What the artefact says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the whole file.
    pub fn n_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Every tensor's name and bytes, in the order of the file.
    pub fn parts(&self) -> Vec<Part> {
        let names = self.header.offset_keys();
        names
            .into_iter()
            .map(|name| Part {
                n_bytes: self.bytes(&name).map_or(0, |b| b.len() as u64),
                name,
            })
            .collect()
    }

    /// The rows of field number `f`, `[n_rows, dim]`.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn rows(&self, f: usize) -> Result<&[f32], ArtefactError> {
        match self.manifest.fields.get(f) {
            Some(field) => self.values(&field.tensor()),
            None => Err(self.tensor_error(&format!("field {f}"), "a field", "none")),
        }
    }

    /// Shape and values of the dense weight called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn dense(&self, name: &str) -> Result<(&[usize], &[f32]), ArtefactError> {
        let tensor = format!("dense.{name}");
        let values = self.values(&tensor)?;
        let shape = self
            .header
            .info(&tensor)
            .map_or(&[][..], |info| info.shape.as_slice());
        Ok((shape, values))
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

    fn check(&self) -> Result<(), ArtefactError> {
        for field in &self.manifest.fields {
            self.check_table(field)?;
        }
        // Every tensor has to be readable as 32-bit floats.
        self.header
            .offset_keys()
            .iter()
            .try_for_each(|name| self.values(name).map(|_| ()))
    }

    fn check_table(&self, field: &FieldEntry) -> Result<(), ArtefactError> {
        let tensor = field.tensor();
        let found = self.header.info(&tensor).map(|info| info.shape.clone());
        let expected = vec![field.n_rows as usize, field.dim as usize];
        if found.as_ref() != Some(&expected) {
            let found = found.map_or("no such tensor".into(), |shape| format!("shape {shape:?}"));
            return Err(self.tensor_error(&tensor, &format!("shape {expected:?}"), &found));
        }
        Ok(())
    }

    fn values(&self, tensor: &str) -> Result<&[f32], ArtefactError> {
        let bytes = self.bytes(tensor)?;
        bytemuck::try_cast_slice(bytes)
            .map_err(|reason| self.tensor_error(tensor, "aligned f32", &reason.to_string()))
    }

    fn bytes(&self, tensor: &str) -> Result<&[u8], ArtefactError> {
        let Some(info) = self.header.info(tensor) else {
            return Err(self.tensor_error(tensor, "a tensor", "no such tensor"));
        };
        if info.dtype != Dtype::F32 {
            return Err(self.tensor_error(tensor, "type F32", &format!("{:?}", info.dtype)));
        }
        let (start, end) = info.data_offsets;
        let data = self.map.get(self.data_start..).unwrap_or(&[]);
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
    if version != Some(FORMAT_VERSION.into()) {
        let found = value["format_version"].to_string();
        return Err(error("format_version", FORMAT_VERSION.to_string(), found));
    }
    serde_json::from_value(value).map_err(|e| {
        error(
            KEY,
            format!("a manifest of version {FORMAT_VERSION}"),
            e.to_string(),
        )
    })
}
