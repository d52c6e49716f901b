//! Right operands that are packed once and used often.

use super::{Engine, Line, Scratch, fill_trivial, is_trivial};
#[cfg(target_arch = "x86_64")]
use super::{Right, blocked, kernel};
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

    pub(super) fn multiply(&self, c: MatMut<'_>, a: Mat<'_>, write: Write, scratch: &mut Scratch) {
        let shape = (c.rows, self.rows, c.cols);
        assert_eq!((a.rows, a.cols, self.cols), shape, "shapes of a product");
        if is_trivial(&c, a.cols) {
            return fill_trivial(c, write);
        }
        match self.engine {
            Engine::Library | Engine::Portable => {
                let b = Mat::row_major(&self.plain, self.rows, self.cols);
                self.engine.product(c, a, b, write, scratch);
            }
            #[cfg(target_arch = "x86_64")]
            _ => {
                let b = Right::Packed(&self.blocks);
                self.engine.blocked(c, a, b, write, scratch);
            }
        }
    }
}
