//! What several benchmarks share.

mod floor;

pub use floor::{KAGGLE_LAYERS, MatrixVectorFloor};
