//! Products in blocks, after Goto and van de Geijn (2008): the right operand packed block by block
//! into L2, the left one tile by tile into L1.

use std::ops::Range;

use super::kernel::{
    Arithmetic, BLOCK_K, COLUMN_PANELS, COLUMN_ROWS, Columns, Exact, InPanels, Kernel, Layout,
    Rows, Start, TILE_PANELS, TILE_ROWS, Tile, column_kernel, kernel, tile_panels,
};
use super::operands::{Left, Right, Source};
use super::pack::Part;
use super::{LANES, Line, Scratch, bf16_is_available};
use crate::matrix::{Mat, MatMut, Write};
use crate::panels::{Operand, OperandMut, Panels};

/// Columns of a block of the right operand.
const BLOCK_COLUMNS: usize = 512;

/// Columns of a tile.
pub(super) const TILE_COLUMNS: usize = TILE_PANELS * LANES;

/// `c = a·b` or `c += a·b`; shapes fit and are not empty.
pub(super) fn product<A: Arithmetic>(
    c: OperandMut<'_>,
    a: Left<'_>,
    b: Right<'_>,
    write: Write,
    scratch: &mut Scratch,
) {
    check::<A>(a, b, c.cols());
    let mut c = Sums::new(c);
    reserve::<A>(scratch, b, c.cols);
    for block in blocks(a.k(), c.cols, block_k::<A>(a, b)) {
        c.start = match write {
            Write::Set if block.k.start == 0 => Start::Zero,
            _ => Start::Values,
        };
        // SAFETY: the processor has the instructions, the operands have all their elements, and the
        // buffers have room for a block and a tile.
        unsafe {
            let right = match b {
                Right::Plain(b) => {
                    let to = scratch.right.as_mut_ptr().cast();
                    block.pack::<A>(b, to);
                    Source::Block(to)
                }
                Right::Packed(parts) => Source::Parts(parts, a.k()),
                Right::Panels(b) => Source::Value(b),
            };
            block.multiply::<A>(&mut c, a, scratch.left.as_mut_ptr().cast(), right);
        }
    }
}

/// `c = dyᵀ·x` or `c += dyᵀ·x` for values one of which at least lies in panels; shapes fit and are not empty.
pub(super) fn gradient(
    c: MatMut<'_>,
    dy: Operand<'_>,
    x: Operand<'_>,
    write: Write,
    scratch: &mut Scratch,
) {
    let a = match dy {
        Operand::Rows(dy) => Left::Rows(dy.t()),
        Operand::Panels(dy) => Left::Transposed(dy),
    };
    let b = match x {
        Operand::Rows(x) => Right::Plain(x),
        Operand::Panels(x) => Right::Panels(x),
    };
    product::<Exact>(OperandMut::Rows(c), a, b, write, scratch);
}

/// Checks that the operands have all their elements and can be read by these kernels.
fn check<A: Arithmetic>(a: Left<'_>, b: Right<'_>, n_columns: usize) {
    assert!(bf16_is_available());
    match a {
        Left::Rows(a) => assert!(fits(a)),
        Left::Panels(a) | Left::Transposed(a) => assert!(A::IN_PLACE && panels_fit(a)),
    }
    match b {
        Right::Plain(b) => assert!(fits(b)),
        Right::Packed(parts) => {
            assert!(n_columns <= parts.width || parts.width.is_multiple_of(TILE_COLUMNS));
        }
        Right::Panels(b) => assert!(A::IN_PLACE && panels_fit(b)),
    }
}

/// Whether all rows of all panels lie inside the slice.
fn panels_fit(p: Panels<'_>) -> bool {
    let before = p.cols.div_ceil(LANES).saturating_sub(1) * p.stride;
    p.rows <= p.stride && before + p.rows <= p.lines.len()
}

/// Lines of a packed right operand of `k` rows and `n` columns.
pub(super) fn packed_lines<A: Arithmetic>(k: usize, n: usize) -> usize {
    n.div_ceil(LANES) * panel::<A>(k) / LANES
}

