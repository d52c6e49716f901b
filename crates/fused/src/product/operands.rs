//! What the blocked product reads: left and right operands in every form.

use super::blocked::{Block, panel};
use super::kernel::{Arithmetic, Columns, Layout};
use super::{LANES, Line};
use crate::matrix::Mat;
use crate::panels::{Operand, Panels};

/// A left operand `[m, k]`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left<'a> {
    Rows(Mat<'a>),
    /// A value.
    Panels(Panels<'a>),
    /// The transpose of a value.
    Transposed(Panels<'a>),
}

impl Left<'_> {
    pub fn k(self) -> usize {
        match self {
            Self::Rows(a) => a.cols,
            Self::Panels(a) => a.cols,
            Self::Transposed(a) => a.rows,
        }
    }
}

impl<'a> From<Operand<'a>> for Left<'a> {
    fn from(operand: Operand<'a>) -> Self {
        match operand {
            Operand::Rows(a) => Self::Rows(a),
            Operand::Panels(a) => Self::Panels(a),
        }
    }
}

/// A right operand.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    Plain(Mat<'a>),
    Packed(Parts<'a>),
    /// A value in panels, which is packed as it is, for arithmetic with f32 as they are.
    Panels(Panels<'a>),
}

/// Packed matrices side by side, each as [`pack`] left it.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// Columns of each but the last; a multiple of [`TILE_COLUMNS`] when there are several.
    pub width: usize,
    pub part: &'a dyn Fn(usize) -> &'a [Line],
}

/// Where the packed panels of a block are.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Those of the block alone, from its first column on.
    Block(*const u32),
    /// Those of all columns and all `k`, of which there are so many.
    Parts(Parts<'a>, usize),
    /// Those of a value, whose rows are the `k`.
    Value(Panels<'a>),
}

impl Source<'_> {
    /// Columns from `column` on whose panels are one after the other.
    pub fn run(&self, column: usize) -> usize {
        match self {
            Self::Block(_) | Self::Value(_) => usize::MAX,
            Self::Parts(parts, _) => parts.width - column % parts.width,
        }
    }

    /// The first of `n` panels from a column of `block` on, and the words from one to the next.
    ///
    /// # Safety
    /// Those of [`Self::Block`] are the block's.
    pub unsafe fn at<A: Arithmetic>(
        &self,
        block: &Block,
        column: usize,
        n: usize,
    ) -> (*const u32, usize) {
        match *self {
            Self::Block(first) => {
                let panel = panel::<A>(block.k.len());
                let i = (column - block.columns.start) / LANES;
                // SAFETY: the column is one of the block.
                (unsafe { first.add(i * panel) }, panel)
            }
            Self::Parts(parts, k) => {
                let panel = panel::<A>(k);
                let i = column % parts.width / LANES;
                let lines = (parts.part)(column / parts.width);
                // Asked here and not once before: a function may return something else every time.
                assert!(
                    lines.len() * LANES >= (i + n) * panel,
                    "a part of a packed operand"
                );
                let step = block.k.start / A::STEP_K * Columns::<A>::STEP;
                let first: *const u32 = lines.as_ptr().cast();
                // SAFETY: the part has the columns and all their `k`.
                (unsafe { first.add(i * panel + step) }, panel)
            }
            Self::Value(value) => {
                let lines = &value.lines[column / LANES * value.stride + block.k.start..];
                (lines.as_ptr().cast(), value.stride * LANES)
            }
        }
    }
}
