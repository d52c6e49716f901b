//! DLRM's pairwise dot interaction.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::NnError;
use crate::cpu::values;

/// Whether the product of a vector with itself is among the pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfInteraction {
    /// Pairs `i > j` only (DLRM's default).
    Exclude,
    /// Pairs `i ≥ j`.
    Include,
}

impl SelfInteraction {
    /// Number of vectors `j` paired with vector `i`.
    fn n_partners(self, i: usize) -> usize {
        match self {
            Self::Exclude => i,
            Self::Include => i + 1,
        }
    }

    fn n_pairs(self, n_vectors: usize) -> usize {
        (0..n_vectors).map(|i| self.n_partners(i)).sum()
    }
}

/// Width of the result of [`dot_interaction`] for `n_fields` fields of size `dim`.
pub fn interaction_width(n_fields: usize, dim: usize, own: SelfInteraction) -> usize {
    dim + own.n_pairs(n_fields + 1)
}

/// `concat[x, Z]`, `Z` the products `⟨t_i, t_j⟩` of `T = [x; e_1; …; e_F]` in the order
/// `(1,0), (2,0), (2,1), …`.
///
/// Shapes: `x` is `[batch, dim]`, `embeddings` `[batch, F, dim]`, the result
/// `[batch, dim + (F + 1) F / 2]` (with self-interaction `dim + (F + 2)(F + 1) / 2`).
/// Source: DLRM (arXiv 1906.00091), section 2.1.
///
/// # Errors
/// When batch or dim of the two differ.
pub fn dot_interaction(
    x: &Tensor,
    embeddings: &Tensor,
    own: SelfInteraction,
) -> Result<Tensor, NnError> {
    let (batch, dim) = x.dims2()?;
    let (rows, _, width) = embeddings.dims3()?;
    if (rows, width) != (batch, dim) {
        return Err(NnError::Size {
            what: "embeddings in the interaction",
            expected: format!("[{batch}, fields, {dim}]"),
            found: format!("{:?}", embeddings.dims()),
        });
    }
    if !x.device().is_cpu() {
        return composed(x, embeddings, own);
    }
    Ok(x.contiguous()?
        .apply_op2(&embeddings.contiguous()?, DotInteraction { own })?)
}

/// The same from candle's ops, for any device; also the oracle of the tests.
fn composed(x: &Tensor, embeddings: &Tensor, own: SelfInteraction) -> Result<Tensor, NnError> {
    let t = Tensor::cat(&[&x.unsqueeze(1)?, embeddings], 1)?;
    let n = t.dim(1)?;
    let products = t
        .matmul(&t.transpose(1, 2)?.contiguous()?)?
        .flatten_from(1)?;
    let pairs: Vec<u32> = (0..n)
        .flat_map(|i| (0..own.n_partners(i)).map(move |j| (i * n + j) as u32))
        .collect();
    let pairs = Tensor::from_vec(pairs.clone(), pairs.len(), x.device())?;
    Ok(Tensor::cat(&[x, &products.index_select(&pairs, 1)?], 1)?)
}

#[derive(Clone, Copy)]
struct DotInteraction {
    own: SelfInteraction,
}

/// Sizes of one call.
#[derive(Clone, Copy)]
struct Dims {
    batch: usize,
    n_fields: usize,
    dim: usize,
    width: usize,
}

impl DotInteraction {
    fn dims(self, embeddings: &Layout) -> candle_core::Result<Dims> {
        let (batch, n_fields, dim) = embeddings.shape().dims3()?;
        let width = interaction_width(n_fields, dim, self.own);
        Ok(Dims {
            batch,
            n_fields,
            dim,
            width,
        })
    }
}

impl CustomOp2 for DotInteraction {
    fn name(&self) -> &'static str {
        "dot_interaction"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        e: &CpuStorage,
        e_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dims = self.dims(e_layout)?;
        let x = values(x, x_layout, self.name())?;
        let e = values(e, e_layout, self.name())?;
        let mut out = vec![0.0; dims.batch * dims.width];
        out.par_chunks_mut(dims.width)
            .enumerate()
            .for_each(|(b, out)| {
                let vectors = Vectors::of_sample(x, e, b, dims);
                vectors.interact(out, self.own);
            });
        Ok((CpuStorage::F32(out), Shape::from((dims.batch, dims.width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        e: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = InteractionGradient(*self);
        let both = x.apply_op3_no_bwd(e, &grad.contiguous()?, &gradient)?;
        let n_fields = e.dim(1)?;
        Ok((
            Some(both.narrow(1, 0, 1)?.squeeze(1)?),
            Some(both.narrow(1, 1, n_fields)?),
        ))
    }
}

/// Gradients of `x` and of the embeddings in one tensor `[batch, 1 + F, dim]`.
struct InteractionGradient(DotInteraction);

impl CustomOp3 for InteractionGradient {
    fn name(&self) -> &'static str {
        "dot_interaction_gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        e: &CpuStorage,
        e_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dims = self.0.dims(e_layout)?;
        let x = values(x, x_layout, self.name())?;
        let e = values(e, e_layout, self.name())?;
        let grad = values(grad, grad_layout, self.name())?;
        let sample = (1 + dims.n_fields) * dims.dim;
        let mut out = vec![0.0; dims.batch * sample];
        out.par_chunks_mut(sample).enumerate().for_each(|(b, out)| {
            let vectors = Vectors::of_sample(x, e, b, dims);
            vectors.differentiate(&grad[b * dims.width..][..dims.width], out, self.0.own);
        });
        Ok((
            CpuStorage::F32(out),
            Shape::from((dims.batch, 1 + dims.n_fields, dims.dim)),
        ))
    }
}

/// The vectors `[x; e_1; …; e_F]` of one sample, without copying them together.
#[derive(Clone, Copy)]
struct Vectors<'a> {
    x: &'a [f32],
    e: &'a [f32],
}

impl<'a> Vectors<'a> {
    fn of_sample(x: &'a [f32], e: &'a [f32], b: usize, dims: Dims) -> Self {
        let fields = dims.n_fields * dims.dim;
        Self {
            x: &x[b * dims.dim..][..dims.dim],
            e: &e[b * fields..][..fields],
        }
    }

