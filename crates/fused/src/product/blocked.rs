//! Products in blocks, after Goto and van de Geijn (2008): the right operand packed block by block
//! into L2, the left one tile by tile into L1.

use std::ops::Range;

use super::kernel::{
    Arithmetic, BLOCK_PAIRS, Columns, Kernel, Layout, Rows, Start, TILE_PANELS, TILE_ROWS, Tile,
    kernel,
};
use super::pack::Part;
use super::{LANES, Line, Right, Scratch, bf16_is_available};
use crate::matrix::{Mat, MatMut, Write};

/// Values of `k` in a block.
const BLOCK_K: usize = 2 * BLOCK_PAIRS;

/// Columns of a block of the right operand.
const BLOCK_COLUMNS: usize = 512;

/// `c = a·b` or `c += a·b`; shapes fit and are not empty, and `b`, if packed, was so by [`pack`].
pub(super) fn product<A: Arithmetic>(
    c: MatMut<'_>,
    a: Mat<'_>,
    b: Right<'_>,
    write: Write,
    scratch: &mut Scratch,
) {
    assert!(bf16_is_available() && fits(a));
    assert!(c.cols <= c.row_stride && (c.rows - 1) * c.row_stride + c.cols <= c.values.len());
    let n_columns = match b {
        Right::Plain(b) => {
            assert!(fits(b));
            b.cols.min(BLOCK_COLUMNS)
        }
        Right::Packed(lines) => {
            assert!(lines.len() * LANES >= n_words::<A>(a.cols, c.cols));
            0
        }
    };
    reserve::<A>(scratch, n_columns);
    for block in blocks(a.cols, c.cols) {
        let right = match b {
            Right::Plain(b) => {
                let to = scratch.right.as_mut_ptr().cast();
                // SAFETY: the processor has the instructions, the operand has all its elements, and the
                // buffer has room for a block.
                unsafe { block.pack::<A>(b, to) };
                to.cast_const()
            }
            // SAFETY: the packed operand has all its blocks.
            Right::Packed(lines) => unsafe { block.find::<A>(lines.as_ptr().cast(), a.cols) },
        };
        let start = match write {
            Write::Set if block.k.start == 0 => Start::Zero,
            _ => Start::Values,
        };
        let left = scratch.left.as_mut_ptr().cast();
        let (rows, row_stride) = (c.rows, c.row_stride);
        let sums = Sums {
            values: &mut *c.values,
            rows,
            row_stride,
            start,
        };
        // SAFETY: as above, and the other buffer has room for a tile.
        unsafe { block.multiply::<A>(sums, a, left, right) };
    }
}

/// Packs all blocks of a right operand, one after the other.
pub(super) fn pack<A: Arithmetic>(b: Mat<'_>, to: &mut Vec<Line>) {
    assert!(bf16_is_available() && fits(b));
    grow(to, n_words::<A>(b.rows, b.cols));
    for block in blocks(b.rows, b.cols) {
        // SAFETY: the processor has the instructions, the operand has all its elements, and the buffer
        // has room for all blocks.
        unsafe {
            let to: *const u32 = block.find::<A>(to.as_mut_ptr().cast(), b.rows);
            block.pack::<A>(b, to.cast_mut());
        }
    }
}

/// The blocks of a right operand of `k` rows and `n` columns.
fn blocks(k: usize, n: usize) -> impl Iterator<Item = Block> {
    (0..n).step_by(BLOCK_COLUMNS).flat_map(move |column| {
        (0..k).step_by(BLOCK_K).map(move |first| Block {
            columns: column..(column + BLOCK_COLUMNS).min(n),
            k: first..(first + BLOCK_K).min(k),
        })
    })
}

/// Words of a packed right operand.
fn n_words<A: Arithmetic>(k: usize, n: usize) -> usize {
    n.div_ceil(LANES) * panel::<A>(k)
}

/// Words of a packed panel.
fn panel<A: Arithmetic>(k: usize) -> usize {
    k.div_ceil(2) * Columns::<A>::PAIR
}

/// Whether the last element lies inside the slice, and one of the strides is 1 (so that elements can be
/// loaded side by side); [`Mat`]'s constructors see to it.
fn fits(m: Mat<'_>) -> bool {
    let last = (m.rows - 1) * m.row_stride + (m.cols - 1) * m.col_stride;
    last < m.values.len() && (m.row_stride == 1 || m.col_stride == 1)
}

