//! Initial values of dense parameters.

use slimbed_rng::Stream;

/// A distribution for the entries of a new parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// `U(-bound, bound)`.
    Uniform {
        /// Half the width of the interval.
        bound: f32,
    },
    /// `N(0, std²)`.
    Normal {
        /// Standard deviation.
        std: f32,
    },
}

impl Init {
    /// `n` values from `stream`.
    pub fn draw(self, n: usize, stream: &mut Stream) -> Vec<f32> {
        let mut values = vec![0.0; n];
        match self {
            Self::Zeros => {}
            Self::Uniform { bound } => stream.fill_uniform(&mut values, bound),
            Self::Normal { std } => stream.fill_normal(&mut values, std),
        }
        values
    }
}
