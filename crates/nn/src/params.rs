//! A network's parameters as candle variables, in the order of the network.
//!
//! candle's `VarMap` walks a hash map, so its order changes from run to run; ours is the network's, which
//! makes optimisers, norms and checkpoints deterministic.

use candle_core::{Device, Tensor, Var};
use slimbed_fused::{NamedTensor, Network};
use slimbed_rng::Seed;

use crate::NnError;

/// The trainable tensors of one network, all on one device.
#[derive(Debug)]
pub struct Params {
    device: Device,
    vars: Vec<(String, Var)>,
}

impl Params {
    /// The parameters of `network`, drawn from `seed`.
    ///
    /// # Errors
    /// When the device refuses a tensor.
    pub fn new(network: &Network, seed: Seed, device: &Device) -> Result<Self, NnError> {
        let vars = network.params().iter().map(|param| {
            let values = Tensor::from_vec(param.initial(seed), param.shape.as_slice(), device)?;
            Ok((param.name.clone(), Var::from_tensor(&values)?))
        });
        Ok(Self {
            device: device.clone(),
            vars: vars.collect::<Result<_, NnError>>()?,
        })
    }

    /// The device the parameters live on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Names and variables in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Parameter number `i`.
    pub(crate) fn tensor(&self, i: usize) -> &Tensor {
        self.vars[i].1.as_tensor()
    }

    /// Copies every parameter to plain memory.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    pub fn export(&self) -> Result<Vec<NamedTensor>, NnError> {
        self.iter().map(|(name, var)| to_named(name, var)).collect()
    }

    /// Replaces every parameter by the tensor of the same name.
    ///
    /// # Errors
    /// When one is missing or has another shape; nothing is changed then.
    pub fn import(&self, tensors: &[NamedTensor]) -> Result<(), NnError> {
        let found: Vec<_> = self
            .iter()
            .map(|(name, var)| NamedTensor::find(tensors, name, var.dims()))
            .collect::<Result<_, _>>()?;
        for ((_, var), tensor) in self.iter().zip(found) {
            let shape = tensor.shape.as_slice();
            var.set(&Tensor::from_slice(&tensor.values, shape, &self.device)?)?;
        }
        Ok(())
    }
}

/// Copies one tensor to plain memory.
pub(crate) fn to_named(name: &str, tensor: &Tensor) -> Result<NamedTensor, NnError> {
    Ok(NamedTensor {
        name: name.to_owned(),
        shape: tensor.dims().to_vec(),
        values: tensor.flatten_all()?.to_vec1()?,
    })
}

#[cfg(test)]
mod tests {
    use slimbed_fused::{Activation, LinearInit, Value};

    use super::*;

    fn params() -> Params {
        let mut network = Network::builder(3, 1, 2).unwrap();
        let init = LinearInit::PyTorch;
        let x = network
            .linear("b", Value::EMBEDDINGS, 2, init, Activation::Relu)
            .unwrap();
        let y = network.linear("a", x, 1, init, Activation::None).unwrap();
        let network = network.finish(y).unwrap();
        Params::new(&network, Seed::new(1), &Device::Cpu).unwrap()
    }

    #[test]
    fn order_is_that_of_the_network_and_values_are_seeded() {
        let names: Vec<_> = params().iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["b.weight", "b.bias", "a.weight", "a.bias"]);
        assert_eq!(params().export().unwrap(), params().export().unwrap());
    }

    #[test]
    fn import_restores_and_a_bad_import_changes_nothing() {
        let (source, target) = (params(), params());
        let mut saved = source.export().unwrap();
        saved.iter_mut().for_each(|tensor| tensor.values.fill(7.0));
        target.import(&saved).unwrap();
        assert_eq!(target.export().unwrap(), saved);
        saved[1].shape = vec![2, 2];
        saved[0].values.fill(9.0);
        let error = target.import(&saved).unwrap_err().to_string();
        assert!(
            error.contains("expected shape [2], found [2, 2]"),
            "{error}"
        );
        assert_eq!(target.export().unwrap()[0].values[0], 7.0);
    }
}
