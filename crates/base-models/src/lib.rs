//! The base models of the click-through literature beside DLRM, each a function that builds a
//! [`Network`](slimbed_fused::Network).
//!
//! With `w_i` the first-order weight of an id, `e_f` the embedding of field `f` and `x` the dense features:
//!
//! | model | logit |
//! |---|---|
//! | [`LrConfig`], logistic regression | `b + uᵀx + Σ_f e_f`, embeddings of one number |
//! | [`FmConfig`], factorisation machine (Rendle, ICDM 2010) | `b + uᵀx + Σ_f w_f + Σ_{f<g} ⟨e_f, e_g⟩` |
//! | [`WideDeepConfig`], Wide & Deep (arXiv 1606.07792) | `uᵀx + Σ_f w_f + MLP([x, e])` |
//! | [`DeepFmConfig`], DeepFM (arXiv 1703.04247) | `uᵀx + Σ_f w_f + Σ_{f<g} ⟨e_f, e_g⟩ + MLP([x, e])` |
//! | [`DcnV2Config`], DCN-V2 (arXiv 2008.13535) | `MLP(cross([x, e]))` or `linear([cross([x, e]), MLP([x, e])])` |
//! | [`AutoIntConfig`], AutoInt (arXiv 1810.11921) | `uᵀx + linear(attention(e))`, or that plus `MLP([x, e])` |
//!
//! The dense features stand in front of the flattened embeddings wherever a network reads `[x, e]`, and all but
//! DCN-V2, whose layers are linear in them anyway, add a linear term `uᵀx`. They have no embedding of their own, so that they
//! take no part in `⟨e_f, e_g⟩` and attention. Without dense features all that is theirs is left out.
//!
//! `Σ_f w_f` asks for a second table of a field, of one value for each id: the network's input
//! [`Value::FIRST_ORDER`](slimbed_fused::Value::FIRST_ORDER). Who computes a network, and where rows come from,
//! the models do not know.

mod autoint;
mod dcn;
mod deep;
mod linear;
mod parts;

pub use autoint::AutoIntConfig;
pub use dcn::{DcnStructure, DcnV2Config};
pub use deep::{DeepFmConfig, WideDeepConfig};
pub use linear::{FmConfig, LrConfig};

#[cfg(test)]
mod tests;
