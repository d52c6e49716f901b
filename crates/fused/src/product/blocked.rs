//! Products in blocks, after Goto and van de Geijn (2008): the right operand packed block by block
//! into L2, the left one tile by tile into L1.

use std::ops::Range;

use super::kernel::{
    Arithmetic, BLOCK_K, Columns, Kernel, Layout, Rows, Start, TILE_PANELS, TILE_ROWS, Tile,
    kernel, tile_panels,
};
use super::pack::Part;
use super::{LANES, Line, Scratch, bf16_is_available};
use crate::matrix::{Mat, MatMut, Write};

/// Columns of a block of the right operand.
const BLOCK_COLUMNS: usize = 512;

/// A right operand.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    Plain(Mat<'a>),
    Packed(Parts<'a>),
}

/// Packed matrices side by side, each as [`pack`] left it.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// Columns of each but the last; a multiple of [`TILE_COLUMNS`] when there are several.
    pub width: usize,
    pub part: &'a dyn Fn(usize) -> &'a [Line],
}

/// Columns of a tile.
pub(super) const TILE_COLUMNS: usize = TILE_PANELS * LANES;

/// `c = a·b` or `c += a·b`; shapes fit and are not empty.
pub(super) fn product<A: Arithmetic>(
    c: MatMut<'_>,
    a: Mat<'_>,
    b: Right<'_>,
    write: Write,
    scratch: &mut Scratch,
) {
    assert!(bf16_is_available() && fits(a));
    assert!(c.cols <= c.row_stride && (c.rows - 1) * c.row_stride + c.cols <= c.values.len());
    match b {
        Right::Plain(b) => assert!(fits(b)),
        Right::Packed(parts) => {
            assert!(c.cols <= parts.width || parts.width.is_multiple_of(TILE_COLUMNS));
        }
    }
    reserve::<A>(scratch, b, c.cols);
    for block in blocks(a.cols, c.cols, block_k::<A>(a, b)) {
        // SAFETY: the processor has the instructions, the operands have all their elements, and the
        // buffers have room for a block and a tile.
        unsafe {
            let right = match b {
                Right::Plain(b) => {
                    let to = scratch.right.as_mut_ptr().cast();
                    block.pack::<A>(b, to);
                    Panels::Block(to)
                }
                Right::Packed(parts) => Panels::Parts(parts, a.cols),
            };
            let sums = Sums {
                values: &mut *c.values,
                rows: c.rows,
                row_stride: c.row_stride,
                start: match write {
                    Write::Set if block.k.start == 0 => Start::Zero,
                    _ => Start::Values,
                },
            };
            block.multiply::<A>(sums, a, scratch.left.as_mut_ptr().cast(), right);
        }
    }
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
fn block_k<A: Arithmetic>(a: Mat<'_>, b: Right<'_>) -> usize {
    match b {
        Right::Packed(_) if a.rows == 1 && a.col_stride == 1 && A::WORDS == 1 => {
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
            k: first..(first + block_k).min(k),
        })
    })
}

/// Where the packed panels of a block are.
#[derive(Clone, Copy)]
enum Panels<'a> {
    /// Those of the block alone, from its first column on.
    Block(*const u32),
    /// Those of all columns and all `k`, of which there are so many.
    Parts(Parts<'a>, usize),
}

impl Panels<'_> {
    /// Columns from `column` on whose panels are one after the other.
    fn run(&self, column: usize) -> usize {
        match self {
            Self::Block(_) => usize::MAX,
            Self::Parts(parts, _) => parts.width - column % parts.width,
        }
    }

    /// The first of `n` panels from a column of `block` on, and the words from one to the next.
    ///
    /// # Safety
    /// Those of [`Self::Block`] are the block's.
    unsafe fn at<A: Arithmetic>(
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
        }
    }
}

/// Words of a packed panel.
fn panel<A: Arithmetic>(k: usize) -> usize {
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
    row_stride: usize,
    start: Start,
}

/// Columns of a product over a run of `k`.
struct Block {
    columns: Range<usize>,
    k: Range<usize>,
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
    /// The processor has AVX-512 F, BW and BF16, the ranges lie in the product, `a` is as [`fits`] wants
    /// it, `c` has all its elements, `left` has room for a tile, and `right` is as [`Panels::at`] wants it.
    unsafe fn multiply<A: Arithmetic>(
        &self,
        mut c: Sums<'_>,
        a: Mat<'_>,
        left: *mut u32,
        right: Panels<'_>,
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
        right: Panels<'_>,
        kernel: fn(usize, usize) -> Kernel,
    ) {
        let (start, row) = (c.start, c.row_stride);
        let c = &mut c.values[rows.start * row..];
        let most = tile_panels(rows.len()) * LANES;
        let mut column = self.columns.start;
        while column < self.columns.end {
            let width = most.min(self.columns.end - column).min(right.run(column));
            let n_panels = width.div_ceil(LANES);
            let in_last = width - (n_panels - 1) * LANES;
            // SAFETY: the caller's promise.
            let (b, panel) = unsafe { right.at::<A>(self, column, n_panels) };
            let tile = Tile {
                steps: self.k.len().div_ceil(A::STEP_K),
                a: left,
                b,
                panel,
                c: c[column..].as_mut_ptr(),
                row,
                mask: ((1u32 << in_last) - 1) as u16,
                start,
            };
            // SAFETY: the tile lies in `c` and its operands are packed.
            unsafe { kernel(rows.len(), n_panels)(&tile) };
            column += width;
        }
    }
}
