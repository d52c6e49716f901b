//! Every value of every row, one row after the other.

use safetensors::tensor::Dtype;

use super::{Buffer, Data, Form, Marks, Record, Storage, StoredRow, Tensors, straddles};
use crate::error::FormError;
use crate::lookup::Lanes;
use crate::rows::Rows;
use crate::values::Values;

/// Rows at a fixed distance.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
    dim: u32,
}

/// `[n_rows, dim]` of floats, or `[n_rows, bytes of a record]` of integers.
pub fn encode<'a>(rows: Rows<'a>, form: Form) -> Vec<Buffer<'a>> {
    let (n_rows, dim) = (rows.n_rows(), form.dim);
    let (width, data) = match (form.values, rows.as_slice()) {
        (Values::F32, Some(values)) => (dim, Data::F32(values.into())),
        (Values::F32, None) => (dim, Data::F32(rows.iter().flatten().copied().collect())),
        (Values::F16, _) => (dim, Data::F16(records(rows, form))),
        (Values::Int8 | Values::Int4, _) => (form.longest(), Data::U8(records(rows, form))),
    };
    vec![Buffer::new("", &[n_rows, width], data)]
}

fn records(rows: Rows<'_>, form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.n_rows() * form.longest());
    let mut scaled = Vec::new();
    for row in rows.iter() {
        let row = form.in_units(row, &mut scaled);
        form.values.write_record(row, &mut out);
    }
    out
}

impl<'a> Dense<'a> {
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        n_rows: usize,
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let row_bytes = values.record_bytes(dim);
        let (dtype, width) = match values {
            Values::F32 => (Dtype::F32, dim),
            Values::F16 => (Dtype::F16, dim),
            Values::Int8 | Values::Int4 => (Dtype::U8, row_bytes),
        };
        let bytes = tensors.bytes("", dtype, &[Some(n_rows), Some(width)])?;
        Ok(Self {
            bytes,
            row_bytes,
            dim: dim as u32,
        })
    }
}

// SAFETY: the tensor has `n_rows` records of `dim` values.
unsafe impl Storage for Dense<'_> {
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
        let at = self
            .bytes
            .as_ptr()
            .wrapping_add(row as usize * self.row_bytes);
        Record::full(at, self.dim)
    }

    fn row(&self, row: u32) -> StoredRow<'_> {
        StoredRow {
            marks: (Marks::None, &[]),
            kept: self.dim as usize,
            values: &self.bytes[row as usize * self.row_bytes..][..self.row_bytes],
        }
    }
}