/// Packs a right operand, panel after panel.
pub(super) fn pack<A: Arithmetic>(b: Mat<'_>, to: &mut [Line]) {
    assert!(bf16_is_available() && fits(b));
    assert!(
        to.len() >= packed_lines::<A>(b.rows, b.cols),
        "room for a packed operand"
    );
    let all = Block {
        columns: 0..b.cols,
        k: 0..b.rows,
    };
    // SAFETY: the processor has the instructions, the operand has all its elements, and the buffer has
    // room for all panels.
    unsafe { all.pack::<A>(b, to.as_mut_ptr().cast()) };
}

/// Values of `k` in a block of this product. A single row fits where a tile of many does, so that it need not
/// be cut; a panel packed anew does not.
fn block_k<A: Arithmetic>(a: Left<'_>, b: Right<'_>) -> usize {
    match (a, b) {
        (Left::Panels(a), Right::Packed(_)) if a.rows == 1 => usize::MAX,
        (Left::Rows(a), Right::Packed(_)) if a.rows == 1 && a.col_stride == 1 && A::WORDS == 1 => {
            TILE_ROWS * BLOCK_K
        }
        _ => BLOCK_K,
    }
}

/// The blocks of a right operand of `k` rows and `n` columns.
fn blocks(k: usize, n: usize, block_k: usize) -> impl Iterator<Item = Block> {
    (0..n).step_by(BLOCK_COLUMNS).flat_map(move |column| {
        (0..k).step_by(block_k).map(move |first| Block {
            columns: column..(column + BLOCK_COLUMNS).min(n),
            k: first..first.saturating_add(block_k).min(k),
        })
    })
}

/// Words of a packed panel.
pub(super) fn panel<A: Arithmetic>(k: usize) -> usize {
    k.div_ceil(A::STEP_K) * Columns::<A>::STEP
}

/// Whether the last element lies inside the slice, and one of the strides is 1 (so that elements can be
/// loaded side by side); [`Mat`]'s constructors see to it.
fn fits(m: Mat<'_>) -> bool {
    let last = (m.rows - 1) * m.row_stride + (m.cols - 1) * m.col_stride;
    last < m.values.len() && (m.row_stride == 1 || m.col_stride == 1)
}

fn reserve<A: Arithmetic>(scratch: &mut Scratch, right: Right<'_>, n_columns: usize) {
    let by_rows = TILE_ROWS * Rows::<A>::ROW;
    grow(&mut scratch.left, by_rows.max(panel::<A>(BLOCK_K)));
    if let Right::Plain(_) = right {
        let n_panels = n_columns.min(BLOCK_COLUMNS).div_ceil(LANES);
        grow(&mut scratch.right, n_panels * panel::<A>(BLOCK_K));
    }
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
    cols: usize,
    /// Values from a row to the next.
    row: usize,
    /// Values from the columns of a panel to those of the next.
    column: usize,
    start: Start,
}

impl<'a> Sums<'a> {
    fn new(c: OperandMut<'a>) -> Self {
        let (rows, cols) = (c.rows(), c.cols());
        let (values, row, column) = match c {
            OperandMut::Rows(c) => (c.values, c.row_stride, LANES),
            OperandMut::Panels(c) => (bytemuck::cast_slice_mut(c.lines), LANES, c.stride * LANES),
        };
        let last = (rows - 1) * row + (cols - 1) / LANES * column + (cols - 1) % LANES;
        assert!(last < values.len(), "a result of {rows} × {cols} values");
        Self {
            values,
            rows,
            cols,
            row,
            column,
            start: Start::Zero,
        }
    }
}

/// Columns of a product over a run of `k`.
pub(super) struct Block {
    pub columns: Range<usize>,
    pub k: Range<usize>,
}

