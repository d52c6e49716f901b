//! Right operands that are packed once and used often.

use super::{Engine, Line, Scratch, fill_trivial, is_trivial};
#[cfg(target_arch = "x86_64")]
use super::{blocked, kernel};
use crate::matrix::{Mat, MatMut, Write};
use crate::mode::Precision;

/// A right operand `[k, n]` laid out for the products of one precision.
#[derive(Debug)]
pub struct PackedMatrix {
    engine: Engine,
    rows: usize,
    cols: usize,
    /// For engines that work in blocks.
    blocks: Vec<Line>,
    /// Row-major, for all others.
    plain: Vec<f32>,
}

impl PackedMatrix {
    /// Packs `b`.
    pub fn new(precision: Precision, b: Mat<'_>) -> Self {
        Self::with(Engine::of(precision, b.rows.min(b.cols)), b)
    }

    pub(super) fn with(engine: Engine, b: Mat<'_>) -> Self {
        let mut packed = Self {
            engine,
            rows: b.rows,
            cols: b.cols,
            blocks: Vec::new(),
            plain: Vec::new(),
        };
        packed.pack(b);
        packed
    }

    /// Packs another matrix of the same shape.
    ///
    /// # Panics
    /// When the shape is another one.
    pub fn pack(&mut self, b: Mat<'_>) {
        assert_eq!(
            (b.rows, b.cols),
            (self.rows, self.cols),
            "shape of a packed matrix"
        );
        if b.rows == 0 || b.cols == 0 {
            return;
        }
        match self.engine {
            #[cfg(target_arch = "x86_64")]
            Engine::Exact => blocked::pack::<kernel::Exact>(b, &mut self.blocks),
            #[cfg(target_arch = "x86_64")]
            Engine::Fma => blocked::pack::<kernel::Fma>(b, &mut self.blocks),
            #[cfg(target_arch = "x86_64")]
            Engine::Dot => blocked::pack::<kernel::Dot>(b, &mut self.blocks),
            Engine::Library | Engine::Portable => self.copy(b),
        }
    }

    fn copy(&mut self, b: Mat<'_>) {
        self.plain.resize(b.rows * b.cols, 0.0);
        for (i, row) in self.plain.chunks_exact_mut(b.cols).enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = b.values[i * b.row_stride + j * b.col_stride];
            }
        }
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

/// A right operand whose columns were packed in parts.
#[derive(Clone, Copy)]
pub struct PackedParts<'a> {
    /// Columns of each part but the last; a multiple of 32 when there are several.
    pub width: usize,
    /// Part `i`.
    pub part: &'a dyn Fn(usize) -> &'a PackedMatrix,
}

impl PackedParts<'_> {
    pub(super) fn multiply(self, c: MatMut<'_>, a: Mat<'_>, write: Write, scratch: &mut Scratch) {
        self.check(&c, a);
        if is_trivial(&c, a.cols) {
            return fill_trivial(c, write);
        }
        let engine = (self.part)(0).engine;
        match engine {
            Engine::Library | Engine::Portable => self.one_by_one(c, a, write, scratch),
            #[cfg(target_arch = "x86_64")]
            _ => {
                let part = |i| (self.part)(i).blocks.as_slice();
                let parts = blocked::Parts {
                    width: self.width,
                    part: &part,
                };
                engine.blocked(c, a, blocked::Right::Packed(parts), write, scratch);
            }
        }
    }

    fn check(&self, c: &MatMut<'_>, a: Mat<'_>) {
        assert_eq!(a.rows, c.rows, "rows of a product");
        let engine = (self.part)(0).engine;
        for (i, first) in (0..c.cols).step_by(self.width).enumerate() {
            let part = (self.part)(i);
            let expected = (engine, a.cols, self.width.min(c.cols - first));
            let found = (part.engine, part.rows, part.cols);
            assert_eq!(found, expected, "part {i} of a product");
        }
    }

    fn one_by_one(&self, mut c: MatMut<'_>, a: Mat<'_>, write: Write, scratch: &mut Scratch) {
        for (i, first) in (0..c.cols).step_by(self.width).enumerate() {
            let part = (self.part)(i);
            let b = Mat::row_major(&part.plain, part.rows, part.cols);
            let columns = first..first + part.cols;
            let c = c.reborrow().columns(columns);
            part.engine.product(c, a, b, write, scratch);
        }
    }
}
