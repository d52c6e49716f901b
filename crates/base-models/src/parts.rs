//! What several models share.

use slimbed_fused::{Activation, FusedError, Init, LinearInit, NetworkBuilder, Value};

/// The linear term of the dense features, parameter `linear.weight` `[1, n_dense]`; nothing without any.
pub fn linear_term(
    network: &mut NetworkBuilder,
    n_dense: usize,
) -> Result<Option<Value>, FusedError> {
    if n_dense == 0 {
        return Ok(None);
    }
    let term = network.projection("linear", Value::DENSE, 1, 1, Init::Zeros)?;
    Ok(Some(term))
}

/// The first-order weights of the ids, and the linear term of the dense features.
pub fn first_order_terms(
    network: &mut NetworkBuilder,
    n_dense: usize,
) -> Result<Vec<Value>, FusedError> {
    let weights = network.first_order();
    let linear = linear_term(network, n_dense)?;
    Ok(std::iter::once(weights).chain(linear).collect())
}

/// Dense features and flattened embeddings side by side.
pub fn features(network: &mut NetworkBuilder, n_dense: usize) -> Result<Value, FusedError> {
    match n_dense {
        0 => Ok(Value::EMBEDDINGS),
        _ => network.concat(&[Value::DENSE, Value::EMBEDDINGS]),
    }
}

/// An MLP down to one number: parameters `mlp.<i>.{weight,bias}`, dropout behind every hidden layer.
pub fn deep_term(
    network: &mut NetworkBuilder,
    input: Value,
    hidden: &[usize],
    dropout: f32,
) -> Result<Value, FusedError> {
    let widths = [hidden, &[1]].concat();
    let (init, last) = (LinearInit::Xavier, Activation::None);
    network.mlp("mlp", input, &widths, init, last, dropout)
}
