//! The JSON that describes an artefact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::encode::{Bound, Encoding, RowsStored};
use crate::rows::MAX_DIM;
use crate::{Combine, Pooling, Sharing, Structure, Values};

/// The metadata key that holds the manifest.
pub const KEY: &str = "slimbed";

/// The newest format version this crate writes; every version up to it is read. A file says the first version
/// that knows all it holds.
pub const FORMAT_VERSION: u32 = 2;

/// Rows that are stored: a field has one part, or two whose rows are combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// Rows of the part, empty ones included.
    pub n_rows: u64,
    /// Values of a row.
    pub dim: u32,
    /// Leading rows that are stored dense.
    pub n_head: u64,
    /// Which rows are stored.
    pub rows: RowsStored,
    /// How many are, those of the head included.
    pub n_stored: u64,
    /// Where the values of a row stand.
    pub structure: Structure,
    /// Their type.
    pub values: Values,
    /// Exponent of the power of two that values other than f32 are multiplied with.
    pub unit_log2: i32,
    /// Values that are kept; the others are 0.
    pub n_kept: u64,
    /// Rows without any.
    pub n_empty: u64,
}

impl PartEntry {
    /// How the rows are stored.
    pub fn encoding(&self) -> Encoding {
        Encoding {
            rows: self.rows,
            structure: self.structure,
            values: self.values,
            n_head: self.n_head as u32,
        }
    }

    /// The information in it: see [`Bound`].
    pub fn bound(&self) -> Bound {
        let n_values = self.n_rows.saturating_mul(self.dim.into());
        Bound::of(n_values, self.n_kept, self.values)
    }
}

/// One field's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldEntry {
    /// Name of the field; the names of its tensors begin with `table.<name>`.
    pub name: String,
    /// Ids of the field.
    pub n_rows: u64,
    /// Values of a pooled vector.
    pub dim: u32,
    /// How bags are pooled.
    pub pooling: Pooling,
    /// How ids become rows.
    pub sharing: Sharing,
    /// What is stored.
    pub parts: Vec<PartEntry>,
    /// Whether pooled vectors are multiplied with the matrix `table.<name>.projection`.
    pub projected: bool,
}

impl FieldEntry {
    /// Beginning of the names of the tensors of part `i`.
    pub(crate) fn tensor(&self, i: usize) -> String {
        match i {
            0 => format!("table.{}", self.name),
            _ => format!("table.{}.remainder", self.name),
        }
    }

    /// Name of the projection's tensor.
    pub(crate) fn projection(&self) -> String {
        format!("table.{}.projection", self.name)
    }

    /// Values of a vector before the projection.
    pub(crate) fn width(&self) -> u64 {
        let dims = self.parts.iter().map(|part| u64::from(part.dim));
        match self.sharing {
            Sharing::QuotientRemainder {
                combine: Combine::Concat,
                ..
            } => dims.sum(),
            _ => dims.max().unwrap_or(0),
        }
    }

    /// Bytes of the table as dense 32-bit floats with a row for every id.
    pub fn dense_bytes(&self) -> u64 {
        let values = self.n_rows.saturating_mul(self.dim.into());
        values.saturating_mul(4)
    }

    /// Checks that the numbers suit each other.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let n_parts = match self.sharing {
            Sharing::None | Sharing::Hash { .. } | Sharing::Cutoff => 1,
            Sharing::QuotientRemainder { .. } => 2,
        };
        if self.parts.len() != n_parts {
            return mismatch(format!("{n_parts} parts"), self.parts.len());
        }
        self.parts.iter().try_for_each(PartEntry::check)?;
        if !self.projected && self.width() != u64::from(self.dim) {
            return mismatch(format!("parts of dim {}", self.dim), self.width());
        }
        if self.dim == 0 || self.dim as usize > MAX_DIM {
            return mismatch(format!("a dim of 1 to {MAX_DIM}"), self.dim);
        }
        self.check_rows()
    }

    fn check_rows(&self) -> Result<(), (String, String)> {
        let rows: Vec<u64> = self.parts.iter().map(|part| part.n_rows).collect();
        let found = format!("{rows:?}");
        if self.n_rows >= u32::MAX.into() {
            return mismatch("fewer than 2^32 - 1 rows".into(), self.n_rows);
        }
        match self.sharing {
            Sharing::None if rows[0] != self.n_rows => {
                mismatch(format!("{} rows", self.n_rows), found)
            }
            Sharing::Hash { .. } if rows[0] == 0 => mismatch("rows to share".into(), found),
            Sharing::Cutoff if !(1..=self.n_rows).contains(&rows[0]) => {
                mismatch(format!("1 to {} rows", self.n_rows), found)
            }
            Sharing::QuotientRemainder { divisor: 0, .. } => {
                mismatch("a divisor of 1 or more".into(), 0)
            }
            Sharing::QuotientRemainder { divisor, combine } => {
                let divisor = u64::from(divisor);
                let expected = [self.n_rows.div_ceil(divisor), divisor];
                let dims_fit = self.parts[0].dim == self.parts[1].dim;
                if rows != expected || combine != Combine::Concat && !dims_fit {
                    return mismatch(format!("parts of {expected:?} rows and one dim"), found);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl PartEntry {
    fn check(&self) -> Result<(), (String, String)> {
        let stored = match self.rows {
            RowsStored::All => self.n_stored == self.n_rows,
            RowsStored::Present => (1..=self.n_rows).contains(&self.n_stored),
        };
        if !stored {
            return mismatch(
                format!("at most {} stored rows", self.n_rows),
                self.n_stored,
            );
        }
        if self.n_head > self.n_stored || self.n_head > 0 && !self.structure.has_head() {
            return mismatch(
                "a head of stored rows, and none of a dense table".into(),
                self.n_head,
            );
        }
        if self.n_rows >= u32::MAX.into() {
            return mismatch("fewer than 2^32 - 1 rows".into(), self.n_rows);
        }
        if self.dim == 0 || self.dim as usize > MAX_DIM {
            return mismatch(format!("a dim of 1 to {MAX_DIM}"), self.dim);
        }
        if !(f32::MIN_EXP - 1..f32::MAX_EXP).contains(&self.unit_log2) {
            return mismatch("a unit within f32".into(), self.unit_log2);
        }
        Ok(())
    }
}

fn mismatch(expected: String, found: impl ToString) -> Result<(), (String, String)> {
    Err((expected, found.to_string()))
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
    /// The first version of the format that has all these fields' sharing.
    pub(crate) fn version_of(fields: &[FieldEntry]) -> u32 {
        let is_new = |field: &FieldEntry| field.sharing == Sharing::Cutoff;
        if fields.iter().any(is_new) { 2 } else { 1 }
    }

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
