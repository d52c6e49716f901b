//! Optimisers of the dense parameters over one flat vector, with state that can be saved.

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::simd::multiversion;
use crate::{FusedError, NamedTensor, OptimizerState};

/// The update rule; `g` is the gradient, `t` the number of the step from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DenseRule {
    /// `w ← w − lr·g`.
    Sgd,
    /// `a ← a + g²`, `w ← w − lr·g / (√a + eps)`, as PyTorch with initial accumulator 0.
    Adagrad {
        /// Added to the root; PyTorch uses 1e-10.
        eps: f64,
    },
    /// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `w ← w − lr·m̂ / (√v̂ + eps)` with
    /// `m̂ = m / (1−β₁ᵗ)`, `v̂ = v / (1−β₂ᵗ)` (arXiv 1412.6980).
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root.
        eps: f64,
    },
}

impl DenseRule {
    /// Adam with β = (0.9, 0.999) and eps = 1e-8.
    pub const ADAM: Self = Self::Adam {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
    };
    /// Adagrad with eps = 1e-10.
    pub const ADAGRAD: Self = Self::Adagrad { eps: 1e-10 };

    /// Names of the values it keeps for each parameter.
    pub fn slots(self) -> &'static [&'static str] {
        match self {
            Self::Sgd => &[],
            Self::Adagrad { .. } => &["sum"],
            Self::Adam { .. } => &["m", "v"],
        }
    }
}

/// How weight decay enters the update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WeightDecay {
    /// No decay.
    None,
    /// `g ← g + λw`: PyTorch's `weight_decay` of SGD and Adam; inside Adam's normalisation.
    Coupled {
        /// The coefficient λ.
        lambda: f64,
    },
    /// `w ← w − lr·λ·w` apart from the rule (AdamW, arXiv 1711.05101).
    Decoupled {
        /// The coefficient λ.
        lambda: f64,
    },
}

/// One optimiser over a flat vector of parameters.
#[derive(Clone, Debug)]
pub struct FlatOptimizer {
    rule: DenseRule,
    weight_decay: WeightDecay,
    step: u64,
    /// One flat vector per slot of the rule.
    slots: Vec<Vec<f32>>,
}

/// Most values that a rule keeps for a parameter.
pub(crate) const MAX_SLOTS: usize = 2;

/// One step's update of any run of the parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    now: Now,
    rule: Rule,
}

/// A rule with its constants on one step.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Sgd,
    Adagrad { eps: f32 },
    Adam(Adam),
}

impl Update {
    /// Updates parameters from their gradients and state.
    pub fn apply(&self, w: &mut [f32], g: &[f32], [first, second]: [&mut [f32]; MAX_SLOTS]) {
        match self.rule {
            Rule::Sgd => sgd(w, g, self.now),
            Rule::Adagrad { eps } => adagrad(w, g, first, self.now, eps),
            Rule::Adam(adam) => adam_step(w, g, first, second, self.now, adam),
        }
    }
}

/// What all parameters of one step share.
#[derive(Clone, Copy, Debug)]
struct Now {
    lr: f32,
    scale: f32,
    /// Added to the gradient per unit of weight.
    coupled: f32,
    /// Factor of the weights.
    decoupled: f32,
}

impl FlatOptimizer {
    /// An optimiser at step 0 for `n_params` parameters.
    pub fn new(n_params: usize, rule: DenseRule, weight_decay: WeightDecay) -> Self {
        let slots = rule.slots().iter().map(|_| vec![0.0; n_params]);
        Self {
            rule,
            weight_decay,
            step: 0,
            slots: slots.collect(),
        }
    }

    /// One step of all parameters `w` with their gradients `g` times `scale`; as many as there are.
    pub fn step(&mut self, w: &mut [f32], g: &[f32], lr: f64, scale: f64) {
        self.begin(lr, scale).apply(w, g, self.slots());
    }

