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
    /// Fills `values` from `stream`.
    pub fn fill(self, values: &mut [f32], stream: &mut Stream) {
        match self {
            Self::Zeros => values.fill(0.0),
            Self::Uniform { bound } => stream.fill_uniform(values, bound),
            Self::Normal { std } => stream.fill_normal(values, std),
        }
    }
}

/// How the weight `[out, in]` and the bias `[out]` of a linear layer start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearInit {
    /// facebookresearch/dlrm: weight `N(0, 2 / (in + out))`, bias `N(0, 1 / out)`.
    Dlrm,
    /// PyTorch's default: both `U(-1/√in, 1/√in)`.
    PyTorch,
    /// Xavier (Glorot and Bengio 2010): weight `U(±√(6 / (in + out)))`, bias zero.
    Xavier,
}

impl LinearInit {
    /// The distributions of the weight and of the bias.
    pub fn weight_and_bias(self, n_in: usize, n_out: usize) -> (Init, Init) {
        let (fan_in, fan_out) = (n_in as f32, n_out as f32);
        let fans = fan_in + fan_out;
        let normal = |variance: f32| Init::Normal {
            std: variance.sqrt(),
        };
        let uniform = |bound| Init::Uniform { bound };
        match self {
            Self::Dlrm => (normal(2.0 / fans), normal(1.0 / fan_out)),
            Self::PyTorch => (uniform(1.0 / fan_in.sqrt()), uniform(1.0 / fan_in.sqrt())),
            Self::Xavier => (uniform((6.0 / fans).sqrt()), Init::Zeros),
        }
    }
}
