//! One row, many of whose values are zero, times a packed matrix.
//!
//! Behind a ReLU half of the values and more are zero. A line of a panel holds what one value of the row is
//! multiplied with, so the lines of zeros need not be read: for a single sample the time is that of reading the
//! weights. What is left out would add zero, so all bits are those of the whole product.

use std::arch::x86_64::*;

use super::{LANES, Line};
use crate::panels::{Operand, OperandMut};

/// Panels whose sums are in registers at a time.
const PANELS: usize = 8;

/// Values between asking for lines and reading them.
const AHEAD: usize = 16;

/// The values of a row that are not zero.
#[derive(Debug, Default)]
pub(super) struct SparseRow {
    values: Vec<f32>,
    /// Where they stand.
    places: Vec<u32>,
    n: usize,
    /// Values of the row.
    k: usize,
    /// Whether the last tile of the matrix comes first.
    backwards: bool,
}

impl SparseRow {
    /// Makes room for rows of `k` values, and for 16 more that may be written.
    pub fn reserve(&mut self, k: usize) {
        if self.values.len() < k + LANES {
            self.values.resize(k + LANES, 0.0);
            self.places.resize(k + LANES, 0);
        }
    }

    /// Finds the values of the only row of `x` that are not zero.
    pub fn find(&mut self, x: Operand<'_>) {
        let k = x.cols();
        if let Operand::Rows(x) = x {
            assert_eq!(x.col_stride, 1, "values side by side");
        }
        self.reserve(k);
        (self.n, self.k) = (0, k);
        for first in (0..k).step_by(LANES) {
            let n = LANES.min(k - first);
            let values = match x {
                Operand::Rows(x) => &x.values[first..][..n],
                Operand::Panels(x) => {
                    let line = &x.lines[first / LANES * x.stride];
                    &bytemuck::cast_slice(std::slice::from_ref(line))[..n]
                }
            };
            // SAFETY: whoever multiplies packed lines has AVX-512; there is room for 16 behind any value.
            unsafe { self.push(values, first) };
        }
    }

