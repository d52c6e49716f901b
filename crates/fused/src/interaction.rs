//! DLRM's pairwise dot interaction, sample by sample in registers.
//!
//! The products of a sample are `T Tᵀ` of its `n = F + 1` vectors. Forward, `T` is transposed once, so
//! that 16 products are one run of fused multiply-adds; backward, each vector's gradient is one run over
//! its partners. Sixteen lanes are one AVX-512 register; other processors use several.

use crate::buffer::Places;
use crate::lanes::{LANES, add, lanes, plus_scaled};
use crate::matrix::Write;
use crate::piece::DotInteraction;
use crate::simd::multiversion;

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
struct Dims {
    /// Vectors of a sample.
    n: usize,
    dim: usize,
    /// 1 when vectors meet themselves.
    own: usize,
    /// Products of a sample.
    n_pairs: usize,
}

impl Dims {
    fn new(piece: &DotInteraction) -> Self {
        let n = piece.n_fields + 1;
        Self {
            n,
            dim: piece.dim,
            own: piece.own.n_partners(0),
            n_pairs: piece.own.n_pairs(n),
        }
    }

    fn padded_n(self) -> usize {
        self.n.next_multiple_of(LANES)
    }

    fn padded_dim(self) -> usize {
        self.dim.next_multiple_of(LANES)
    }

    fn width(self) -> usize {
        self.dim + self.n_pairs
    }

    /// First product of vector `i` with its partners.
    fn row(self, i: usize) -> usize {
        i * (i + 1) / 2 - (1 - self.own) * i
    }
}

/// Writes `[rows, dim + pairs]` from `x` `[rows, dim]` and `embeddings` `[rows, F · dim]`; `scratch` is a
/// buffer to reuse.
pub fn dot_interaction(
    piece: &DotInteraction,
    x: &[f32],
    embeddings: &[f32],
    out: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let out = (out, Places::rows(Dims::new(piece).width()));
    interact(piece, x, embeddings, out, scratch);
}

/// [`dot_interaction`] with an output in any layout.
pub(crate) fn interact(
    piece: &DotInteraction,
    x: &[f32],
    embeddings: &[f32],
    out: (&mut [f32], Places),
    scratch: &mut Vec<f32>,
) {
    let dims = Dims::new(piece);
    let needed = dims.dim * dims.padded_n() + dims.width() + LANES;
    // Whatever is there goes into lanes that nobody reads.
    if scratch.len() < needed {
        scratch.resize(needed, 0.0);
    }
    forward_rows(dims, x, embeddings, out, scratch);
}

multiversion! {
    fn forward_rows(dims: Dims, x: &[f32], embeddings: &[f32], out: (&mut [f32], Places), scratch: &mut [f32]) {
        let (transposed, row) = scratch.split_at_mut(dims.dim * dims.padded_n());
        let samples = x.chunks_exact(dims.dim).zip(embeddings.chunks_exact((dims.n - 1) * dims.dim));
        for (sample, (x, e)) in samples.enumerate() {
            transpose(dims, x, e, transposed);
            let (copy, pairs) = row.split_at_mut(dims.dim);
            copy.copy_from_slice(x);
            let vectors = std::iter::once(x).chain(e.chunks_exact(dims.dim));
            for (i, vector) in vectors.enumerate() {
                products(vector, transposed, dims.padded_n(), i + dims.own, &mut pairs[dims.row(i)..]);
            }
            out.1.write_row(out.0, sample, &row[..dims.width()]);
        }
    }
}

#[inline(always)]
fn transpose(dims: Dims, x: &[f32], e: &[f32], out: &mut [f32]) {
    let stride = dims.padded_n();
    let vectors = std::iter::once(x).chain(e.chunks_exact(dims.dim));
    for (i, vector) in vectors.enumerate() {
        for (k, &v) in vector.iter().enumerate() {
            out[k * stride + i] = v;
        }
    }
}

/// The products of `vector` with the first `n` vectors; whole registers are written, so up to 15 places
/// behind them are overwritten too.
#[inline(always)]
fn products(vector: &[f32], transposed: &[f32], stride: usize, n: usize, out: &mut [f32]) {
    for first in (0..n).step_by(LANES) {
        let mut sums = [0f32; LANES];
        for (&v, row) in vector.iter().zip(transposed.chunks_exact(stride)) {
            sums = plus_scaled(sums, v, lanes(row, first));
        }
        out[first..first + LANES].copy_from_slice(&sums);
    }
}

