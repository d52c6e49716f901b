//! Tables in a safetensors file that somebody else wrote.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};

use crate::container::read_header;
use crate::memory::Memory;
use crate::source::check_finite;
use crate::{ArtefactError, Pooling, SourceField, TableSource};

/// A safetensors file, of which tensors are taken by name.
#[derive(Debug)]
pub struct ForeignFile {
    path: PathBuf,
    memory: Memory,
    /// Where the tensors' bytes begin in the file.
    data_start: usize,
    header: Metadata,
}

/// A table in a [`ForeignFile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignField {
    /// Name that the field gets.
    pub name: String,
    /// Name of its tensor, `[n_rows, dim]`.
    pub tensor: String,
    /// How bags are pooled.
    pub pooling: Pooling,
}

/// The tables of a [`ForeignFile`] that were named.
#[derive(Debug)]
pub struct ForeignTables<'a> {
    file: &'a ForeignFile,
    tensors: Vec<String>,
    fields: Vec<SourceField>,
}

/// The types that become f32.
const FLOATS: &str = "type F32, F16 or BF16";

impl ForeignFile {
    /// Maps the file at `path` and checks its header.
    ///
    /// # Errors
    /// When it cannot be read or is no safetensors file.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let memory = Memory::map(path)?;
        let header = read_header(&memory);
        let (data_start, header) = header.map_err(|source| ArtefactError::Container {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            memory,
            data_start,
            header,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the whole file.
    pub fn n_bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// When there is none of that name; says so if the file is one of several shards.
    pub fn shape(&self, tensor: &str) -> Result<&[usize], ArtefactError> {
        Ok(self.tensor(tensor)?.1)
    }

    /// The values of a tensor as f32.
    ///
    /// # Errors
    /// When there is none of that name, or it has another type than F32, F16 and BF16.
    pub fn floats(&self, tensor: &str) -> Result<Vec<f32>, ArtefactError> {
        let (dtype, _, bytes) = self.tensor(tensor)?;
        let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        match dtype {
            Dtype::F32 => {
                let words = bytes.chunks_exact(4);
                Ok(words
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect())
            }
            Dtype::F16 => Ok(pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
            Dtype::BF16 => Ok(pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
            _ => Err(self.error(tensor, FLOATS, &format!("{dtype:?}"))),
        }
    }

    /// The bytes of a mask `[n_rows, dim]`: a value is kept where they are not 0.
    ///
    /// # Errors
    /// When there is none of that name, or it has another type than U8 and BOOL, or another shape.
    pub fn mask(&self, tensor: &str, n_rows: usize, dim: usize) -> Result<&[u8], ArtefactError> {
        let (dtype, shape, bytes) = self.tensor(tensor)?;
        if !matches!(dtype, Dtype::U8 | Dtype::BOOL) {
            return Err(self.error(tensor, "type U8 or BOOL", &format!("{dtype:?}")));
        }
        if shape != [n_rows, dim] {
            let expected = format!("shape [{n_rows}, {dim}], that of the table");
            return Err(self.error(tensor, &expected, &format!("{shape:?}")));
        }
        Ok(bytes)
    }

    /// The tables called `named`, in that order.
    ///
    /// # Errors
    /// When a tensor is missing, is no matrix of floats, or two fields have one name.
    pub fn tables(&self, named: &[ForeignField]) -> Result<ForeignTables<'_>, ArtefactError> {
        let mut fields: Vec<SourceField> = Vec::new();
        for field in named {
            let (dtype, shape, _) = self.tensor(&field.tensor)?;
            if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                return Err(self.error(&field.tensor, FLOATS, &format!("{dtype:?}")));
            }
            let &[n_rows, dim] = shape else {
                return Err(self.error(
                    &field.tensor,
                    "a table [rows, dim]",
                    &format!("shape {shape:?}"),
                ));
            };
            if fields.iter().any(|other| other.name == field.name) {
                let found = format!("two called `{}`", field.name);
                return Err(self.error(&field.tensor, "fields of different names", &found));
            }
            fields.push(SourceField::own(
                field.name.clone(),
                n_rows,
                dim,
                field.pooling,
            ));
        }
        Ok(ForeignTables {
            file: self,
            tensors: named.iter().map(|field| field.tensor.clone()).collect(),
            fields,
        })
    }

    fn tensor(&self, name: &str) -> Result<(Dtype, &[usize], &[u8]), ArtefactError> {
        let Some(info) = self.header.info(name) else {
            let found = match shard(&self.path) {
                Some(shard) => format!("none: the file is {shard}, join the shards first"),
                None => format!("none; the file has {}", list(&self.names())),
            };
            return Err(self.error(name, "a tensor of that name", &found));
        };
        let (start, end) = info.data_offsets;
        let data = self.memory.get(self.data_start..).unwrap_or(&[]);
        let bytes = data.get(start..end);
        let bytes =
            bytes.ok_or_else(|| self.error(name, "bytes within the file", "an end beyond it"))?;
        Ok((info.dtype, &info.shape, bytes))
    }

    fn error(&self, tensor: &str, expected: &str, found: &str) -> ArtefactError {
        ArtefactError::Tensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

impl TableSource for ForeignTables<'_> {
    fn fields(&self) -> &[SourceField] {
        &self.fields
    }

    fn part(&self, f: usize, _i: usize) -> Result<Vec<f32>, ArtefactError> {
        let tensor = &self.tensors[f];
        let rows = self.file.floats(tensor)?;
        self.file.memory.release(self.file.tensor(tensor)?.2);
        check_finite(&self.file.path, tensor, &rows, self.fields[f].dim)?;
        Ok(rows)
    }
}

/// What the name of a file says of shards: `model-00001-of-00003.safetensors` is `shard 00001 of 00003`.
fn shard(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let (front, n) = stem.rsplit_once("-of-")?;
    let (_, i) = front.rsplit_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(i) && is_number(n)).then(|| format!("shard {i} of {n}"))
}

/// The first names, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_known_by_their_names() {
        let shard = |name: &str| shard(Path::new(name));
        let first = Some("shard 00001 of 00003".to_owned());
        assert_eq!(shard("a/model-00001-of-00003.safetensors"), first);
        for whole in ["model.safetensors", "best-of-5.safetensors", "a-b-of-c"] {
            assert_eq!(shard(whole), None, "{whole}");
        }
    }
}
