//! Products in blocks, after Goto and van de Geijn (2008): the right operand packed block by block
//! into L2, the left one tile by tile into L1.

use std::ops::Range;

use super::kernel::{
    Arithmetic, BLOCK_PAIRS, Columns, Kernel, Layout, Rows, Start, TILE_PANELS, TILE_ROWS, Tile,
    kernel,
};
use super::pack::{self, Part};
use super::{Bf16Scratch, LANES, Line, bf16_is_available};
use crate::matrix::{Mat, MatMut, Write};

/// Values of `k` in a block.
const BLOCK_K: usize = 2 * BLOCK_PAIRS;

/// Columns of a block of the right operand.
const BLOCK_COLUMNS: usize = 512;

/// `c = a·b` or `c += a·b`; shapes fit and are not empty.
pub(super) fn product<A: Arithmetic>(
    c: MatMut<'_>,
    a: Mat<'_>,
    b: Mat<'_>,
    write: Write,
    scratch: &mut Bf16Scratch,
) {
    assert!(bf16_is_available() && fits(a) && fits(b));
    assert!(c.values.len() == c.rows * c.cols);
    reserve::<A>(scratch, b.cols.min(BLOCK_COLUMNS));
    for column in (0..b.cols).step_by(BLOCK_COLUMNS) {
        let columns = column..(column + BLOCK_COLUMNS).min(b.cols);
        for k in (0..a.cols).step_by(BLOCK_K) {
            let block = Block {
                a,
                b,
                columns: columns.clone(),
                k: k..(k + BLOCK_K).min(a.cols),
                start: match write {
                    Write::Set if k == 0 => Start::Zero,
                    _ => Start::Values,
                },
            };
            // SAFETY: the processor has the instructions, the operands have all their elements, and
            // the buffers have room for a tile and a block.
            unsafe { block.multiply::<A>(c.values, scratch) };
        }
    }
}

/// Whether the last element lies inside the slice, and one of the strides is 1 (so that elements can be
/// loaded side by side); [`Mat`]'s constructors see to it.
fn fits(m: Mat<'_>) -> bool {
    let last = (m.rows - 1) * m.row_stride + (m.cols - 1) * m.col_stride;
    last < m.values.len() && (m.row_stride == 1 || m.col_stride == 1)
}

fn reserve<A: Arithmetic>(scratch: &mut Bf16Scratch, n_columns: usize) {
    let by_rows = TILE_ROWS * Rows::<A>::ROW;
    let by_columns = BLOCK_PAIRS * Columns::<A>::PAIR;
    grow(&mut scratch.left, by_rows.max(by_columns));
    let n_panels = n_columns.div_ceil(LANES);
    grow(&mut scratch.right, n_panels * by_columns);
}

fn grow(buffer: &mut Vec<Line>, n_words: usize) {
    let n_lines = n_words.div_ceil(LANES);
    if buffer.len() < n_lines {
        buffer.resize(n_lines, Line::default());
    }
}

/// Columns of a product over a run of `k`.
struct Block<'a> {
    a: Mat<'a>,
    b: Mat<'a>,
    columns: Range<usize>,
    k: Range<usize>,
    start: Start,
}

impl Block<'_> {
    /// # Safety
    /// The processor has AVX-512 F, BW and BF16, the ranges lie in the operands, those are as
    /// [`fits`] wants them, `c` is as large as the product, and the buffers are as [`reserve`] makes them.
    unsafe fn multiply<A: Arithmetic>(&self, c: &mut [f32], scratch: &mut Bf16Scratch) {
        let right: *mut u32 = scratch.right.as_mut_ptr().cast();
        let left: *mut u32 = scratch.left.as_mut_ptr().cast();
        // SAFETY: the caller's promise.
        unsafe { self.pack_right::<A>(right) };
        let m = self.a.rows;
        // Tiles of equal height (give or take one): a low one at the end would be slow.
        let n_tiles = m.div_ceil(TILE_ROWS);
        for tile in 0..n_tiles {
            let rows = tile * m / n_tiles..(tile + 1) * m / n_tiles;
            let part = self.left_part(&rows);
            // SAFETY: the rows lie in `a` and `c`, and there are at most as many as a tile has.
            unsafe {
                if part.k_stride == 1 {
                    pack::rows::<A>(left, part);
                    self.row_of_tiles::<A>(c, rows, left, right, kernel::<A, Rows<A>>);
                } else {
                    pack::panel::<A>(left, part);
                    self.row_of_tiles::<A>(c, rows, left, right, kernel::<A, Columns<A>>);
                }
            }
        }
    }

    fn left_part(&self, rows: &Range<usize>) -> Part {
        let a = self.a;
        let first = rows.start * a.row_stride + self.k.start * a.col_stride;
        Part {
            values: a.values[first..].as_ptr(),
            n: rows.len(),
            k: self.k.len(),
            stride: a.row_stride,
            k_stride: a.col_stride,
        }
    }

    /// # Safety
    /// As for [`multiply`](Self::multiply).
    unsafe fn pack_right<A: Arithmetic>(&self, to: *mut u32) {
        let b = self.b;
        for (i, column) in self.columns.clone().step_by(LANES).enumerate() {
            let first = self.k.start * b.row_stride + column * b.col_stride;
            let part = Part {
                values: b.values[first..].as_ptr(),
                n: LANES.min(self.columns.end - column),
                k: self.k.len(),
                stride: b.col_stride,
                k_stride: b.row_stride,
            };
            // SAFETY: the part lies in `b`, and the buffer has room for every panel.
            unsafe { pack::panel::<A>(to.add(i * self.panel::<A>()), part) };
        }
    }

    /// Words of a packed panel.
    fn panel<A: Arithmetic>(&self) -> usize {
        self.k.len().div_ceil(2) * Columns::<A>::PAIR
    }

    /// # Safety
    /// As for [`multiply`](Self::multiply); the operands are packed, and `kernel` reads the left one's
    /// layout.
    unsafe fn row_of_tiles<A: Arithmetic>(
        &self,
        c: &mut [f32],
        rows: Range<usize>,
        left: *const u32,
        right: *const u32,
        kernel: fn(usize, usize) -> Kernel,
    ) {
        let n = self.b.cols;
        let step = TILE_PANELS * LANES;
        let c = &mut c[rows.start * n..rows.end * n];
        for (i, column) in self.columns.clone().step_by(step).enumerate() {
            let width = step.min(self.columns.end - column);
            let n_panels = width.div_ceil(LANES);
            let in_last = width - (n_panels - 1) * LANES;
            let tile = Tile {
                pairs: self.k.len().div_ceil(2),
                a: left,
                // SAFETY: the panel lies in the buffer.
                b: unsafe { right.add(i * TILE_PANELS * self.panel::<A>()) },
                panel: self.panel::<A>(),
                c: c[column..].as_mut_ptr(),
                row: n,
                mask: ((1u32 << in_last) - 1) as u16,
                start: self.start,
            };
            // SAFETY: the tile lies in `c` and its operands are packed.
            unsafe { kernel(rows.len(), n_panels)(&tile) };
        }
    }
}
