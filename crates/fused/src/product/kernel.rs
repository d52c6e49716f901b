//! The micro-kernel: a tile of `c` in registers, over a block of `k`.

use std::arch::x86_64::*;

use super::LANES;
use super::pack::{Part, exact, rounded};

/// Values of `k` in a block. With 256, a tile of the left operand fits in L1 and a block of the right
/// one in L2; 512 is no faster.
pub(super) const BLOCK_K: usize = 256;

/// Most rows of a tile. 14 rows times two registers, two for the right operand and one for the left.
pub(super) const TILE_ROWS: usize = 14;

/// Panels (of [`LANES`] columns) of a tile, but where it has few rows.
pub(super) const TILE_PANELS: usize = 2;

/// Most panels of a tile of so many rows. A tile needs eight sums or more to keep both multipliers busy, so
/// that with few rows it has more panels; one row is then a product of a matrix and a vector that reads the
/// packed operand as fast as the L2 cache gives it.
pub(super) fn tile_panels(rows: usize) -> usize {
    match rows {
        1 => 8,
        2 | 3 => 4,
        _ => TILE_PANELS,
    }
}

/// What the words of packed operands are, and what is done with them.
pub(super) trait Arithmetic {
    /// Values of `k` in a step of the kernel.
    const STEP_K: usize;
    /// Words that a step takes: one f32, one of two bf16, or two f32.
    const WORDS: usize;
    /// Whether a word is an f32 as it is, so that a value in panels need not be packed.
    const IN_PLACE: bool = false;

    /// `acc + a·b` for a word.
    ///
    /// # Safety
    /// The processor has AVX-512 F and BF16.
    unsafe fn multiply_add(acc: __m512, a: __m512i, b: __m512i) -> __m512;

    /// Packs rows that have their `k` side by side, row after row.
    ///
    /// # Safety
    /// The processor has AVX-512 F, BW and BF16, `part` is readable, its `k_stride` is 1, and `to` has
    /// room for `part.n` rows.
    unsafe fn pack_rows(to: *mut u32, part: Part);

    /// Packs up to [`LANES`] rows or columns as a panel, step after step.
    ///
    /// # Safety
    /// The processor has AVX-512 F, BW and BF16, `part` is readable, one of its strides is 1, and `to`
    /// has room for a panel.
    unsafe fn pack_panel(to: *mut u32, part: Part);
}

/// Words are f32 as they are.
pub(super) struct Exact;

/// Words are f32 that were rounded to bf16.
pub(super) struct Fma;

/// Words are pairs of bf16.
pub(super) struct Dot;

impl Arithmetic for Exact {
    const STEP_K: usize = 1;
    const WORDS: usize = 1;
    const IN_PLACE: bool = true;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn multiply_add(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), acc)
    }

    unsafe fn pack_rows(to: *mut u32, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { exact::rows(to, part) }
    }

    unsafe fn pack_panel(to: *mut u32, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { exact::panel(to, part) }
    }
}

impl Arithmetic for Fma {
    const STEP_K: usize = 2;
    const WORDS: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn multiply_add(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), acc)
    }

    unsafe fn pack_rows(to: *mut u32, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { rounded::rows::<Self>(to, part) }
    }

    unsafe fn pack_panel(to: *mut u32, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { rounded::panel::<Self>(to, part) }
    }
}

impl Arithmetic for Dot {
    const STEP_K: usize = 2;
    const WORDS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn multiply_add(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: both types are 64 bytes without invalid values.
        let [a, b] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([a, b]) };
        _mm512_dpbf16_ps(acc, a, b)
    }

    unsafe fn pack_rows(to: *mut u32, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { rounded::rows::<Self>(to, part) }
    }

    unsafe fn pack_panel(to: *mut u32, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { rounded::panel::<Self>(to, part) }
    }
}

/// Where a tile of the left operand has the words of a row and a step.
pub(super) trait Layout {
    /// From a row to the next.
    const ROW: usize;
    /// From a step to the next.
    const STEP: usize;
    /// From a step's first word to its second.
    const ODD: usize;
    /// Steps that lie so; the next ones begin [`Tile::a_run`] words further on.
    const RUN: usize = usize::MAX;
}

/// Row after row, all the first words of a row before the second ones.
pub(super) struct Rows<A>(A);

/// Step after step, like a panel of the right operand.
pub(super) struct Columns<A>(A);

/// Rows of a value in panels: a line is 16 steps of a row.
pub(super) struct InPanels;

impl Layout for InPanels {
    const ROW: usize = LANES;
    const STEP: usize = 1;
    const ODD: usize = 0;
    const RUN: usize = LANES;
}

impl<A: Arithmetic> Layout for Rows<A> {
    /// A line more than needed, so that the rows do not all fall into the same set of the cache.
    const ROW: usize = A::WORDS * Self::ODD + LANES;
    const STEP: usize = 1;
    const ODD: usize = BLOCK_K / A::STEP_K;
}

impl<A: Arithmetic> Layout for Columns<A> {
    const ROW: usize = 1;
    const STEP: usize = A::WORDS * LANES;
    const ODD: usize = LANES;
}