/// Where the gradients of both inputs go, and whether something is there already.
pub struct InteractionGradients<'a> {
    /// Gradient of `x`, `[rows, dim]`.
    pub x: (&'a mut [f32], Write),
    /// Gradient of the embeddings, `[rows, F · dim]`.
    pub embeddings: (&'a mut [f32], Write),
}

/// Writes or adds the gradients of both inputs from that of the output, `[rows, dim + pairs]`:
/// `∂L/∂t_i = Σ_{j<i} g_ij t_j + Σ_{j>i} g_ji t_j` (and `2 g_ii t_i` with self-interaction), plus for `x`
/// the gradient of its copy.
pub fn dot_interaction_gradient(
    piece: &DotInteraction,
    x: &[f32],
    embeddings: &[f32],
    dy: &[f32],
    gradients: InteractionGradients<'_>,
    scratch: &mut Vec<f32>,
) {
    let dy = (dy, Places::rows(Dims::new(piece).width()));
    gradient_of_interaction(piece, x, embeddings, dy, gradients, scratch);
}

/// [`dot_interaction_gradient`] with the gradient of an output in any layout.
pub(crate) fn gradient_of_interaction(
    piece: &DotInteraction,
    x: &[f32],
    embeddings: &[f32],
    dy: (&[f32], Places),
    gradients: InteractionGradients<'_>,
    scratch: &mut Vec<f32>,
) {
    let dims = Dims::new(piece);
    scratch.clear();
    scratch.resize(dims.n * dims.padded_dim() + dims.width(), 0.0);
    backward_rows(dims, x, embeddings, dy, gradients, scratch);
}

multiversion! {
    fn backward_rows(
        dims: Dims,
        x: &[f32],
        embeddings: &[f32],
        dy: (&[f32], Places),
        gradients: InteractionGradients<'_>,
        scratch: &mut [f32],
    ) {
        let ((dx, write_x), (de, write_e)) = (gradients.x, gradients.embeddings);
        let (padded, row) = scratch.split_at_mut(dims.n * dims.padded_dim());
        let fields = (dims.n - 1) * dims.dim;
        let inputs = x.chunks_exact(dims.dim).zip(embeddings.chunks_exact(fields));
        let outputs = dx.chunks_exact_mut(dims.dim).zip(de.chunks_exact_mut(fields));
        for (sample, ((x, e), (dx, de))) in inputs.zip(outputs).enumerate() {
            pad(dims, x, e, padded);
            dy.1.read_row(dy.0, sample, row);
            let (copy, pairs) = row.split_at(dims.dim);
            let vectors = std::iter::once(&mut *dx).chain(de.chunks_exact_mut(dims.dim));
            for (i, out) in vectors.enumerate() {
                let write = if i == 0 { write_x } else { write_e };
                vector_gradient(dims, i, pairs, padded, out, write);
            }
            for (d, c) in dx.iter_mut().zip(copy) {
                *d += c;
            }
        }
    }
}

#[inline(always)]
fn pad(dims: Dims, x: &[f32], e: &[f32], out: &mut [f32]) {
    let vectors = std::iter::once(x).chain(e.chunks_exact(dims.dim));
    for (vector, out) in vectors.zip(out.chunks_exact_mut(dims.padded_dim())) {
        let (lines, rest) = vector.as_chunks::<LANES>();
        let (out, _) = out.as_chunks_mut::<LANES>();
        for (line, out) in lines.iter().zip(out.iter_mut()) {
            *out = *line;
        }
        if !rest.is_empty() {
            out[lines.len()][..rest.len()].copy_from_slice(rest);
        }
    }
}

#[inline(always)]
fn vector_gradient(
    dims: Dims,
    i: usize,
    pairs: &[f32],
    padded: &[f32],
    out: &mut [f32],
    write: Write,
) {
    let stride = dims.padded_dim();
    for (block, out) in out.chunks_mut(LANES).enumerate() {
        let first = block * LANES;
        let mut sums = [0f32; LANES];
        let vectors = padded.chunks_exact(stride);
        for (&g, vector) in pairs[dims.row(i)..][..i + dims.own].iter().zip(vectors) {
            sums = plus_scaled(sums, g, lanes(vector, first));
        }
        // Vector `j` stands at pair (j, i) for every later j, and at (i, i) once more.
        let later = i + 1 - dims.own;
        for (j, vector) in (later..dims.n).zip(padded[later * stride..].chunks_exact(stride)) {
            sums = plus_scaled(sums, pairs[dims.row(j) + i], lanes(vector, first));
        }
        match write {
            Write::Set => out.copy_from_slice(&sums[..out.len()]),
            Write::Add => add(sums, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slimbed_rng::Seed;

    use super::*;
    use crate::piece::{SelfInteraction, Value};

    fn piece(n_fields: usize, dim: usize, own: SelfInteraction) -> DotInteraction {
        DotInteraction {
            x: Value(2),
            output: Value(3),
            n_fields,
            dim,
            own,
        }
    }

    fn random(n: usize, purpose: &str) -> Vec<f32> {
        let mut values = vec![0.0; n];
        Seed::new(1)
            .stream(purpose, 0)
            .fill_uniform(&mut values, 1.0);
        values
    }

    /// Pairs `(i, j)` in the order of the output.
    fn pairs(p: &DotInteraction) -> Vec<(usize, usize)> {
        let row = |i| (0..p.own.n_partners(i)).map(move |j| (i, j));
        (0..=p.n_fields).flat_map(row).collect()
    }

    /// The definition for one sample: output, and the gradient of all its vectors.
    fn naive(p: &DotInteraction, x: &[f32], e: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let t: Vec<f32> = [x, e].concat();
        let at = |i: usize| &t[i * p.dim..][..p.dim];
        let dot =
            |(i, j): (usize, usize)| -> f32 { at(i).iter().zip(at(j)).map(|(a, b)| a * b).sum() };
        let out = x
            .iter()
            .copied()
            .chain(pairs(p).into_iter().map(dot))
            .collect();
        let mut gradient = vec![0.0; t.len()];
        gradient[..p.dim].copy_from_slice(&dy[..p.dim]);
        for ((i, j), g) in pairs(p).into_iter().zip(&dy[p.dim..]) {
            for k in 0..p.dim {
                gradient[i * p.dim + k] += g * at(j)[k];
                gradient[j * p.dim + k] += g * at(i)[k];
            }
        }
        (out, gradient)
    }

    #[test]
    fn hand_worked_sample() {
        let run = |own: SelfInteraction| {
            let p = piece(2, 2, own);
            let mut out = vec![0.0; 2 + own.n_pairs(3)];
            dot_interaction(
                &p,
                &[1.0, 2.0],
                &[3.0, 4.0, 5.0, 6.0],
                &mut out,
                &mut Vec::new(),
            );
            out
        };
        assert_eq!(run(SelfInteraction::Exclude), [1.0, 2.0, 11.0, 17.0, 39.0]);
        assert_eq!(
            run(SelfInteraction::Include),
            [1.0, 2.0, 5.0, 11.0, 25.0, 17.0, 39.0, 61.0]
        );
    }

    proptest! {
        #[test]
        fn equals_the_definition(rows in 0usize..4, fields in 1usize..30, dim in 1usize..40, own: bool) {
            let own = if own { SelfInteraction::Include } else { SelfInteraction::Exclude };
            let p = piece(fields, dim, own);
            let width = dim + own.n_pairs(fields + 1);
            let (x, e) = (random(rows * dim, "x"), random(rows * fields * dim, "e"));
            let dy = random(rows * width, "dy");
            let (mut out, mut scratch) = (vec![0.0; rows * width], Vec::new());
            dot_interaction(&p, &x, &e, &mut out, &mut scratch);
            let (mut dx, mut de) = (vec![9.0; x.len()], vec![9.0; e.len()]);
            let gradients = InteractionGradients { x: (&mut dx, Write::Set), embeddings: (&mut de, Write::Set) };
            dot_interaction_gradient(&p, &x, &e, &dy, gradients, &mut scratch);
            let again = InteractionGradients { x: (&mut dx, Write::Add), embeddings: (&mut de, Write::Add) };
            dot_interaction_gradient(&p, &x, &e, &dy, again, &mut scratch);
            for b in 0..rows {
                let cut = |v: &[f32], n: usize| v[b * n..][..n].to_vec();
                let (y, g) = naive(&p, &cut(&x, dim), &cut(&e, fields * dim), &cut(&dy, width));
                let twice = [cut(&dx, dim), cut(&de, fields * dim)].concat();
                let found: Vec<f32> = twice.iter().map(|g| g / 2.0).collect();
                for (found, expected) in cut(&out, width).iter().zip(&y).chain(found.iter().zip(&g)) {
                    prop_assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0));
                }
            }
        }
    }
}
