//! Values that stay in the layout in which the AVX-512 kernel reads operands.
//!
//! A `[rows, cols]` matrix is cut into panels of 16 columns, each of which has its rows one after the
//! other: a cache line is 16 values of a row. In this form a value is the left operand of one product
//! (`y = x·Wᵀ`), the right one of another (`dW = dyᵀ·x`) and, transposed, the left one of that, without a
//! copy; packing the activations anew took 9 % of a training pass.

use std::ops::Range;

use crate::matrix::{Mat, MatMut};
use crate::product::{LANES, Line};

/// Panels of a line's width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels<'a> {
    pub lines: &'a [Line],
    /// Lines from a panel to the next.
    pub stride: usize,
    pub rows: usize,
    pub cols: usize,
}

/// Panels to be written.
#[derive(Debug)]
pub(crate) struct PanelsMut<'a> {
    pub lines: &'a mut [Line],
    /// Lines from a panel to the next.
    pub stride: usize,
    pub rows: usize,
    pub cols: usize,
}

/// A value as products read it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a> {
    Rows(Mat<'a>),
    Panels(Panels<'a>),
}

/// A value as products write it.
#[derive(Debug)]
pub(crate) enum OperandMut<'a> {
    Rows(MatMut<'a>),
    Panels(PanelsMut<'a>),
}

impl<'a> Panels<'a> {
    /// The columns `cols`, which start with a panel.
    fn columns(self, cols: Range<usize>) -> Self {
        assert!(
            cols.start.is_multiple_of(LANES) && cols.end <= self.cols,
            "columns {cols:?} of {}",
            self.cols
        );
        Self {
            lines: &self.lines[cols.start / LANES * self.stride..],
            cols: cols.len(),
            ..self
        }
    }
}

impl<'a> Operand<'a> {
    pub fn rows(self) -> usize {
        match self {
            Self::Rows(m) => m.rows,
            Self::Panels(p) => p.rows,
        }
    }

    pub fn cols(self) -> usize {
        match self {
            Self::Rows(m) => m.cols,
            Self::Panels(p) => p.cols,
        }
    }

    /// The columns `cols`, which start with a panel if there are any.
    pub fn columns(self, cols: Range<usize>) -> Self {
        match self {
            Self::Rows(m) => Self::Rows(m.columns(cols)),
            Self::Panels(p) => Self::Panels(p.columns(cols)),
        }
    }
}

impl OperandMut<'_> {
    pub fn rows(&self) -> usize {
        match self {
            Self::Rows(m) => m.rows,
            Self::Panels(p) => p.rows,
        }
    }

    pub fn cols(&self) -> usize {
        match self {
            Self::Rows(m) => m.cols,
            Self::Panels(p) => p.cols,
        }
    }

    /// Sets all values.
    pub fn fill(self, value: f32) {
        match self {
            Self::Rows(m) => m.fill(value),
            Self::Panels(p) => bytemuck::cast_slice_mut::<_, f32>(p.lines).fill(value),
        }
    }

    /// The value again, for a while.
    pub fn reborrow(&mut self) -> OperandMut<'_> {
        match self {
            Self::Rows(m) => OperandMut::Rows(m.reborrow()),
            Self::Panels(p) => OperandMut::Panels(PanelsMut {
                lines: p.lines,
                ..*p
            }),
        }
    }
}
