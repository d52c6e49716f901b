//! The product in plain code, for processors without AVX-512 BF16.

use super::{LANES, Line, Scratch};
use crate::matrix::{Mat, MatMut, Write};
use crate::simd::multiversion;

/// Lines of columns that are summed at once: sums enough to hide the latency of AVX2's multiply-adds.
const PANEL_LINES: usize = 4;

const PANEL: usize = PANEL_LINES * LANES;

/// `c = a·b` or `c += a·b`; shapes fit and are not empty.
pub(super) fn product(c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write, scratch: &mut Scratch) {
    let n_k = a.cols.next_multiple_of(2);
    let panel_lines = n_k * PANEL_LINES;
    let left = at_least(&mut scratch.left, n_k.div_ceil(LANES));
    let right = at_least(&mut scratch.right, c.cols.div_ceil(PANEL) * panel_lines);
    for (i, panel) in right.chunks_exact_mut(panel_lines).enumerate() {
        for k in 0..n_k {
            for j in 0..PANEL {
                let line = slot(k) * PANEL_LINES + j / LANES;
                panel[line].0[j % LANES] = word(b.t(), i * PANEL + j, k);
            }
        }
    }
    for (i, c) in c.each_row().enumerate() {
        if write == Write::Set {
            c.fill(0.0);
        }
        for k in 0..n_k {
            left[slot(k) / LANES].0[slot(k) % LANES] = word(a, i, k);
        }
        for (c, panel) in c.chunks_mut(PANEL).zip(right.chunks_exact(panel_lines)) {
            add(c, left, panel);
        }
    }
}

fn at_least(buffer: &mut Vec<Line>, n_lines: usize) -> &mut [Line] {
    buffer.resize(n_lines.max(buffer.len()), Line::default());
    &mut buffer[..n_lines]
}

/// Where `k` goes: the odd one of a pair comes first.
fn slot(k: usize) -> usize {
    k ^ 1
}

/// The bits of element `(i, k)`, rounded to bf16; zero outside the matrix.
fn word(m: Mat<'_>, i: usize, k: usize) -> u32 {
    if i < m.rows && k < m.cols {
        round(m.values[i * m.row_stride + k * m.col_stride])
    } else {
        0
    }
}

/// The bits of the bf16 next to `x`, as those of an f32: what `vcvtneps2bf16` does.
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        (bits | 0x0040_0000) & 0xffff_0000
    } else if x.is_subnormal() {
        bits & 0x8000_0000
    } else {
        // Half of the last place kept, less one unless that place is odd: ties go to the even one.
        (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000
    }
}

multiversion! {
    /// Adds a row of the left operand times a panel of the right one to `c`.
    fn add(c: &mut [f32], left: &[Line], panel: &[Line]) {
        let mut sums = [[0.0; LANES]; PANEL_LINES];
        sums.as_flattened_mut()[..c.len()].copy_from_slice(c);
        let (panel, _) = panel.as_chunks::<PANEL_LINES>();
        for (left, panel) in left.iter().zip(panel.chunks(LANES)) {
            for (&a, b) in left.0.iter().zip(panel) {
                let a = f32::from_bits(a);
                for (sums, b) in sums.iter_mut().zip(b) {
                    for (sum, &b) in sums.iter_mut().zip(&b.0) {
                        *sum = a.mul_add(f32::from_bits(b), *sum);
                    }
                }
            }
        }
        c.copy_from_slice(&sums.as_flattened()[..c.len()]);
    }
}