impl Block {
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
    /// The processor has AVX-512 F, BW and BF16, the ranges lie in the product, `a` is as [`check`] wants
    /// it, `left` has room for a tile, and `right` is as [`Source::at`] wants it.
    unsafe fn multiply<A: Arithmetic>(
        &self,
        c: &mut Sums<'_>,
        a: Left<'_>,
        left: *mut u32,
        right: Source<'_>,
    ) {
        // SAFETY: the rows lie in `a` and `c`, and there are at most as many as a tile has.
        unsafe {
            match a {
                Left::Rows(a) => {
                    for rows in even_tiles(c.rows) {
                        let tile = self.packed_tile::<A>(a, rows, left);
                        self.row_of_tiles::<A>(c, tile, right);
                    }
                }
                Left::Panels(a) => {
                    for rows in even_tiles(c.rows) {
                        let first = self.k.start / LANES * a.stride + rows.start;
                        let tile = LeftTile {
                            rows,
                            words: a.lines[first..].as_ptr().cast(),
                            run: a.stride * LANES,
                            most_panels: tile_panels,
                            kernel: kernel::<A, InPanels>,
                        };
                        self.row_of_tiles::<A>(c, tile, right);
                    }
                }
                Left::Transposed(a) => {
                    for first in (0..c.rows).step_by(COLUMN_ROWS) {
                        let line = &a.lines[first / LANES * a.stride + self.k.start..];
                        let words: *const u32 = line.as_ptr().cast();
                        let tile = LeftTile {
                            rows: first..(first + COLUMN_ROWS).min(c.rows),
                            words: words.add(first % LANES),
                            run: 0,
                            most_panels: |_| COLUMN_PANELS,
                            kernel: column_kernel,
                        };
                        self.row_of_tiles::<A>(c, tile, right);
                    }
                }
            }
        }
    }

    /// Packs the rows of `a`.
    ///
    /// # Safety
    /// As for [`multiply`](Self::multiply); there are at most [`TILE_ROWS`] rows.
    unsafe fn packed_tile<A: Arithmetic>(
        &self,
        a: Mat<'_>,
        rows: Range<usize>,
        left: *mut u32,
    ) -> LeftTile {
        let first = rows.start * a.row_stride + self.k.start * a.col_stride;
        let part = Part {
            values: a.values[first..].as_ptr(),
            n: rows.len(),
            k: self.k.len(),
            stride: a.row_stride,
            k_stride: a.col_stride,
        };
        // SAFETY: the caller's promise.
        let kernel: fn(usize, usize) -> Kernel = unsafe {
            if part.k_stride == 1 {
                A::pack_rows(left, part);
                kernel::<A, Rows<A>>
            } else {
                A::pack_panel(left, part);
                kernel::<A, Columns<A>>
            }
        };
        LeftTile {
            rows,
            words: left,
            run: 0,
            most_panels: tile_panels,
            kernel,
        }
    }

    /// # Safety
    /// As for [`multiply`](Self::multiply); the kernel reads the layout of the tile.
    unsafe fn row_of_tiles<A: Arithmetic>(
        &self,
        c: &mut Sums<'_>,
        left: LeftTile,
        right: Source<'_>,
    ) {
        let rows = left.rows.len();
        let most = (left.most_panels)(rows) * LANES;
        let mut column = self.columns.start;
        while column < self.columns.end {
            let width = most.min(self.columns.end - column).min(right.run(column));
            let n_panels = width.div_ceil(LANES);
            let in_last = width - (n_panels - 1) * LANES;
            // SAFETY: the caller's promise.
            let (b, panel) = unsafe { right.at::<A>(self, column, n_panels) };
            let first = left.rows.start * c.row + column / LANES * c.column;
            let tile = Tile {
                steps: self.k.len().div_ceil(A::STEP_K),
                a: left.words,
                a_run: left.run,
                b,
                panel,
                c: c.values[first..].as_mut_ptr(),
                row: c.row,
                column: c.column,
                mask: ((1u32 << in_last) - 1) as u16,
                start: c.start,
            };
            // SAFETY: the tile lies in `c` and its operands are where the kernel reads them.
            unsafe { (left.kernel)(rows, n_panels)(&tile) };
            column += width;
        }
    }
}

/// Some rows of the left operand.
struct LeftTile {
    rows: Range<usize>,
    words: *const u32,
    /// Words from a run of steps to the next.
    run: usize,
    /// Panels that so many rows are multiplied with at once.
    most_panels: fn(usize) -> usize,
    kernel: fn(usize, usize) -> Kernel,
}

/// The rows of tiles of equal height (give or take one): a low one at the end would be slow.
fn even_tiles(n_rows: usize) -> impl Iterator<Item = Range<usize>> {
    let n_tiles = n_rows.div_ceil(TILE_ROWS);
    (0..n_tiles).map(move |tile| tile * n_rows / n_tiles..(tile + 1) * n_rows / n_tiles)
}
