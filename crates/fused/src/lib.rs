//! The dense network on the CPU: fused forward and backward passes over plain slices.
//!
//! - [`Network`]: what a model computes, as a list of pieces; built once per model, run by any executor.
//! - [`FusedNetwork`]: runs it here, without a tensor library. A thread takes a chunk of the batch
//!   through the whole network: products over weights packed once a step, bias, ReLU, dropout, interaction
//!   and loss by kernels of this crate with hand-written gradients.
//! - [`Forward`]: scores with finished weights, without anything that only training needs.
//! - [`DenseRule`], [`WeightDecay`]: the optimisers of the dense parameters.
//! - [`exp_of_negative`]: the exponential function with the same bits everywhere.
//! - [`Multiplier`], [`PackedMatrix`], [`product`], [`steady_product`]: the matrix products.
//!
//! A new piece is a variant of [`Piece`], its two kernels, and an arm in each executor; the compiler
//! names the places.

mod activations;
mod attention;
mod buffer;
mod chunk;
mod compose;
mod elementwise;
mod error;
mod exp;
mod forward;
mod fused_network;
mod init;
mod interaction;
mod lanes;
mod linear;
mod loss;
mod matrix;
mod mode;
mod network;
mod optim;
mod panels;
mod piece;
mod product;
mod second_order;
mod segments;
mod simd;
mod tensors;

pub use attention::{attention, attention_gradient};
pub use error::FusedError;
pub use exp::exp_of_negative;
pub use forward::{Forward, ForwardScratch};
pub use fused_network::FusedNetwork;
pub use init::{Init, LinearInit};
pub use interaction::{InteractionGradients, dot_interaction, dot_interaction_gradient};
pub use linear::{bias_activation, bias_activation_gradient};
pub use loss::bce_with_logits;
pub use matrix::{Mat, MatMut, Write};
pub use mode::{Inputs, Mode, Precision};
pub use network::{Network, NetworkBuilder, Param};
pub use optim::{DenseRule, FlatOptimizer, WeightDecay};
pub use piece::{
    Activation, Attention, Concat, Cross, DotInteraction, Dropout, Linear, Piece, SecondOrder,
    SelfInteraction, Sum, Value,
};
pub use product::{
    Multiplier, PackedMatrix, PackedParts, PackedView, bf16_is_available, product, steady_product,
};
pub use second_order::{second_order, second_order_gradient};
pub use tensors::{NamedTensor, OptimizerState};
