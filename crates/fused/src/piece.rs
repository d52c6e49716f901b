//! The computations that networks are made of.

/// Something a piece reads or writes: `[batch, width]` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub(crate) usize);

impl Value {
    /// The dense features, `[batch, n_dense]`.
    pub const DENSE: Self = Self(0);
    /// The embeddings, `[batch, n_fields · dim]`.
    pub const EMBEDDINGS: Self = Self(1);
    /// The first-order weights of the ids, `[batch, n_fields]`; of width 0 where the network takes none.
    pub const FIRST_ORDER: Self = Self(2);

    /// Its number; dense features 0, embeddings 1, first-order weights 2, then the outputs of the pieces in
    /// order.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What follows an affine layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing: logits.
    None,
    /// `max(z, 0)`, with gradient 0 at 0.
    Relu,
}

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
    pub fn n_partners(self, i: usize) -> usize {
        match self {
            Self::Exclude => i,
            Self::Include => i + 1,
        }
    }

    /// Number of pairs of `n_vectors` vectors.
    pub fn n_pairs(self, n_vectors: usize) -> usize {
        (0..n_vectors).map(|i| self.n_partners(i)).sum()
    }
}

/// `y = dropout(activation(x Wᵀ + b))`.
///
/// Shapes: `x` is `[batch, n_in]`, `W` `[n_out, n_in]` (as PyTorch stores it), `b` `[n_out]`. With
/// `n_vectors` vectors in a sample `x` is `[batch, n_vectors · n_in]`, and each goes through the same layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Name; its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// What it reads.
    pub input: Value,
    /// What it writes.
    pub output: Value,
    /// Width of a vector of the input.
    pub n_in: usize,
    /// Width of a vector of the output.
    pub n_out: usize,
    /// Vectors of a sample, each taken for itself; 1 for a layer over all of them.
    pub n_vectors: usize,
    /// Number of the weight among the parameters.
    pub weight: usize,
    /// Number of the bias among the parameters; a layer without has no activation either.
    pub bias: Option<usize>,
    /// What follows.
    pub activation: Activation,
    /// What is dropped behind it.
    pub dropout: Option<Dropout>,
}

/// Sets each entry to 0 with probability `rate` and divides the others by `1 − rate`, in training only.
///
/// Entry `i` of `[batch, width]` is kept when word `i` of the stream `purpose` of the step, as a uniform
/// number, is at least `rate`: a function of seed and step alone, so a resumed run draws the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// In `(0, 1)`.
    pub rate: f32,
    /// Name of the stream, `dropout/<layer>`; its index is the step.
    pub purpose: String,
}

/// `y = concat[x, Z]`, `Z` the products `⟨t_i, t_j⟩` of `T = [x; e_1; …; e_F]` in the order
/// `(1,0), (2,0), (2,1), …` (DLRM, arXiv 1906.00091, section 2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct DotInteraction {
    /// `[batch, dim]`.
    pub x: Value,
    /// What it writes, `[batch, dim + pairs]`.
    pub output: Value,
    /// Number of fields.
    pub n_fields: usize,
    /// Size of a vector.
    pub dim: usize,
    /// Whether vectors meet themselves.
    pub own: SelfInteraction,
}

/// `y = ½ Σ_d ((Σ_i e_id)² − Σ_i e_id²) = Σ_{i<j} ⟨e_i, e_j⟩` of the vectors of a sample: the second-order
/// term of factorisation machines (Rendle, ICDM 2010, lemma 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct SecondOrder {
    /// `[batch, n_vectors · dim]`.
    pub input: Value,
    /// What it writes, `[batch, 1]`.
    pub output: Value,
    /// Vectors of a sample.
    pub n_vectors: usize,
    /// Size of a vector.
    pub dim: usize,
}

/// `y = concat[x_1, …, x_n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// What it reads, in order.
    pub inputs: Vec<Value>,
    /// What it writes, as wide as all inputs together.
    pub output: Value,
}

/// `y = b + Σ_i Σ_j x_ij`: all numbers of all inputs of a sample, added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// What it reads.
    pub inputs: Vec<Value>,
    /// What it writes, `[batch, 1]`.
    pub output: Value,
    /// Number of the bias `[1]` among the parameters.
    pub bias: Option<usize>,
}

/// `y = x0 ⊙ z + x`, all of one width: with `z = W x + b` of a [`Linear`] the cross layer of DCN-V2 (arXiv
/// 2008.13535, equation 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Cross {
    /// The input of the first cross layer.
    pub x0: Value,
    /// The affine function of `x`.
    pub z: Value,
    /// The input of this layer.
    pub x: Value,
    /// What it writes.
    pub output: Value,
}

/// `y_m = relu(concat_h[Σ_k softmax_k(⟨q_m, k_k⟩) v_k] + r_m)` over the vectors of a sample: multi-head
/// self-attention with a residual (AutoInt, arXiv 1810.11921, equations 5 to 8).
///
/// A vector `m` of the input is `[q_m, k_m, v_m, r_m]`, each of `n_heads · head_dim` numbers, the heads side
/// by side: the products of one vector with the query, key, value and residual matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// `[batch, n_vectors · 4 · n_heads · head_dim]`.
    pub input: Value,
    /// What it writes, `[batch, n_vectors · n_heads · head_dim]`.
    pub output: Value,
    /// Vectors of a sample.
    pub n_vectors: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Numbers of a query of one head.
    pub head_dim: usize,
}

/// One computation.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// An affine layer.
    Linear(Linear),
    /// DLRM's interaction.
    DotInteraction(DotInteraction),
    /// The second-order term of factorisation machines.
    SecondOrder(SecondOrder),
    /// Values side by side.
    Concat(Concat),
    /// Values added up to one number.
    Sum(Sum),
    /// The gate of a cross layer.
    Cross(Cross),
    /// Self-attention over the vectors of a sample.
    Attention(Attention),
}

impl Piece {
    /// What it writes.
    pub fn output(&self) -> Value {
        match self {
            Self::Linear(piece) => piece.output,
            Self::DotInteraction(piece) => piece.output,
            Self::SecondOrder(piece) => piece.output,
            Self::Concat(piece) => piece.output,
            Self::Sum(piece) => piece.output,
            Self::Cross(piece) => piece.output,
            Self::Attention(piece) => piece.output,
        }
    }

    /// What it reads, in the order in which the gradients are written on the way back.
    pub fn inputs(&self) -> Vec<Value> {
        match self {
            Self::Linear(piece) => vec![piece.input],
            Self::DotInteraction(piece) => vec![piece.x, Value::EMBEDDINGS],
            Self::SecondOrder(piece) => vec![piece.input],
            Self::Concat(piece) => piece.inputs.clone(),
            Self::Sum(piece) => piece.inputs.clone(),
            Self::Cross(piece) => vec![piece.x0, piece.z, piece.x],
            Self::Attention(piece) => vec![piece.input],
        }
    }

    /// Whether it reads `value`.
    pub fn reads(&self, value: Value) -> bool {
        self.inputs().contains(&value)
    }

    /// Number and length of its bias among the parameters.
    pub(crate) fn bias(&self) -> Option<(usize, usize)> {
        match self {
            Self::Linear(piece) => piece.bias.map(|bias| (bias, piece.n_out)),
            Self::Sum(piece) => piece.bias.map(|bias| (bias, 1)),
            _ => None,
        }
    }
}