fn reserve<A: Arithmetic>(scratch: &mut Scratch, n_columns: usize) {
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

/// The result of a product.
struct Sums<'a> {
    values: &'a mut [f32],
    rows: usize,
    row_stride: usize,
    start: Start,
}

/// Columns of a product over a run of `k`.
struct Block {
    columns: Range<usize>,
    k: Range<usize>,
}

impl Block {
    /// Where the block lies in an operand of `k` rows whose packed blocks start at `all`.
    ///
    /// # Safety
    /// All blocks up to this one lie behind `all`.
    unsafe fn find<A: Arithmetic>(&self, all: *const u32, k: usize) -> *const u32 {
        let n_panels = self.columns.len().div_ceil(LANES);
        let before = self.columns.start / LANES * panel::<A>(k);
        // SAFETY: the caller's promise.
        unsafe { all.add(before + n_panels * panel::<A>(self.k.start)) }
    }

    /// # Safety
    /// The processor has AVX-512 F, BW and BF16, the ranges lie in `b`, that is as [`fits`] wants it, and
    /// `to` has room for the block.
    unsafe fn pack<A: Arithmetic>(&self, b: Mat<'_>, to: *mut u32) {
        for (i, column) in self.columns.clone().step_by(LANES).enumerate() {
            let first = self.k.start * b.row_stride + column * b.col_stride;
            let part = Part {
                values: b.values[first..].as_ptr(),
                n: LANES.min(self.columns.end - column),
                k: self.k.len(),
                stride: b.col_stride,
                k_stride: b.row_stride,
            };
            // SAFETY: the part lies in `b`, and there is room for every panel.
            unsafe { A::pack_panel(to.add(i * panel::<A>(self.k.len())), part) };
        }
    }

    /// # Safety
    /// The processor has AVX-512 F, BW and BF16, the ranges lie in the product, `a` is as [`fits`] wants
    /// it, `c` has all its elements, `left` has room for a tile, and `right` is the packed block.
    unsafe fn multiply<A: Arithmetic>(
        &self,
        mut c: Sums<'_>,
        a: Mat<'_>,
        left: *mut u32,
        right: *const u32,
    ) {
        // Tiles of equal height (give or take one): a low one at the end would be slow.
        let n_tiles = c.rows.div_ceil(TILE_ROWS);
        for tile in 0..n_tiles {
            let rows = tile * c.rows / n_tiles..(tile + 1) * c.rows / n_tiles;
            let part = self.left_part(a, &rows);
            // SAFETY: the rows lie in `a` and `c`, and there are at most as many as a tile has.
            unsafe {
                if part.k_stride == 1 {
                    A::pack_rows(left, part);
                    self.row_of_tiles::<A>(&mut c, rows, left, right, kernel::<A, Rows<A>>);
                } else {
                    A::pack_panel(left, part);
                    self.row_of_tiles::<A>(&mut c, rows, left, right, kernel::<A, Columns<A>>);
                }
            }
        }
    }

    fn left_part(&self, a: Mat<'_>, rows: &Range<usize>) -> Part {
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
    /// As for [`multiply`](Self::multiply); the left operand is packed too, and `kernel` reads its layout.
    unsafe fn row_of_tiles<A: Arithmetic>(
        &self,
        c: &mut Sums<'_>,
        rows: Range<usize>,
        left: *const u32,
        right: *const u32,
        kernel: fn(usize, usize) -> Kernel,
    ) {
        let step = TILE_PANELS * LANES;
        let (start, row) = (c.start, c.row_stride);
        let c = &mut c.values[rows.start * row..];
        for (i, column) in self.columns.clone().step_by(step).enumerate() {
            let width = step.min(self.columns.end - column);
            let n_panels = width.div_ceil(LANES);
            let in_last = width - (n_panels - 1) * LANES;
            let panel = panel::<A>(self.k.len());
            let tile = Tile {
                pairs: self.k.len().div_ceil(2),
                a: left,
                // SAFETY: the panel lies in the block.
                b: unsafe { right.add(i * TILE_PANELS * panel) },
                panel,
                c: c[column..].as_mut_ptr(),
                row,
                mask: ((1u32 << in_last) - 1) as u16,
                start,
            };
            // SAFETY: the tile lies in `c` and its operands are packed.
            unsafe { kernel(rows.len(), n_panels)(&tile) };
        }
    }
}
