//! The pieces of a network, composed from candle's ops.

use candle_core::{D, Tensor};
use slimbed_fused::{
    Activation, Attention, DotInteraction, Dropout, Linear, Mode, Piece, SecondOrder, Sum, Value,
};

use crate::graph::Values;
use crate::{NnError, Params};

/// The output of a piece, `[batch, width]`.
pub fn piece(
    piece: &Piece,
    params: &Params,
    values: &Values,
    mode: Mode,
) -> Result<Tensor, NnError> {
    match piece {
        Piece::Linear(piece) => linear(piece, params, values.get(piece.input)?, mode),
        Piece::DotInteraction(piece) => {
            dot_interaction(piece, values.get(piece.x)?, values.get(Value::EMBEDDINGS)?)
        }
        Piece::SecondOrder(piece) => second_order(piece, values.get(piece.input)?),
        Piece::Concat(piece) => {
            let inputs = piece.inputs.iter().map(|&value| values.get(value));
            Ok(Tensor::cat(&inputs.collect::<Result<Vec<_>, _>>()?, 1)?)
        }
        Piece::Sum(piece) => sum(piece, params, values),
        Piece::Cross(piece) => {
            let gated = (values.get(piece.x0)? * values.get(piece.z)?)?;
            Ok((gated + values.get(piece.x)?)?)
        }
        Piece::Attention(piece) => attention(piece, values.get(piece.input)?),
    }
}

/// `dropout(activation(x Wᵀ + b))`.
fn linear(piece: &Linear, params: &Params, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
    let n = x.dim(0)?;
    let x = x.reshape((n * piece.n_vectors, piece.n_in))?;
    let mut z = x.matmul(&params.tensor(piece.weight).t()?)?;
    if let Some(bias) = piece.bias {
        // A broadcast add would sum the bias gradient over the batch element by element; as a
        // product with ones it is a GEMM (fwd + bwd of 13-512-256-16 at B = 2048: 32 ms, not 59).
        let ones = Tensor::ones((x.dim(0)?, 1), x.dtype(), x.device())?;
        z = (z + ones.matmul(&params.tensor(bias).unsqueeze(0)?)?)?;
    }
    let z = z.reshape((n, piece.n_vectors * piece.n_out))?;
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
fn dot_interaction(
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

/// `½ Σ_d ((Σ_i e_id)² − Σ_i e_id²)`.
fn second_order(piece: &SecondOrder, x: &Tensor) -> Result<Tensor, NnError> {
    let x = x.reshape((x.dim(0)?, piece.n_vectors, piece.dim))?;
    let terms = (x.sum(1)?.sqr()? - x.sqr()?.sum(1)?)?;
    Ok((terms.sum_keepdim(1)? * 0.5)?)
}

/// `b + Σ_i Σ_j x_ij`.
fn sum(piece: &Sum, params: &Params, values: &Values) -> Result<Tensor, NnError> {
    let inputs = piece.inputs.iter().map(|&value| values.get(value));
    let inputs = Tensor::cat(&inputs.collect::<Result<Vec<_>, _>>()?, 1)?;
    let sums = inputs.sum_keepdim(1)?;
    Ok(match piece.bias {
        Some(bias) => sums.broadcast_add(params.tensor(bias))?,
        None => sums,
    })
}

/// `relu(concat_h[softmax(Q Kᵀ) V] + R)`.
fn attention(piece: &Attention, x: &Tensor) -> Result<Tensor, NnError> {
    let (n, m) = (x.dim(0)?, piece.n_vectors);
    let (heads, dim) = (piece.n_heads, piece.head_dim);
    let x = x.reshape((n, m, 4, heads, dim))?;
    let part = |i: usize| x.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
    let (q, k, v, r) = (part(0)?, part(1)?, part(2)?, part(3)?);
    let scores = q.matmul(&k.transpose(2, 3)?.contiguous()?)?;
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    let y = (weights.matmul(&v)? + r)?.relu()?;
    let y = y.transpose(1, 2)?.contiguous()?;
    Ok(y.reshape((n, m * heads * dim))?)
}
