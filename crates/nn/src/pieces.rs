//! The pieces of a network, composed from candle's ops.

use candle_core::Tensor;
use slimbed_fused::{Activation, DotInteraction, Dropout, Linear, Mode};

use crate::{NnError, Params};

/// `dropout(activation(x Wᵀ + b))`.
pub fn linear(piece: &Linear, params: &Params, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
    let (weight, bias) = (params.tensor(piece.weight), params.tensor(piece.weight + 1));
    // A broadcast add would sum the bias gradient over the batch element by element; as a
    // product with ones it is a GEMM (fwd + bwd of 13-512-256-16 at B = 2048: 32 ms, not 59).
    let ones = Tensor::ones((x.dim(0)?, 1), x.dtype(), x.device())?;
    let bias = ones.matmul(&bias.unsqueeze(0)?)?;
    let z = (x.matmul(&weight.t()?)? + bias)?;
    let y = match piece.activation {
        Activation::None => z,
        Activation::Relu => z.relu()?,
    };
    match (&piece.dropout, mode) {
        (Some(dropout), Mode::Train { seed, step }) => {
            let mut stream = seed.stream(&dropout.purpose, step);
            let keep = |_| keep(dropout, stream.uniform());
            let mask: Vec<f32> = (0..y.elem_count()).map(keep).collect();
            Ok(y.mul(&Tensor::from_vec(mask, y.shape(), y.device())?)?)
        }
        _ => Ok(y),
    }
}

fn keep(dropout: &Dropout, uniform: f32) -> f32 {
    if uniform < dropout.rate {
        0.0
    } else {
        1.0 / (1.0 - dropout.rate)
    }
}

/// `concat[x, ⟨t_i, t_j⟩]`.
pub fn dot_interaction(
    piece: &DotInteraction,
    x: &Tensor,
    embeddings: &Tensor,
) -> Result<Tensor, NnError> {
    let embeddings = embeddings.reshape((x.dim(0)?, piece.n_fields, piece.dim))?;
    let t = Tensor::cat(&[&x.unsqueeze(1)?, &embeddings], 1)?;
    let n = t.dim(1)?;
    let products = t
        .matmul(&t.transpose(1, 2)?.contiguous()?)?
        .flatten_from(1)?;
    let pairs: Vec<u32> = (0..n)
        .flat_map(|i| (0..piece.own.n_partners(i)).map(move |j| (i * n + j) as u32))
        .collect();
    let n_pairs = pairs.len();
    let pairs = Tensor::from_vec(pairs, n_pairs, x.device())?;
    Ok(Tensor::cat(&[x, &products.index_select(&pairs, 1)?], 1)?)
}
