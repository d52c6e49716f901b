//! The JSON that describes an artefact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The metadata key that holds the manifest.
pub const KEY: &str = "slimbed";

/// The newest format version this crate writes; every version up to it is read.
pub const FORMAT_VERSION: u32 = 1;

/// How the rows of a bag become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

/// The structure of a stored table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Every value of every row.
    Dense,
}

/// The type of the stored values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// 32-bit floats.
    F32,
}

/// One field's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldEntry {
    /// Name of the field; its table is the tensor `table.<name>`.
    pub name: String,
    /// Rows of the table.
    pub n_rows: u64,
    /// Values of a row as the model sees it.
    pub dim: u32,
    /// How bags are pooled.
    pub pooling: Pooling,
    /// Structure.
    pub encoding: Encoding,
    /// Value type.
    pub values: Values,
}

impl FieldEntry {
    /// Name of the tensor that holds the table.
    pub fn tensor(&self) -> String {
        format!("table.{}", self.name)
    }

    /// Bytes of the table as dense 32-bit floats.
    pub fn dense_bytes(&self) -> u64 {
        self.n_rows * u64::from(self.dim) * 4
    }
}

/// Everything an artefact says of itself, beside the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this description.
    pub format_version: u32,
    /// The tables, in the order in which the model takes them.
    pub fields: Vec<FieldEntry>,
    /// The model's kind and sizes, as its crate describes them.
    pub model: serde_json::Value,
    /// How the artefact came to be: seed, settings, data.
    pub training: serde_json::Value,
    /// xxh3-64 of every tensor's bytes, in hexadecimal.
    pub checksums: BTreeMap<String, String>,
}

impl Manifest {
    /// Sorted JSON on one line: the same bytes for the same content.
    pub fn to_json(&self) -> String {
        // Going through `Value` sorts the keys: serde_json's map is a BTreeMap.
        serde_json::to_value(self).map_or_else(|_| String::new(), |value| value.to_string())
    }
}

/// The checksum written into a manifest.
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}
