//! Products and functions of 32 rows side by side, to be compiled into the kernels.

use crate::net::PANEL;

/// One quantity of the rows of a panel.
pub type Line = [f32; PANEL];

/// Outputs computed together: their sums stay in registers.
pub const TILE: usize = 4;

/// `out[n] = Σ_k weights[k, n] · input[k]` for the lines of `out`, each handed to `write`;
/// `weights` has rows of `n_columns`.
#[inline(always)]
pub fn product(
    weights: &[f32],
    n_columns: usize,
    input: &[f32],
    out: &mut [f32],
    write: impl Fn(&Line, &mut Line),
) {
    let (input, _) = input.as_chunks::<PANEL>();
    let (out, _) = out.as_chunks_mut::<PANEL>();
    let mut n = 0;
    while n + TILE <= out.len() {
        let sums = tile::<TILE>(weights, n_columns, n, input);
        for (i, sum) in sums.iter().enumerate() {
            write(sum, &mut out[n + i]);
        }
        n += TILE;
    }
    for (n, out) in out.iter_mut().enumerate().skip(n) {
        write(&tile::<1>(weights, n_columns, n, input)[0], out);
    }
}

#[inline(always)]
fn tile<const N: usize>(
    weights: &[f32],
    n_columns: usize,
    first: usize,
    input: &[Line],
) -> [Line; N] {
    let mut sums = [[0.0; PANEL]; N];
    for (weights, input) in weights.chunks_exact(n_columns).zip(input) {
        let Some(weights) = weights[first..].first_chunk::<N>() else {
            continue;
        };
        // The lanes are the outer loop: as the inner one it would be unrolled before it is vectorised.
        for lane in 0..PANEL {
            let x = input[lane];
            for i in 0..N {
                sums[i][lane] = weights[i].mul_add(x, sums[i][lane]);
            }
        }
    }
    sums
}

/// The two sides of a weight's gradient in the tapes.
pub struct Operands<'a> {
    pub tapes: &'a [f32],
    pub panel_len: usize,
    /// Where the inputs start in a panel.
    pub x: usize,
    /// Where the gradients of the outputs start.
    pub dy: usize,
}

impl Operands<'_> {
    /// Writes `Σ x[k] · dy[n]` for a block of weights.
    #[inline(always)]
    pub fn write<const K: usize, const N: usize>(
        &self,
        k: usize,
        n: usize,
        n_out: usize,
        out: &mut [f32],
    ) {
        let mut sums = [[[0.0; PANEL]; N]; K];
        for tape in self.tapes.chunks_exact(self.panel_len) {
            let (x, _) = tape[self.x + k * PANEL..][..K * PANEL].as_chunks::<PANEL>();
            let (dy, _) = tape[self.dy + n * PANEL..][..N * PANEL].as_chunks::<PANEL>();
            let (Some(x), Some(dy)) = (x.first_chunk::<K>(), dy.first_chunk::<N>()) else {
                continue;
            };
            for lane in 0..PANEL {
                for i in 0..K {
                    for j in 0..N {
                        let sum = &mut sums[i][j][lane];
                        *sum = x[i][lane].mul_add(dy[j][lane], *sum);
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                out[(k + i) * n_out + n + j] = total(sum);
            }
        }
    }
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn total(lanes: &Line) -> f32 {
    let sixteen: [f32; 16] = std::array::from_fn(|i| lanes[i] + lanes[i + 16]);
    let eight: [f32; 8] = std::array::from_fn(|i| sixteen[i] + sixteen[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// `eˣ` to 2 units in the last place; the library's cannot be computed for several rows at once.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: a number of this size has its ones in its lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = (-n).mul_add(LN2_LOW, (-n).mul_add(LN2_HIGH, x));
    let mut sum = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = r.mul_add(sum, coefficient);
    }
    let power = (shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
    sum * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for i in -870..880 {
            let x = i as f32 * 0.1;
            let (found, expected) = (exp(x), x.exp());
            assert!((found / expected - 1.0).abs() < 3e-7, "{x}: {found}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e9) < 1e-37);
    }
}
