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

/// Where a packed tile of the left operand has the words of a row and a step.
pub(super) trait Layout {
    /// From a row to the next.
    const ROW: usize;
    /// From a step to the next.
    const STEP: usize;
    /// From a step's first word to its second.
    const ODD: usize;
}

/// Row after row, all the first words of a row before the second ones.
pub(super) struct Rows<A>(A);

/// Step after step, like a panel of the right operand.
pub(super) struct Columns<A>(A);

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
    /// The packed rows of the left operand.
    pub a: *const u32,
    /// The packed panels of the right operand.
    pub b: *const u32,
    /// Words from a panel to the next.
    pub panel: usize,
    pub c: *mut f32,
    /// Values from a row of `c` to the next.
    pub row: usize,
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

/// The micro-kernel for a number of rows (at most [`TILE_ROWS`]) and panels (at most [`tile_panels`]).
pub(super) fn kernel<A: Arithmetic, L: Layout>(rows: usize, panels: usize) -> Kernel {
    macro_rules! row {
        ($m:literal: $($n:literal)*) => {
            [$(multiply::<A, L, $m, $n> as Kernel),*]
        };
    }
    macro_rules! table {
        ($($m:literal)*) => {
            [$(row!($m: 1 2)),*]
        };
    }
    let table: [[Kernel; TILE_PANELS]; TILE_ROWS] = table!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    match rows {
        1 => row!(1: 1 2 3 4 5 6 7 8)[panels - 1],
        2 => row!(2: 1 2 3 4)[panels - 1],
        3 => row!(3: 1 2 3 4)[panels - 1],
        _ => table[rows - 1][panels - 1],
    }
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
        let c = |i: usize, j: usize| tile.c.add(i * tile.row + j * LANES);
        if tile.start == Start::Values {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = _mm512_maskz_loadu_ps(mask(j), c(i, j));
                }
            }
        }
        for step in 0..tile.steps {
            // The odd word comes first, as in `vdpbf16ps`.
            for word in (0..A::WORDS).rev() {
                let a = tile.a.add(step * L::STEP + word * L::ODD);
                let b = tile.b.add((step * A::WORDS + word) * LANES);
                let b: [__m512i; N] =
                    std::array::from_fn(|j| _mm512_load_si512(b.add(j * tile.panel).cast()));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let a = _mm512_set1_epi32(*a.add(i * L::ROW) as i32);
                    for (acc, b) in acc.iter_mut().zip(b) {
                        *acc = A::multiply_add(*acc, a, b);
                    }
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, acc) in acc.iter().enumerate() {
                _mm512_mask_storeu_ps(c(i, j), mask(j), *acc);
            }
        }
    }
}
