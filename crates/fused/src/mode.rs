//! What a pass is for, and what it gets.

use slimbed_rng::Seed;

/// Whether a forward pass trains or scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Training step `step`: dropout is on, its masks a function of seed, step and layer alone.
    Train {
        /// Seed of the run.
        seed: Seed,
        /// Number of the optimisation step, from 0.
        step: u64,
    },
    /// Scoring: nothing is random.
    Eval,
}

/// The inputs of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Number of samples.
    pub n: usize,
    /// `[n, n_dense]`.
    pub dense: &'a [f32],
    /// `[n, n_fields · dim]`.
    pub embeddings: &'a [f32],
    /// `[n, n_fields]`; empty where the network takes no first-order weights.
    pub first_order: &'a [f32],
}

/// The type in which products are computed; sums, parameters and everything else are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Operands rounded to bf16, sums in f32: mixed precision with f32 master weights.
    Bf16,
}