/// A tile to be computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub steps: usize,
    /// The rows of the left operand.
    pub a: *const u32,
    /// Words from a run of steps to the next, for layouts that have several.
    pub a_run: usize,
    /// The packed panels of the right operand.
    pub b: *const u32,
    /// Words from a panel to the next.
    pub panel: usize,
    pub c: *mut f32,
    /// Values from a row of `c` to the next.
    pub row: usize,
    /// Values from the columns of a panel to those of the next.
    pub column: usize,
    /// The columns that `c` has in the last panel.
    pub mask: __mmask16,
    /// Whether the sums start from what `c` has, or from 0.
    pub start: Start,
}

/// Where sums start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Zero,
    Values,
}

/// A micro-kernel.
pub(super) type Kernel = unsafe fn(&Tile);

/// The micro-kernels of an arithmetic and a layout of the left operand.
struct Kernels<A, L>(A, L);

macro_rules! row {
    ($m:literal: $($n:literal)*) => {
        [$(multiply::<A, L, $m, $n> as Kernel),*]
    };
}

macro_rules! rows {
    ($($m:literal)*) => {
        [$(row!($m: 1 2)),*]
    };
}

impl<A: Arithmetic, L: Layout> Kernels<A, L> {
    const ONE_ROW: [Kernel; 8] = row!(1: 1 2 3 4 5 6 7 8);
    const TWO_ROWS: [Kernel; 4] = row!(2: 1 2 3 4);
    const THREE_ROWS: [Kernel; 4] = row!(3: 1 2 3 4);
    const MORE: [[Kernel; TILE_PANELS]; TILE_ROWS - 3] = rows!(4 5 6 7 8 9 10 11 12 13 14);
}

/// The micro-kernel for a number of rows (at most [`TILE_ROWS`]) and panels (at most [`tile_panels`]).
pub(super) fn kernel<A: Arithmetic, L: Layout>(rows: usize, panels: usize) -> Kernel {
    match rows {
        1 => Kernels::<A, L>::ONE_ROW[panels - 1],
        2 => Kernels::<A, L>::TWO_ROWS[panels - 1],
        3 => Kernels::<A, L>::THREE_ROWS[panels - 1],
        _ => Kernels::<A, L>::MORE[rows - 4][panels - 1],
    }
}

/// Rows of a tile whose left operand is a value in panels, transposed: half a line, so that no tile lies in
/// two panels.
pub(super) const COLUMN_ROWS: usize = 8;

/// Panels of such a tile.
pub(super) const COLUMN_PANELS: usize = 3;

/// As [`kernel`], for at most [`COLUMN_ROWS`] rows and [`COLUMN_PANELS`] panels, the left operand step after step.
pub(super) fn column_kernel(rows: usize, panels: usize) -> Kernel {
    type A = Exact;
    type L = Columns<Exact>;
    const KERNELS: [[Kernel; COLUMN_PANELS]; COLUMN_ROWS] = [
        row!(1: 1 2 3),
        row!(2: 1 2 3),
        row!(3: 1 2 3),
        row!(4: 1 2 3),
        row!(5: 1 2 3),
        row!(6: 1 2 3),
        row!(7: 1 2 3),
        row!(8: 1 2 3),
    ];
    KERNELS[rows - 1][panels - 1]
}

/// Computes a tile of `M` rows and `N` panels.
///
/// # Safety
/// The processor has AVX-512 F, BW and BF16; `a` and `b` have `tile.steps` steps in layout `L` and in
/// panels, and `c` the `M` rows and the columns that the mask names.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn multiply<A: Arithmetic, L: Layout, const M: usize, const N: usize>(tile: &Tile) {
    let mask = |j: usize| if j + 1 < N { 0xffff } else { tile.mask };
    let mut acc = [[_mm512_setzero_ps(); N]; M];
    // SAFETY: all places lie in the tile's operands, which the caller vouches for.
    unsafe {
        let c = |i: usize, j: usize| tile.c.add(i * tile.row + j * tile.column);
        if tile.start == Start::Values {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = _mm512_maskz_loadu_ps(mask(j), c(i, j));
                }
            }
        }
        let (mut run_a, mut run_b, mut left) = (tile.a, tile.b, tile.steps);
        while left > 0 {
            let steps = left.min(L::RUN);
            for step in 0..steps {
                // The odd word comes first, as in `vdpbf16ps`.
                for word in (0..A::WORDS).rev() {
                    let a = run_a.add(step * L::STEP + word * L::ODD);
                    let b = run_b.add((step * A::WORDS + word) * LANES);
                    // Not `from_fn`, which is not always inlined.
                    let mut columns = [_mm512_setzero_si512(); N];
                    for (j, column) in columns.iter_mut().enumerate() {
                        *column = _mm512_load_si512(b.add(j * tile.panel).cast());
                    }
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let a = _mm512_set1_epi32(*a.add(i * L::ROW) as i32);
                        for (acc, b) in acc.iter_mut().zip(columns) {
                            *acc = A::multiply_add(*acc, a, b);
                        }
                    }
                }
            }
            left -= steps;
            if left > 0 {
                run_a = run_a.add(tile.a_run);
                run_b = run_b.add(steps * A::WORDS * LANES);
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, acc) in acc.iter().enumerate() {
                _mm512_mask_storeu_ps(c(i, j), mask(j), *acc);
            }
        }
    }
}
