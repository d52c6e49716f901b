//! Structures: where the kept values of a row stand.
//!
//! | structure | stores | index |
//! |---|---|---|
//! | `dense` | every value of every row | none |
//! | `dense-lines` | the same, but no row crosses a cache line | none |
//! | `prefix` | the first `t` values of each row | lengths in bit planes |
//! | `bitmap` | the kept values, a bit for every column before them | lengths in bit planes |
//! | `positions` | the kept values | columns, and Elias-Fano's unary row lengths |
//!
//! Each module writes its form, checks it when it is opened, and finds rows in it. `presence` stands in
//! front of any of them where most rows are empty.

mod buffer;
mod dense;
mod lines;
mod positions;
pub(crate) mod presence;
mod ragged;

use serde::{Deserialize, Serialize};

pub(crate) use buffer::{Buffer, Data, Tensors};
pub(crate) use dense::Dense;
pub(crate) use lines::Lines;
pub(crate) use positions::{Positions, Run};
pub(crate) use presence::Presence;
pub(crate) use ragged::{Bitmap, Prefix, Ragged};

use crate::encode::{Encoding, RowsStored, TableStats};
use crate::error::FormError;
use crate::rows::Rows;
use crate::{EncodeError, Values};

/// The structure of a stored table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// Every value of every row.
    Dense,
    /// Every value of every row, as many rows in a cache line as fit.
    DenseLines,
    /// The first values of each row, as many as it has.
    Prefix,
    /// Any values of each row, with a bit for every column.
    Bitmap,
    /// Any values of each row, with Elias-Fano's code of their places.
    Positions,
}

impl Structure {
    /// All of them, from the fastest to the slowest to read.
    pub const ALL: [Self; 5] = [
        Self::DenseLines,
        Self::Dense,
        Self::Prefix,
        Self::Bitmap,
        Self::Positions,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::DenseLines => "dense-lines",
            Self::Prefix => "prefix",
            Self::Bitmap => "bitmap",
            Self::Positions => "positions",
        }
    }

    /// Stores `rows`, whose values become `values` in units of `2^unit_log2`.
    pub(crate) fn encode<'a>(
        self,
        rows: Rows<'a>,
        values: Values,
        unit_log2: i32,
    ) -> Result<Vec<Buffer<'a>>, EncodeError> {
        let form = Form {
            values,
            unit_log2,
            dim: rows.dim(),
        };
        match self {
            Self::Dense => Ok(dense::encode(rows, form)),
            Self::DenseLines => lines::encode(rows, form),
            Self::Prefix => ragged::encode::<Prefix>(rows, form),
            Self::Bitmap => ragged::encode::<Bitmap>(rows, form),
            Self::Positions => positions::encode(rows, form),
        }
    }
}

/// Bytes of a table stored as `encoding` says; `None` if it cannot be.
///
/// Exact but for the padding of `prefix` and `bitmap`, whose mean is taken.
pub(crate) fn n_bytes(encoding: Encoding, stats: &TableStats) -> Option<usize> {
    let (dim, values) = (stats.dim, encoding.values);
    let all = stats.n_rows();
    let (n_rows, skip, presence) = match encoding.rows {
        RowsStored::All => (all, 0, 0),
        RowsStored::Present => (all - stats.n_empty(), 1, presence::n_bytes(all)),
    };
    if skip == 1 && n_rows == 0 {
        return None;
    }
    let stored = match encoding.structure {
        Structure::Dense => n_rows * values.record_bytes(dim),
        Structure::DenseLines => n_rows.div_ceil(lines::per_line(values, dim)?) * lines::LINE,
        Structure::Prefix => ragged::n_bytes::<Prefix>(&stats.prefixes, skip, values),
        Structure::Bitmap => ragged::n_bytes::<Bitmap>(&stats.kept, skip, values),
        Structure::Positions => positions::n_bytes(n_rows, stats.n_kept(), values, dim),
    };
    Some(stored + presence)
}

/// What follows the name of a part in the names of its tensors.
pub(crate) const SUFFIXES: [&str; 6] = ["", ".index", ".rows", ".columns", ".affine", ".present"];

/// What all rows of a part have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub values: Values,
    pub unit_log2: i32,
    pub dim: usize,
}

impl Form {
    /// Writes `row` in units into `out`.
    fn in_units<'a>(&self, row: &'a [f32], out: &'a mut Vec<f32>) -> &'a [f32] {
        if self.unit_log2 == 0 {
            return row;
        }
        // A power of two: exact, but for what leaves the range of f32 at its lower end.
        let scale = 2.0_f64.powi(-self.unit_log2);
        out.clear();
        out.extend(row.iter().map(|&x| (f64::from(x) * scale) as f32));
        out
    }

    /// Bytes of the longest record.
    fn longest(&self) -> usize {
        self.values.record_bytes(self.dim)
    }
}

/// The row number of a row that is not stored: all its values are 0.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Where the kept values of a row are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// First byte.
    pub start: usize,
    /// Number of kept values; of a bitmap, anything but 0 if there are any.
    pub kept: u32,
    /// Bytes to fetch.
    pub bytes: u32,
}

/// A structure in which every row is one record.
///
/// # Safety
/// For every row below the number of rows and for [`ABSENT`], [`locate`](Self::locate) returns a record
/// within [`bytes`](Self::bytes): what a kernel reads for at most `dim` kept values, the mask of a
/// bitmap and two bytes more included. `kept` is at most `dim`.
pub(crate) unsafe trait Storage: Copy + Sync {
    /// Whether a mask in front of the values names their columns; else they are the first ones.
    const MASKED: bool;
    /// Whether finding a row reads memory.
    const INDIRECT: bool;

    /// The bytes that records are in.
    fn bytes(&self) -> &[u8];

    /// Asks for the memory that finding `row` will read.
    fn prefetch_index(&self, row: u32);

    /// Finds the record of a row that exists or is [`ABSENT`].
    fn locate(&self, row: u32) -> Record;
}

/// An opened part.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Core<'a> {
    Dense(Dense<'a>),
    Lines(Lines<'a>),
    Prefix(Ragged<'a, Prefix>),
    Bitmap(Ragged<'a, Bitmap>),
    Positions(Positions<'a>),
}

impl<'a> Core<'a> {
    /// Opens `n_rows` rows; everything that a lookup relies on has been checked afterwards.
    pub fn open(
        structure: Structure,
        tensors: &Tensors<'_, 'a>,
        n_rows: usize,
        (values, dim): (Values, usize),
    ) -> Result<Self, FormError> {
        Ok(match structure {
            Structure::Dense => Self::Dense(Dense::open(tensors, n_rows, values, dim)?),
            Structure::DenseLines => Self::Lines(Lines::open(tensors, n_rows, values, dim)?),
            Structure::Prefix => Self::Prefix(Ragged::open(tensors, n_rows, values, dim)?),
            Structure::Bitmap => Self::Bitmap(Ragged::open(tensors, n_rows, values, dim)?),
            Structure::Positions => Self::Positions(Positions::open(tensors, n_rows, values, dim)?),
        })
    }
}
