//! Matrices as borrowed slices.

use std::ops::Range;

/// A matrix of 32-bit floats with any strides: element `(i, j)` is `values[i·row_stride + j·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Row after row, without gaps.
    ///
    /// # Panics
    /// When `values` does not have `rows · cols` entries.
    pub fn row_major(values: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} × {cols} matrix");
        Self {
            values,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The columns `cols` of the matrix.
    ///
    /// # Panics
    /// When there are no such columns.
    pub fn columns(self, cols: Range<usize>) -> Self {
        assert!(
            cols.start <= cols.end && cols.end <= self.cols,
            "columns {cols:?} of {}",
            self.cols
        );
        let first = (cols.start * self.col_stride).min(self.values.len());
        Self {
            values: &self.values[first..],
            cols: cols.len(),
            ..self
        }
    }

    /// The transposed matrix, without a copy.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Element `(i, j)`.
    #[cfg(test)]
    pub(crate) fn at(self, i: usize, j: usize) -> f32 {
        self.values[i * self.row_stride + j * self.col_stride]
    }
}

/// A matrix to be written, its rows side by side or with gaps: element `(i, j)` is
/// `values[i·row_stride + j]`.
#[derive(Debug)]
pub struct MatMut<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
}

impl<'a> MatMut<'a> {
    /// Row after row, without gaps.
    ///
    /// # Panics
    /// When `values` does not have `rows · cols` entries.
    pub fn row_major(values: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} × {cols} matrix");
        Self {
            values,
            rows,
            cols,
            row_stride: cols,
        }
    }

    /// The columns `cols` of the matrix.
    ///
    /// # Panics
    /// When there are no such columns.
    pub fn columns(self, cols: Range<usize>) -> Self {
        assert!(
            cols.start <= cols.end && cols.end <= self.cols,
            "columns {cols:?} of {}",
            self.cols
        );
        let first = cols.start.min(self.values.len());
        Self {
            values: &mut self.values[first..],
            cols: cols.len(),
            ..self
        }
    }

    /// The matrix again, for a while.
    pub(crate) fn reborrow(&mut self) -> MatMut<'_> {
        MatMut {
            values: self.values,
            ..*self
        }
    }

    /// Row after row; none when there are no columns.
    pub(crate) fn each_row(self) -> impl Iterator<Item = &'a mut [f32]> {
        let (rows, cols) = (self.rows, self.cols);
        let all = self.values.chunks_mut(self.row_stride.max(1));
        all.take(if cols == 0 { 0 } else { rows })
            .map(move |row| &mut row[..cols])
    }

    pub(crate) fn fill(self, value: f32) {
        self.each_row().for_each(|row| row.fill(value));
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }
}

/// What happens to the values a result is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// They are replaced.
    Set,
    /// The result is added to them.
    Add,
}
