//! Structures: where the kept values of a row stand.
//!
//! | structure | stores | index |
//! |---|---|---|
//! | `dense` | every value of every row | none |
//! | `dense-lines` | the same, but no row crosses a cache line | none |
//! | `steps` | the first `t` values of each row, in order of falling `t` | where `t` falls |
//! | `prefix` | the first `t` values of each row | lengths in bit planes |
//! | `bitmap` | the kept values, a bit for every column before them | lengths in bit planes |
//! | `list` | the kept values, a byte with the column of each before them | lengths in bit planes |
//! | `positions` | the kept values | columns, and Elias-Fano's unary row lengths |
//!
//! Each module writes its form, checks it when it is opened, and finds rows in it. `presence` stands in
//! front of any of them where most rows are empty; `head` keeps leading rows of the last four dense.

mod addresses;
mod buffer;
mod dense;
mod head;
mod lines;
mod positions;
pub(crate) mod presence;
mod ragged;
mod steps;
mod storage;

use serde::{Deserialize, Serialize};

pub(crate) use addresses::Addresses;
pub(crate) use buffer::{Buffer, Data, Tensors};
pub(crate) use dense::Dense;
pub(crate) use head::Head;
pub(crate) use lines::Lines;
pub(crate) use positions::{Positions, Run};
pub(crate) use presence::Presence;
use ragged::MAX_LIST_DIM;
pub(crate) use ragged::{Bitmap, List, Prefix, Ragged};
pub(crate) use steps::Steps;
pub(crate) use storage::{ABSENT, Marks, RING, Record, Records, Storage, StoredRow};
use storage::{locate_each, straddles};

use crate::encode::{Encoding, RowsStored, TableStats};
use crate::error::FormError;
use crate::lookup::Portable;
use crate::prefetch::prefetch_line;
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
    /// The first values of each row, at least as many as any row behind it has.
    Steps,
    /// The first values of each row, as many as it has.
    Prefix,
    /// Any values of each row, with a bit for every column.
    Bitmap,
    /// Any values of each row, with a byte for each; for dims up to 256.
    List,
    /// Any values of each row, with Elias-Fano's code of their places.
    Positions,
}

impl Structure {
    /// All of them, from the fastest to the slowest to read.
    pub const ALL: [Self; 7] = [
        Self::DenseLines,
        Self::Dense,
        Self::Steps,
        Self::Prefix,
        Self::Bitmap,
        Self::List,
        Self::Positions,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::DenseLines => "dense-lines",
            Self::Steps => "steps",
            Self::Prefix => "prefix",
            Self::Bitmap => "bitmap",
            Self::List => "list",
            Self::Positions => "positions",
        }
    }

    /// Whether leading rows may be stored dense.
    pub fn has_head(self) -> bool {
        !matches!(self, Self::Dense | Self::DenseLines | Self::Steps)
    }

    /// Stores `rows`, the first `n_head` of them dense.
    pub(crate) fn encode<'a>(
        self,
        rows: Rows<'a>,
        n_head: usize,
        form: Form,
    ) -> Result<Vec<Buffer<'a>>, EncodeError> {
        if n_head > 0 && (!self.has_head() || n_head > rows.n_rows()) {
            return Err(EncodeError::Shape {
                what: "number of leading rows stored dense",
                expected: "at most all rows, and none of dense tables",
                found: n_head,
            });
        }
        match self {
            Self::Dense => Ok(dense::encode(rows, form)),
            Self::DenseLines => lines::encode(rows, form),
            Self::Steps => Ok(steps::encode(rows, form)),
            Self::Prefix => ragged::encode::<Prefix>(rows, n_head, form),
            Self::Bitmap => ragged::encode::<Bitmap>(rows, n_head, form),
            Self::List if form.dim > MAX_LIST_DIM => Err(EncodeError::Shape {
                what: "dim of lists",
                expected: "at most 256",
                found: form.dim,
            }),
            Self::List => ragged::encode::<List>(rows, n_head, form),
            Self::Positions => positions::encode(rows, n_head, form),
        }
    }
}

/// Bytes of a table stored as `encoding` says; `None` if it cannot be.
///
/// Exact but for the padding of `prefix` and `bitmap`, whose mean is taken.
pub(crate) fn n_bytes(encoding: Encoding, stats: &TableStats) -> Option<usize> {
    let (dim, values, head) = (stats.dim, encoding.values, encoding.n_head as usize);
    let tail = stats.behind(head);
    let (n_rows, least, presence) = match encoding.rows {
        RowsStored::All => (tail.n_rows(), 0, 0),
        RowsStored::Present => (
            tail.n_rows() - tail.kept[0],
            1,
            presence::n_bytes(tail.n_rows()),
        ),
    };
    if encoding.rows == RowsStored::Present && n_rows == 0 {
        return None;
    }
    let stored = match encoding.structure {
        Structure::Dense => n_rows * values.record_bytes(dim),
        Structure::DenseLines => n_rows.div_ceil(lines::per_line(values, dim)?) * lines::LINE,
        Structure::Steps => steps::n_bytes(stats.falling(encoding.rows), values, dim),
        Structure::Prefix => ragged::n_bytes::<Prefix>(&tail.prefixes[least..], least, values, dim),
        Structure::Bitmap => ragged::n_bytes::<Bitmap>(&tail.kept[least..], least, values, dim),
        Structure::List if dim > MAX_LIST_DIM => return None,
        Structure::List => ragged::n_bytes::<List>(&tail.kept[least..], least, values, dim),
        Structure::Positions => positions::n_bytes(n_rows, tail.n_kept(), values, dim),
    };
    Some(stored + presence + head * values.record_bytes(dim))
}