    fn n(self) -> usize {
        1 + self.e.len() / self.x.len()
    }

    fn get(self, i: usize) -> &'a [f32] {
        let dim = self.x.len();
        if i == 0 {
            self.x
        } else {
            &self.e[(i - 1) * dim..][..dim]
        }
    }

    /// `out = concat[x, Z]`.
    fn interact(self, out: &mut [f32], own: SelfInteraction) {
        let (copy, mut pairs) = out.split_at_mut(self.x.len());
        copy.copy_from_slice(self.x);
        for i in 0..self.n() {
            let (row, rest) = pairs.split_at_mut(own.n_partners(i));
            for (j, z) in row.iter_mut().enumerate() {
                *z = dot(self.get(i), self.get(j));
            }
            pairs = rest;
        }
    }

    /// `∂L/∂t_i = Σ_{j<i} g_ij t_j + Σ_{j>i} g_ji t_j` (and twice `g_ii t_i` with self-interaction), plus
    /// for `x` the gradient of its copy.
    fn differentiate(self, grad: &[f32], out: &mut [f32], own: SelfInteraction) {
        let dim = self.x.len();
        let (copy, mut pairs) = grad.split_at(dim);
        out[..dim].copy_from_slice(copy);
        for i in 0..self.n() {
            let (row, rest) = pairs.split_at(own.n_partners(i));
            for (j, &g) in row.iter().enumerate() {
                add_scaled(&mut out[i * dim..][..dim], g, self.get(j));
                add_scaled(&mut out[j * dim..][..dim], g, self.get(i));
            }
            pairs = rest;
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

fn add_scaled(out: &mut [f32], scale: f32, v: &[f32]) {
    for (o, v) in out.iter_mut().zip(v) {
        *o += scale * v;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use slimbed_rng::Seed;

    use super::*;

    fn random(shape: &[usize], purpose: &str) -> Var {
        let mut values = vec![0.0; shape.iter().product()];
        Seed::new(1)
            .stream(purpose, 0)
            .fill_uniform(&mut values, 1.0);
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn hand_worked_sample() {
        let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu).unwrap();
        let e = Tensor::new(&[[[3f32, 4.0], [5.0, 6.0]]], &Device::Cpu).unwrap();
        let z = |own| -> Vec<f32> {
            dot_interaction(&x, &e, own)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap()
        };
        assert_eq!(z(SelfInteraction::Exclude), [1.0, 2.0, 11.0, 17.0, 39.0]);
        assert_eq!(
            z(SelfInteraction::Include),
            [1.0, 2.0, 5.0, 11.0, 25.0, 17.0, 39.0, 61.0]
        );
    }

    #[test]
    fn op_equals_the_composition_in_value_and_gradient() {
        for (own, batch, fields, dim) in [
            (SelfInteraction::Exclude, 3, 4, 5),
            (SelfInteraction::Include, 1, 2, 16),
            (SelfInteraction::Exclude, 7, 1, 1),
            (SelfInteraction::Include, 5, 26, 11),
        ] {
            let (x, e) = (
                random(&[batch, dim], "x"),
                random(&[batch, fields, dim], "e"),
            );
            let fast = dot_interaction(&x, &e, own).unwrap();
            let slow = composed(&x, &e, own).unwrap();
            let weights = random(fast.dims(), "weights");
            close(&fast, &slow);
            let backward = |y: &Tensor| {
                (y * weights.as_tensor())
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
            };
            let (fast, slow) = (backward(&fast).unwrap(), backward(&slow).unwrap());
            for var in [&x, &e] {
                close(fast.get(var).unwrap(), slow.get(var).unwrap());
            }
        }
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let (x, e) = (random(&[2, 3], "x"), random(&[2, 2, 3], "e"));
        let value = |x: &Tensor, e: &Tensor| -> f32 {
            let y = dot_interaction(x, e, SelfInteraction::Include).unwrap();
            y.sqr().unwrap().sum_all().unwrap().to_scalar().unwrap()
        };
        let y = dot_interaction(&x, &e, SelfInteraction::Include).unwrap();
        let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let grad: Vec<f32> = grads
            .get(&e)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let base: Vec<f32> = e.flatten_all().unwrap().to_vec1().unwrap();
        for i in 0..base.len() {
            let shifted = |step: f32| {
                let mut v = base.clone();
                v[i] += step;
                value(&x, &Tensor::from_vec(v, (2, 2, 3), &Device::Cpu).unwrap())
            };
            let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((numeric - grad[i]).abs() < 2e-2, "{numeric} != {}", grad[i]);
        }
    }

    #[test]
    fn shapes_are_checked() {
        let error = dot_interaction(
            &random(&[2, 3], "x"),
            &random(&[2, 2, 4], "e"),
            SelfInteraction::Exclude,
        );
        assert!(error.unwrap_err().to_string().contains("[2, fields, 3]"));
    }

    fn close(a: &Tensor, b: &Tensor) {
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-4);
    }
}
