//! Every value of every row, as many rows in a cache line as fit: no row costs two lines.
//!
//! For rows whose size does not divide 64 bytes; int8 rows of 16 take 20 bytes, 3 in a line.

use safetensors::tensor::Dtype;

use super::{Buffer, Data, Form, Marks, Record, Storage, StoredRow, Tensors};
use crate::error::{EncodeError, FormError};
use crate::lookup::Lanes;
use crate::rows::Rows;
use crate::values::Values;

/// Bytes of a cache line.
pub const LINE: usize = 64;
/// Bytes of a word.
pub const WORD: usize = 4;

/// Groups of rows at a fixed distance.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
    per_line: u64,
    /// `⌈2⁶⁴ / per_line⌉`: dividing a 32-bit number is a product with it.
    reciprocal: u64,
    dim: u32,
}

/// Rows in a line; none if there is nothing to gain.
pub fn per_line(values: Values, dim: usize) -> Option<usize> {
    let n = LINE / values.record_bytes(dim).max(1);
    (n >= 2 && !LINE.is_multiple_of(values.record_bytes(dim))).then_some(n)
}

/// `[lines, 64]` bytes.
pub fn encode<'a>(rows: Rows<'a>, form: Form) -> Result<Vec<Buffer<'a>>, EncodeError> {
    let per_line = per_line(form.values, form.dim).ok_or(EncodeError::Shape {
        what: "dim of rows in lines",
        expected: "one whose rows are shorter than half a line and do not divide it",
        found: form.dim,
    })?;
    let n_lines = rows.n_rows().div_ceil(per_line);
    let mut out = Vec::with_capacity(n_lines * LINE);
    let mut scaled = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        if i % per_line == 0 {
            out.resize(i / per_line * LINE, 0);
        }
        form.values
            .write_record(form.in_units(row, &mut scaled), &mut out);
    }
    out.resize(n_lines * LINE, 0);
    Ok(vec![Buffer::new("", &[n_lines, LINE], Data::U8(out))])
}

impl<'a> Lines<'a> {
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        n_rows: usize,
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let Some(per_line) = per_line(values, dim) else {
            let found = format!("{} of dim {dim}", values.name());
            return Err(FormError::new("", "rows that gain from lines", found));
        };
        let shape = [Some(n_rows.div_ceil(per_line)), Some(LINE)];
        Ok(Self {
            bytes: tensors.bytes("", Dtype::U8, &shape)?,
            row_bytes: values.record_bytes(dim),
            per_line: per_line as u64,
            reciprocal: u64::MAX / per_line as u64 + 1,
            dim: dim as u32,
        })
    }
}

impl Lines<'_> {
    /// First byte of a row.
    #[inline(always)]
    fn start(&self, row: u32) -> usize {
        let line = ((u128::from(row) * u128::from(self.reciprocal)) >> 64) as u64;
        let within = u64::from(row) - line * self.per_line;
        line as usize * LINE + within as usize * self.row_bytes
    }
}

// SAFETY: the tensor has lines for `n_rows` rows; each is within its line.
unsafe impl Storage for Lines<'_> {
    const MARKS: Marks = Marks::None;
    const INDIRECT: bool = false;

    #[inline(always)]
    fn base(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    #[inline(always)]
    fn straddles(&self) -> bool {
        false
    }

    #[inline(always)]
    fn prefetch_index(&self, _: u32) {}

    #[inline(always)]
    unsafe fn locate<L: Lanes>(&self, row: u32) -> Record {
        let at = self.bytes.as_ptr().wrapping_add(self.start(row));
        Record::full(at, self.dim)
    }

    fn row(&self, row: u32) -> StoredRow<'_> {
        StoredRow {
            marks: (Marks::None, &[]),
            kept: self.dim as usize,
            values: &self.bytes[self.start(row)..][..self.row_bytes],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_that_would_cross_lines_are_put_in_lines() {
        assert_eq!(per_line(Values::Int8, 16), Some(3));
        assert_eq!(per_line(Values::Int4, 16), Some(5));
        assert_eq!(per_line(Values::F16, 16), None);
        assert_eq!(per_line(Values::Int8, 64), None);
        assert_eq!(per_line(Values::F32, 16), None);
    }

    #[test]
    fn the_reciprocal_divides_every_row_number() {
        for per_line in 2..=32_u64 {
            let lines = Lines {
                bytes: &[],
                row_bytes: 1,
                per_line,
                reciprocal: u64::MAX / per_line + 1,
                dim: 1,
            };
            for row in [0, 1, 2, 31, 32, 33, 1 << 20, u32::MAX - 2, u32::MAX - 1] {
                let start = lines.start(row) as u64;
                let row = u64::from(row);
                assert_eq!(
                    start,
                    row / per_line * 64 + row % per_line,
                    "{row} {per_line}"
                );
            }
        }
    }
}
