//! Operands as they are, laid out for the micro-kernel.

use std::arch::x86_64::*;

use super::super::LANES;
use super::super::kernel::{Exact, Layout, Rows};
use super::{Part, first, transpose};

/// Packs rows that have their `k` side by side, row after row.
///
/// # Safety
/// As for [`Arithmetic::pack_rows`](super::super::kernel::Arithmetic::pack_rows).
#[target_feature(enable = "avx512f,avx512bw")]
pub(in super::super) unsafe fn rows(to: *mut u32, part: Part) {
    for i in 0..part.n {
        for k in (0..part.k).step_by(LANES) {
            // SAFETY: the row lies in the part and in the room; the mask leaves out what lies behind it.
            unsafe {
                let from = part.values.add(i * part.stride + k);
                let values = _mm512_maskz_loadu_ps(first(part.k - k), from);
                _mm512_storeu_ps(to.add(i * Rows::<Exact>::ROW + k).cast(), values);
            }
        }
    }
}

/// Packs up to [`LANES`] rows or columns as a panel, one `k` after the other.
///
/// # Safety
/// As for [`Arithmetic::pack_panel`](super::super::kernel::Arithmetic::pack_panel).
#[target_feature(enable = "avx512f,avx512bw")]
pub(in super::super) unsafe fn panel(to: *mut u32, part: Part) {
    // SAFETY: the caller's promise.
    unsafe {
        if part.stride == 1 {
            side_by_side(to, part);
        } else {
            transposed(to, part);
        }
    }
}

/// # Safety
/// As for [`panel`], and `part.stride` is 1.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn side_by_side(to: *mut u32, part: Part) {
    let mask = first(part.n);
    for k in 0..part.k {
        // SAFETY: the mask leaves out what lies outside the part.
        unsafe {
            let values = _mm512_maskz_loadu_ps(mask, part.values.add(k * part.k_stride));
            _mm512_storeu_ps(to.add(k * LANES).cast(), values);
        }
    }
}

/// # Safety
/// As for [`panel`], and `part.k_stride` is 1.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn transposed(to: *mut u32, part: Part) {
    for k in (0..part.k).step_by(LANES) {
        let left = part.k - k;
        let mut square = [_mm512_setzero_si512(); LANES];
        for (j, row) in square.iter_mut().take(part.n).enumerate() {
            // SAFETY: the column lies in the part; the mask leaves out what lies behind it.
            let values =
                unsafe { _mm512_maskz_loadu_ps(first(left), part.values.add(j * part.stride + k)) };
            *row = _mm512_castps_si512(values);
        }
        for (i, &row) in transpose(square).iter().take(left).enumerate() {
            // SAFETY: the line lies in the panel.
            unsafe { _mm512_storeu_si512(to.add((k + i) * LANES).cast(), row) };
        }
    }
}