    /// # Safety
    /// The processor has AVX-512 F, there are at most 16 values, and room for as many.
    #[target_feature(enable = "avx512f")]
    unsafe fn push(&mut self, values: &[f32], first: usize) {
        let all = ((1_u32 << values.len()) - 1) as u16;
        // SAFETY: masked to the values; the caller has room.
        unsafe {
            let x = _mm512_maskz_loadu_ps(all, values.as_ptr());
            let kept = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_ps());
            let count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let places = _mm512_add_epi32(count, _mm512_set1_epi32(first as i32));
            let to = self.values.as_mut_ptr().add(self.n);
            _mm512_storeu_ps(to, _mm512_maskz_compress_ps(kept, x));
            let to = self.places.as_mut_ptr().add(self.n);
            _mm512_storeu_epi32(to.cast(), _mm512_maskz_compress_epi32(kept, places));
            self.n += kept.count_ones() as usize;
        }
    }

    /// Writes the row that was found times the matrix that was packed to `lines`.
    pub fn product(&mut self, c: OperandMut<'_>, lines: &[Line]) {
        let (k, n_columns) = (self.k, c.cols());
        let n_panels = n_columns.div_ceil(LANES);
        assert!(lines.len() >= n_panels * k, "a packed matrix of {k} rows");
        let (out, column): (&mut [f32], usize) = match c {
            OperandMut::Rows(c) => (c.values, LANES),
            OperandMut::Panels(c) => (bytemuck::cast_slice_mut(c.lines), c.stride * LANES),
        };
        self.backwards = !self.backwards;
        let n_tiles = n_panels.div_ceil(PANELS);
        for i in 0..n_tiles {
            let panel = if self.backwards { n_tiles - 1 - i } else { i } * PANELS;
            let n = PANELS.min(n_panels - panel);
            let width = LANES.min(n_columns - (panel + n - 1) * LANES);
            let last = panel + n - 1;
            assert!(
                last * column + width <= out.len(),
                "room for {n_columns} columns"
            );
            let tile = Tile {
                b: lines[panel * k..].as_ptr(),
                panel: k,
                c: out[panel * column..].as_mut_ptr(),
                column,
                mask: ((1_u32 << width) - 1) as u16,
            };
            // SAFETY: whoever packed lines has AVX-512; the tile's panels and columns are there, and places
            // are below `k`.
            unsafe { self.tile(n, &tile) };
        }
    }

    /// # Safety
    /// The processor has AVX-512 F; the tile has `n` panels, at most [`PANELS`].
    unsafe fn tile(&self, n: usize, tile: &Tile) {
        // SAFETY: said above.
        unsafe {
            match n {
                1 => self.panels::<1>(tile),
                2 => self.panels::<2>(tile),
                3 => self.panels::<3>(tile),
                4 => self.panels::<4>(tile),
                5 => self.panels::<5>(tile),
                6 => self.panels::<6>(tile),
                7 => self.panels::<7>(tile),
                _ => self.panels::<PANELS>(tile),
            }
        }
    }

    /// # Safety
    /// As [`tile`](Self::tile).
    #[target_feature(enable = "avx512f")]
    unsafe fn panels<const N: usize>(&self, tile: &Tile) {
        let (places, values) = (&self.places[..self.n], &self.values[..self.n]);
        let mut sums = [_mm512_setzero_ps(); N];
        // SAFETY: said by the caller; what is asked for ahead may be anywhere.
        unsafe {
            for (i, (&place, &value)) in places.iter().zip(values).enumerate() {
                let next = *self.places.get_unchecked((i + AHEAD).min(self.n - 1));
                let (next, line) = (tile.b.add(next as usize), tile.b.add(place as usize));
                let x = _mm512_set1_ps(value);
                for (j, sum) in sums.iter_mut().enumerate() {
                    _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(j * tile.panel).cast());
                    let weights = _mm512_load_ps(line.add(j * tile.panel).cast());
                    *sum = _mm512_fmadd_ps(x, weights, *sum);
                }
            }
            for (j, sum) in sums.into_iter().enumerate() {
                let mask = if j + 1 < N { u16::MAX } else { tile.mask };
                _mm512_mask_storeu_ps(tile.c.add(j * tile.column), mask, sum);
            }
        }
    }
}

/// Some panels of the matrix, and where their columns go.
struct Tile {
    b: *const Line,
    /// Lines from a panel to the next.
    panel: usize,
    c: *mut f32,
    /// Values from the columns of a panel to those of the next.
    column: usize,
    /// The columns of the last panel.
    mask: u16,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Multiplier, bf16_is_available};
    use super::*;
    use crate::matrix::{Mat, MatMut, Write};
    use crate::mode::Precision;
    use crate::product::PackedMatrix;

    proptest! {
        #[test]
        fn bits_are_those_of_the_whole_product(
            k in 1usize..80, n in 1usize..300, kept in 0u32..8, seed: u64,
        ) {
            if !bf16_is_available() {
                return Ok(());
            }
            let mut stream = slimbed_rng::Seed::new(seed).stream("sparse", 0);
            let (mut x, mut b) = (vec![0.0; k], vec![0.0; k * n]);
            stream.fill_uniform(&mut x, 1.0);
            stream.fill_uniform(&mut b, 1.0);
            for x in &mut x {
                if stream.below(8) as u32 >= kept {
                    *x = 0.0;
                }
            }
            let packed = PackedMatrix::new(Precision::F32, Mat::row_major(&b, k, n));
            let (mut whole, mut sparse) = (vec![7.0; n], vec![7.0; n]);
            let row = Mat::row_major(&x, 1, k);
            let mut multiplier = Multiplier::new(Precision::F32);
            multiplier.product_packed(MatMut::row_major(&mut whole, 1, n), row, &packed, Write::Set);
            let mut found = SparseRow::default();
            found.find(Operand::Rows(row));
            let c = OperandMut::Rows(MatMut::row_major(&mut sparse, 1, n));
            found.product(c, packed.view().lines());
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&whole), bits(&sparse));
        }
    }
}