    /// One step of all parameters `w`, run after run of as many as `gradient` holds, which `fill` writes for the
    /// run that begins at a parameter: for gradients that should not be in memory all at once.
    pub fn step_in_runs(
        &mut self,
        w: &mut [f32],
        gradient: &mut [f32],
        lr: f64,
        scale: f64,
        mut fill: impl FnMut(usize, &mut [f32]),
    ) {
        let update = self.begin(lr, scale);
        let mut slots = self.slots();
        let len = gradient.len().max(1);
        for (i, w) in w.chunks_mut(len).enumerate() {
            let gradient = &mut gradient[..w.len()];
            fill(i * len, gradient);
            let run = slots.each_mut().map(|slot| {
                let n = w.len().min(slot.len());
                let (run, rest) = std::mem::take(slot).split_at_mut(n);
                *slot = rest;
                run
            });
            update.apply(w, gradient, run);
        }
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.step
    }

    /// The values it keeps, a vector for each of [`DenseRule::slots`].
    pub fn kept(&self) -> &[Vec<f32>] {
        &self.slots
    }

    /// Goes on after `n_steps` steps with the values that were kept then, [`kept`](Self::kept) in order;
    /// false, and nothing is changed, when they are not as many.
    #[must_use]
    pub fn resume(&mut self, n_steps: u64, kept: &[&[f32]]) -> bool {
        let lengths = self.slots.iter().map(Vec::len);
        if !lengths.eq(kept.iter().map(|values| values.len())) {
            return false;
        }
        for (slot, values) in self.slots.iter_mut().zip(kept) {
            slot.copy_from_slice(values);
        }
        self.step = n_steps;
        true
    }

    /// Begins the next step, whose gradients are to be multiplied by `scale`.
    pub(crate) fn begin(&mut self, lr: f64, scale: f64) -> Update {
        self.step += 1;
        Update {
            now: self.now(lr, scale),
            rule: match self.rule {
                DenseRule::Sgd => Rule::Sgd,
                DenseRule::Adagrad { eps } => Rule::Adagrad { eps: eps as f32 },
                DenseRule::Adam { beta1, beta2, eps } => {
                    Rule::Adam(Adam::new(beta1, beta2, eps, self.step))
                }
            },
        }
    }

    /// The state, a flat vector per slot; empty for slots that the rule does not have.
    pub(crate) fn slots(&mut self) -> [&mut [f32]; MAX_SLOTS] {
        let mut slots = self.slots.iter_mut();
        std::array::from_fn(|_| slots.next().map(Vec::as_mut_slice).unwrap_or_default())
    }

    fn now(&self, lr: f64, scale: f64) -> Now {
        let (coupled, decoupled) = match self.weight_decay {
            WeightDecay::None => (0.0, 1.0),
            WeightDecay::Coupled { lambda } => (lambda, 1.0),
            WeightDecay::Decoupled { lambda } => (0.0, 1.0 - lr * lambda),
        };
        Now {
            lr: lr as f32,
            scale: scale as f32,
            coupled: coupled as f32,
            decoupled: decoupled as f32,
        }
    }

    /// Copies the state out.
    pub(crate) fn export(&self, network: &Network) -> OptimizerState {
        let mut tensors = Vec::new();
        for param in network.params() {
            for (slot, values) in self.rule.slots().iter().zip(&self.slots) {
                tensors.push(NamedTensor {
                    name: format!("{}/{slot}", param.name),
                    shape: param.shape.clone(),
                    values: values[param.range()].to_vec(),
                });
            }
        }
        OptimizerState {
            step: self.step,
            tensors,
        }
    }

    /// Goes on from a saved state; nothing is changed on an error.
    pub(crate) fn import(
        &mut self,
        network: &Network,
        state: &OptimizerState,
    ) -> Result<(), FusedError> {
        let mut slots = self.slots.clone();
        for param in network.params() {
            for (slot, values) in self.rule.slots().iter().zip(&mut slots) {
                let name = format!("{}/{slot}", param.name);
                let saved = NamedTensor::find(&state.tensors, &name, &param.shape)?;
                values[param.range()].copy_from_slice(&saved.values);
            }
        }
        self.slots = slots;
        self.step = state.step;
        Ok(())
    }
}

impl Now {
    #[inline(always)]
    fn gradient(self, w: f32, g: f32) -> f32 {
        self.coupled.mul_add(w, g * self.scale)
    }
}

multiversion! {
    fn sgd(w: &mut [f32], g: &[f32], now: Now) {
        for (w, &g) in w.iter_mut().zip(g) {
            *w = (-now.lr).mul_add(now.gradient(*w, g), *w * now.decoupled);
        }
    }
}

