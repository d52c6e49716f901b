//! The dense network on the CPU: fused forward and backward passes over plain slices.

mod gemm;
mod matrix;

pub use gemm::product;
pub use matrix::{Mat, MatMut, Write};
