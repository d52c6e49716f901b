//! The dense optimisers on candle's tensors; rules and state are those of the fused path.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use slimbed_fused::{DenseRule, NamedTensor, OptimizerState, WeightDecay};

use crate::params::to_named;
use crate::{NnError, Params};

/// One optimiser over all of a model's [`Params`].
#[derive(Debug)]
pub struct GraphOptimizer {
    rule: DenseRule,
    weight_decay: WeightDecay,
    step: u64,
    /// Per parameter, one tensor per slot of the rule.
    slots: Vec<Vec<Tensor>>,
}

impl GraphOptimizer {
    /// An optimiser at step 0 with zero state.
    ///
    /// # Errors
    /// When the device refuses the state.
    pub fn new(
        params: &Params,
        rule: DenseRule,
        weight_decay: WeightDecay,
    ) -> Result<Self, NnError> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, params.device());
        let slots = params
            .iter()
            .map(|(_, var)| rule.slots().iter().map(|_| zeros(var.dims())).collect())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rule,
            weight_decay,
            step: 0,
            slots,
        })
    }

    /// Updates every parameter with its gradient times `scale` (1 unless gradients were clipped).
    ///
    /// # Errors
    /// [`NnError::NoGradient`] names the first parameter without a gradient; none is changed then.
    pub fn step(
        &mut self,
        params: &Params,
        grads: &GradStore,
        lr: f64,
        scale: f64,
    ) -> Result<(), NnError> {
        let gradients: Vec<&Tensor> = gradients(params, grads)?;
        self.step += 1;
        for (i, (_, var)) in params.iter().enumerate() {
            let w = var.as_detached_tensor();
            let gradient = if scale == 1.0 {
                gradients[i].clone()
            } else {
                (gradients[i] * scale)?
            };
            let (w, gradient) = self.decay(w, gradient, lr)?;
            let update = update(self.rule, &mut self.slots[i], &gradient, self.step)?;
            var.set(&(w - (update * lr)?)?)?;
        }
        Ok(())
    }

    fn decay(&self, w: Tensor, g: Tensor, lr: f64) -> Result<(Tensor, Tensor), NnError> {
        Ok(match self.weight_decay {
            WeightDecay::None => (w, g),
            WeightDecay::Coupled { lambda } => {
                let g = (g + (&w * lambda)?)?;
                (w, g)
            }
            WeightDecay::Decoupled { lambda } => ((w * (1.0 - lr * lambda))?, g),
        })
    }

    /// Copies the state to plain memory.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    pub fn export(&self, params: &Params) -> Result<OptimizerState, NnError> {
        let mut tensors = Vec::new();
        for ((name, _), slots) in params.iter().zip(&self.slots) {
            for (slot, tensor) in self.rule.slots().iter().zip(slots) {
                tensors.push(to_named(&format!("{name}/{slot}"), tensor)?);
            }
        }
        Ok(OptimizerState {
            step: self.step,
            tensors,
        })
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape; nothing is changed then.
    pub fn import(&mut self, params: &Params, state: &OptimizerState) -> Result<(), NnError> {
        let slots = params
            .iter()
            .map(|(name, var)| {
                let load = |slot: &&str| -> Result<Tensor, NnError> {
                    let saved =
                        NamedTensor::find(&state.tensors, &format!("{name}/{slot}"), var.dims())?;
                    Ok(Tensor::from_slice(
                        &saved.values,
                        var.dims(),
                        params.device(),
                    )?)
                };
                self.rule.slots().iter().map(load).collect()
            })
            .collect::<Result<_, NnError>>()?;
        self.slots = slots;
        self.step = state.step;
        Ok(())
    }
}

/// What the rule takes off the weights, for learning rate 1.
fn update(rule: DenseRule, slots: &mut [Tensor], g: &Tensor, step: u64) -> Result<Tensor, NnError> {
    match rule {
        DenseRule::Sgd => Ok(g.clone()),
        DenseRule::Adagrad { eps } => {
            slots[0] = (&slots[0] + g.sqr()?)?;
            Ok((g / (slots[0].sqrt()? + eps)?)?)
        }
        DenseRule::Adam { beta1, beta2, eps } => {
            slots[0] = ((&slots[0] * beta1)? + (g * (1.0 - beta1))?)?;
            slots[1] = ((&slots[1] * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
            let t = step as f64;
            let m_hat = (&slots[0] / (1.0 - beta1.powf(t)))?;
            let v_hat = (&slots[1] / (1.0 - beta2.powf(t)))?;
            Ok((m_hat / (v_hat.sqrt()? + eps)?)?)
        }
    }
}

fn gradients<'a>(params: &Params, grads: &'a GradStore) -> Result<Vec<&'a Tensor>, NnError> {
    params
        .iter()
        .map(|(name, var)| {
            grads
                .get(var.as_tensor())
                .ok_or_else(|| NnError::NoGradient {
                    name: name.to_owned(),
                })
        })
        .collect()
}