multiversion! {
    fn adagrad(w: &mut [f32], g: &[f32], sum: &mut [f32], now: Now, eps: f32) {
        for ((w, &g), sum) in w.iter_mut().zip(g).zip(sum) {
            let g = now.gradient(*w, g);
            *sum = g.mul_add(g, *sum);
            *w = (-now.lr).mul_add(g / (sum.sqrt() + eps), *w * now.decoupled);
        }
    }
}

/// Adam's constants on one step.
#[derive(Clone, Copy, Debug)]
struct Adam {
    beta1: f32,
    beta2: f32,
    /// `1 − β`, taken in f64: in f32 the second would be off by 1e-5.
    rest1: f32,
    rest2: f32,
    eps: f32,
    /// `1 / (1 − β₁ᵗ)` and `1 / (1 − β₂ᵗ)`.
    correction1: f32,
    correction2: f32,
}

impl Adam {
    fn new(beta1: f64, beta2: f64, eps: f64, step: u64) -> Self {
        let correction = |beta: f64| (1.0 / (1.0 - beta.powf(step as f64))) as f32;
        Self {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            eps: eps as f32,
            correction1: correction(beta1),
            correction2: correction(beta2),
        }
    }
}

multiversion! {
    fn adam_step(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], now: Now, adam: Adam) {
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = now.gradient(*w, g);
            *m = adam.beta1.mul_add(*m, adam.rest1 * g);
            *v = adam.beta2.mul_add(*v, adam.rest2 * g * g);
            let root = (*v * adam.correction2).sqrt() + adam.eps;
            let update = *m * adam.correction1 / root;
            *w = (-now.lr).mul_add(update, *w * now.decoupled);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    const W: [f32; 8] = [0.5, -1.0, 2.0, 0.25, 0.0, -0.75, 0.1, -0.2];

    /// The gradients of `tests/fixtures/make_optim.py`: of six weights, then of two biases.
    fn gradient(step: usize) -> Vec<f32> {
        let g = |i: usize| (i as f32 * 0.3 - 0.4 * step as f32).sin();
        (0..6).chain(0..2).map(g).collect()
    }

    fn cases() -> Vec<(&'static str, DenseRule, WeightDecay)> {
        let coupled = WeightDecay::Coupled { lambda: 0.1 };
        let decoupled = WeightDecay::Decoupled { lambda: 0.1 };
        vec![
            ("sgd", DenseRule::Sgd, WeightDecay::None),
            ("sgd coupled", DenseRule::Sgd, coupled),
            ("adagrad", DenseRule::ADAGRAD, WeightDecay::None),
            ("adam", DenseRule::ADAM, WeightDecay::None),
            ("adam coupled", DenseRule::ADAM, coupled),
            ("adam decoupled", DenseRule::ADAM, decoupled),
        ]
    }

    #[test]
    fn five_steps_agree_with_pytorch() {
        let fixture: Json =
            serde_json::from_str(include_str!("../tests/fixtures/optim.json")).unwrap();
        let lr = fixture["lr"].as_f64().unwrap();
        for (name, rule, decay) in cases() {
            let mut params = W;
            let mut optimizer = FlatOptimizer::new(8, rule, decay);
            for step in 0..5 {
                let update = optimizer.begin(lr, 1.0);
                update.apply(&mut params, &gradient(step), optimizer.slots());
            }
            let case = &fixture["cases"][name];
            let expected = ["w", "b"].map(|tensor| case[tensor].as_array().unwrap());
            for (found, expected) in params.iter().zip(expected.into_iter().flatten()) {
                let expected = expected.as_f64().unwrap() as f32;
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{name}: {found} != {expected}"
                );
            }
        }
    }

    #[test]
    fn the_scale_multiplies_the_gradient() {
        let (mut params, g) = (W, gradient(0));
        let mut optimizer = FlatOptimizer::new(8, DenseRule::Sgd, WeightDecay::None);
        let update = optimizer.begin(1.0, 0.5);
        update.apply(&mut params, &g, optimizer.slots());
        assert_eq!(params[1], W[1] - 0.5 * g[1]);
    }
}
