//! One row, many of whose values are zero, times a matrix laid out for it.
//!
//! Behind a ReLU half of the values and more are zero. A line holds what one value of the row is multiplied
//! with, so the lines of zeros need not be read: for a single sample the time is that of reading the
//! weights. What is left out would add zero, so all bits are those of the whole product.

use std::arch::x86_64::*;

use super::LANES;
use super::row_set::{RowView, Shape};
use crate::panels::{Operand, OperandMut};

/// The values of a row that are not zero.
#[derive(Debug, Default)]
pub(super) struct SparseRow {
    values: Vec<f32>,
    /// Where they stand.
    places: Vec<u32>,
    n: usize,
    /// Values of the row.
    k: usize,
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
        self.reserve(k);
        // Values from 16 to the next 16.
        let (values, stride): (&[f32], usize) = match x {
            Operand::Rows(x) => {
                assert_eq!(x.col_stride, 1, "values side by side");
                (x.values, LANES)
            }
            Operand::Panels(x) => (bytemuck::cast_slice(x.lines), x.stride * LANES),
        };
        if let Some(before) = k.checked_sub(1) {
            let last = before / LANES * stride + before % LANES;
            assert!(last < values.len(), "{k} values");
        }
        // SAFETY: whoever multiplies single rows has AVX-512; the values are there, with room for as many and
        // 16 more.
        unsafe { self.pick(values.as_ptr(), stride, k) };
    }

    /// # Safety
    /// The processor has AVX-512 F, there are `k` values, 16 every `stride`, and room for 16 more than `k`.
    #[target_feature(enable = "avx512f,popcnt")]
    unsafe fn pick(&mut self, x: *const f32, stride: usize, k: usize) {
        let count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let mut n = 0;
        for (i, first) in (0..k).step_by(LANES).enumerate() {
            let all = ((1_u32 << LANES.min(k - first)) - 1) as u16;
            // SAFETY: masked to the values; the caller has room.
            unsafe {
                let x = _mm512_maskz_loadu_ps(all, x.add(i * stride));
                let kept = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_ps());
                let places = _mm512_add_epi32(count, _mm512_set1_epi32(first as i32));
                let (values_to, places_to) = (self.values.as_mut_ptr(), self.places.as_mut_ptr());
                _mm512_storeu_ps(values_to.add(n), _mm512_maskz_compress_ps(kept, x));
                let places = _mm512_maskz_compress_epi32(kept, places);
                _mm512_storeu_epi32(places_to.add(n).cast(), places);
                n += kept.count_ones() as usize;
            }
        }
        (self.n, self.k) = (n, k);
    }

    /// Writes the row that was found times `b`.
    pub fn product(&self, c: OperandMut<'_>, b: RowView<'_>) {
        let shape = b.shape;
        let found = Shape {
            k: self.k,
            n: c.cols(),
        };
        assert_eq!(found, shape, "shapes of a product");
        assert_eq!(b.lines.len(), shape.n_lines(), "lines of {shape:?}");
        let (out, column): (&mut [f32], usize) = match c {
            OperandMut::Rows(c) => (c.values, LANES),
            OperandMut::Panels(c) => (bytemuck::cast_slice_mut(c.lines), c.stride * LANES),
        };
        for (panel, size) in shape.groups() {
            let last = panel + size - 1;
            let width = LANES.min(shape.n - last * LANES);
            let n_values = (size - 1) * column + width;
            let group = Group {
                b: b.lines[panel * shape.k..].as_ptr().cast(),
                c: out[panel * column..][..n_values].as_mut_ptr(),
                column,
                mask: ((1_u32 << width) - 1) as u16,
            };
            // SAFETY: whoever has lines for single rows has AVX-512; the group's lines are there, there is
            // room for its columns, and places are below `k`.
            unsafe { self.group(size, &group) };
        }
    }

    /// # Safety
    /// The processor has AVX-512 F; the group has `size` panels of `k` lines, one of the sizes there are.
    unsafe fn group(&self, size: usize, group: &Group) {
        // SAFETY: said above.
        unsafe {
            match size {
                1 => self.panels::<1>(group),
                2 => self.panels::<2>(group),
                4 => self.panels::<4>(group),
                8 => self.panels::<8>(group),
                16 => self.panels::<16>(group),
                _ => unreachable!("no group has {size} panels"),
            }
        }
    }

    /// # Safety
    /// As [`group`](Self::group).
    #[target_feature(enable = "avx512f")]
    unsafe fn panels<const N: usize>(&self, group: &Group) {
        let (places, values) = (&self.places[..self.n], &self.values[..self.n]);
        let mut sums = [_mm512_setzero_ps(); N];
        // SAFETY: said by the caller.
        unsafe {
            for (&place, &value) in places.iter().zip(values) {
                let row = group.b.add(place as usize * N * LANES);
                let x = _mm512_set1_ps(value);
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_fmadd_ps(x, _mm512_load_ps(row.add(j * LANES)), *sum);
                }
            }
            for (j, sum) in sums.into_iter().enumerate() {
                let mask = if j + 1 < N { u16::MAX } else { group.mask };
                _mm512_mask_storeu_ps(group.c.add(j * group.column), mask, sum);
            }
        }
    }
}

/// Some panels of the matrix, and where their columns go.
struct Group {
    b: *const f32,
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
    use crate::product::{PackedMatrix, RowSet};

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
            let b = Mat::row_major(&b, k, n);
            let packed = PackedMatrix::new(Precision::F32, b);
            let rows = RowSet::new(&[b]).unwrap().expect("AVX-512");
            let (mut whole, mut sparse) = (vec![7.0; n], vec![7.0; n]);
            let row = Mat::row_major(&x, 1, k);
            let mut multiplier = Multiplier::new(Precision::F32);
            multiplier.product_packed(MatMut::row_major(&mut whole, 1, n), row, &packed, Write::Set);
            let mut found = SparseRow::default();
            found.find(Operand::Rows(row));
            let c = OperandMut::Rows(MatMut::row_major(&mut sparse, 1, n));
            found.product(c, rows.view(0));
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&whole), bits(&sparse));
        }
    }
}