/// What follows the name of a part in the names of its tensors.
pub(crate) const SUFFIXES: [&str; 7] = [
    "", ".index", ".head", ".rows", ".columns", ".affine", ".present",
];

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

/// Lines of a record that are asked for before a lookup: hardware fetches those behind them.
const MOST_LINES: usize = 8;

/// An opened part.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a model has few of them, and a lookup that follows a pointer more is slower"
)]
pub(crate) enum Core<'a> {
    Dense(Dense<'a>),
    Lines(Lines<'a>),
    Steps(Steps<'a>),
    Prefix(Ragged<'a, Prefix>),
    Bitmap(Ragged<'a, Bitmap>),
    List(Ragged<'a, List>),
    Positions(Positions<'a>),
}

impl<'a> Core<'a> {
    /// The leading rows that stand apart.
    pub fn head(&self) -> Head<'a> {
        match self {
            Self::Dense(_) | Self::Lines(_) | Self::Steps(_) => Head::NONE,
            Self::Prefix(ragged) => ragged.head(),
            Self::Bitmap(ragged) => ragged.head(),
            Self::List(ragged) => ragged.head(),
            Self::Positions(positions) => positions.head(),
        }
    }

    /// Asks for the index of rows behind the head, while others are being looked up.
    pub fn prefetch_index(&self, rows: &[u32]) {
        fn prefetch<S: Storage>(storage: &S, rows: &[u32]) {
            rows.iter().for_each(|&row| storage.prefetch_index(row));
        }
        match self {
            Self::Dense(_) | Self::Lines(_) | Self::Steps(_) | Self::Positions(_) => {}
            Self::Prefix(ragged) => prefetch(ragged, rows),
            Self::Bitmap(ragged) => prefetch(ragged, rows),
            Self::List(ragged) => prefetch(ragged, rows),
        }
    }

    /// Asks for the record of a row, or for its index where there is one.
    pub fn prefetch(&self, row: u32, values: Values) {
        let head = self.head();
        let record = match self {
            _ if head.has(row) => head.record(row),
            // SAFETY: nothing is read here, so it does not matter whether there is such a row; any processor has
            // the instructions.
            Self::Dense(dense) => unsafe { dense.locate::<Portable>(row) },
            // SAFETY: likewise.
            Self::Lines(lines) => unsafe { lines.locate::<Portable>(row) },
            // SAFETY: likewise.
            Self::Steps(steps) => unsafe { steps.locate::<Portable>(row) },
            Self::Prefix(ragged) => return ragged.prefetch_index(row),
            Self::Bitmap(ragged) => return ragged.prefetch_index(row),
            Self::List(ragged) => return ragged.prefetch_index(row),
            Self::Positions(positions) => return positions.prefetch_index(row),
        };
        let n_bytes = values.record_bytes(record.kept as usize);
        for line in (0..n_bytes).step_by(lines::LINE).take(MOST_LINES) {
            prefetch_line(record.at.wrapping_add(line));
        }
    }

    /// Opens `n_rows` rows, the first `n_head` of them dense; everything that a lookup relies on has been
    /// checked afterwards.
    pub fn open(
        structure: Structure,
        tensors: &Tensors<'_, 'a>,
        (n_head, n_rows): (usize, usize),
        (values, dim): (Values, usize),
    ) -> Result<Self, FormError> {
        let rows = (n_head, n_rows);
        Ok(match structure {
            Structure::Dense => Self::Dense(Dense::open(tensors, n_rows, values, dim)?),
            Structure::DenseLines => Self::Lines(Lines::open(tensors, n_rows, values, dim)?),
            Structure::Steps => Self::Steps(Steps::open(tensors, n_rows, values, dim)?),
            Structure::Prefix => Self::Prefix(Ragged::open(tensors, rows, values, dim)?),
            Structure::Bitmap => Self::Bitmap(Ragged::open(tensors, rows, values, dim)?),
            Structure::List if dim > MAX_LIST_DIM => {
                return Err(FormError::new("", "a dim of at most 256", dim));
            }
            Structure::List => Self::List(Ragged::open(tensors, rows, values, dim)?),
            Structure::Positions => Self::Positions(Positions::open(tensors, rows, values, dim)?),
        })
    }
}
