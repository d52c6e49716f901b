//! Leading rows that stand apart, every value of them.
//!
//! In a table in order of falling frequency the first rows keep nearly all their values and get most
//! lookups: dense, they are found without an index.

use safetensors::tensor::Dtype;

use super::{Buffer, Data, Form, Marks, Record, Storage, StoredRow, Tensors, straddles};
use crate::error::FormError;
use crate::lookup::Lanes;
use crate::rows::Rows;
use crate::values::Values;

const SUFFIX: &str = ".head";

/// The first rows, dense.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    bytes: &'a [u8],
    n_rows: u32,
    row_bytes: usize,
    dim: u32,
}

/// The first `n_rows` rows as `[n_rows, bytes of a record]`; nothing for none.
pub fn encode<'a>(rows: Rows<'_>, n_rows: usize, form: Form) -> Option<Buffer<'a>> {
    let mut bytes = Vec::with_capacity(n_rows * form.longest());
    let mut scaled = Vec::new();
    for row in rows.iter().take(n_rows) {
        let row = form.in_units(row, &mut scaled);
        form.values.write_record(row, &mut bytes);
    }
    let shape = [n_rows, form.longest()];
    (n_rows > 0).then(|| Buffer::new(SUFFIX, &shape, Data::U8(bytes)))
}

impl<'a> Head<'a> {
    /// No rows.
    pub const NONE: Self = Self {
        bytes: &[],
        n_rows: 0,
        row_bytes: 0,
        dim: 0,
    };

    pub fn open(
        tensors: &Tensors<'_, 'a>,
        n_rows: usize,
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let row_bytes = values.record_bytes(dim);
        let bytes = match n_rows {
            0 => &[],
            _ => tensors.bytes(SUFFIX, Dtype::U8, &[Some(n_rows), Some(row_bytes)])?,
        };
        Ok(Self {
            bytes,
            n_rows: n_rows as u32,
            row_bytes,
            dim: dim as u32,
        })
    }

    /// Number of rows.
    #[inline(always)]
    pub fn n_rows(&self) -> u32 {
        self.n_rows
    }

    /// Whether `row` is one of them.
    #[inline(always)]
    pub fn has(&self, row: u32) -> bool {
        row < self.n_rows
    }

    /// The record of a row of the head.
    #[inline(always)]
    pub fn record(&self, row: u32) -> Record {
        let at = self.bytes.as_ptr();
        Record::full(at.wrapping_add(row as usize * self.row_bytes), self.dim)
    }

    /// The address of the first row, exposed, and the bytes of a row.
    #[inline(always)]
    pub fn place(&self) -> (usize, usize) {
        (self.bytes.as_ptr().expose_provenance(), self.row_bytes)
    }

    /// The same for those who read value by value.
    #[inline(always)]
    pub fn stored(&self, row: u32) -> StoredRow<'a> {
        StoredRow {
            marks: (Marks::None, &[]),
            kept: self.dim as usize,
            values: &self.bytes[row as usize * self.row_bytes..][..self.row_bytes],
        }
    }
}

// SAFETY: the tensor has `n_rows` records of `dim` values.
unsafe impl Storage for Head<'_> {
    const MARKS: Marks = Marks::None;
    const INDIRECT: bool = false;

    #[inline(always)]
    fn base(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    #[inline(always)]
    fn straddles(&self) -> bool {
        straddles(self.row_bytes)
    }

    #[inline(always)]
    fn prefetch_index(&self, _: u32) {}

    #[inline(always)]
    unsafe fn locate<L: Lanes>(&self, row: u32) -> Record {
        self.record(row)
    }

    fn row(&self, row: u32) -> StoredRow<'_> {
        self.stored(row)
    }
}
