//! Named trainable tensors in the order in which they were made.
//!
//! candle's `VarMap` walks a hash map, so its order changes from run to run; ours is the order of
//! registration, which makes optimisers, norms and checkpoints deterministic.

use candle_core::{Device, Tensor, Var};
use slimbed_rng::Seed;

use crate::{Init, NnError};

/// A tensor as plain memory, as it goes into a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Unique name, for example `bottom.0.weight`.
    pub name: String,
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// The trainable tensors of one model, all on one device.
#[derive(Debug)]
pub struct Params {
    device: Device,
    seed: Seed,
    vars: Vec<(String, Var)>,
}

impl Params {
    /// An empty set whose parameters will be drawn from `seed`.
    pub fn new(device: &Device, seed: Seed) -> Self {
        Self {
            device: device.clone(),
            seed,
            vars: Vec::new(),
        }
    }

    /// Makes a parameter, drawn from the stream `init/<name>`.
    ///
    /// # Errors
    /// When the name is taken or the device refuses the tensor.
    pub fn add(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor, NnError> {
        if self.vars.iter().any(|(taken, _)| taken == name) {
            return Err(NnError::DuplicateParameter {
                name: name.to_owned(),
            });
        }
        let mut stream = self.seed.stream(&format!("init/{name}"), 0);
        let values = init.draw(shape.iter().product(), &mut stream);
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, &self.device)?)?;
        let tensor = var.as_tensor().clone();
        self.vars.push((name.to_owned(), var));
        Ok(tensor)
    }

    /// The device the parameters live on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Names and variables in the order of registration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Number of scalar parameters.
    pub fn n_values(&self) -> usize {
        self.vars.iter().map(|(_, var)| var.elem_count()).sum()
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
            .map(|(name, var)| find(tensors, name, var.dims()))
            .collect::<Result<_, _>>()?;
        for ((_, var), tensor) in self.iter().zip(found) {
            var.set(&Tensor::from_slice(
                &tensor.values,
                tensor.shape.as_slice(),
                &self.device,
            )?)?;
        }
        Ok(())
    }
}

/// The tensor called `name`, checked against `shape`.
pub(crate) fn find<'a>(
    tensors: &'a [NamedTensor],
    name: &str,
    shape: &[usize],
) -> Result<&'a NamedTensor, NnError> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    match found {
        Some(tensor) if tensor.shape == shape => Ok(tensor),
        other => Err(NnError::TensorMismatch {
            name: name.to_owned(),
            expected: shape.to_vec(),
            found: other.map_or("nothing".to_owned(), |tensor| format!("{:?}", tensor.shape)),
        }),
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
    use super::*;

    fn params() -> Params {
        let mut params = Params::new(&Device::Cpu, Seed::new(1));
        params.add("b", &[2, 3], Init::Normal { std: 1.0 }).unwrap();
        params.add("a", &[4], Init::Uniform { bound: 0.5 }).unwrap();
        params
    }

    #[test]
    fn order_is_that_of_registration_and_values_are_seeded() {
        let names: Vec<_> = params().iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(params().export().unwrap(), params().export().unwrap());
        assert_eq!(params().n_values(), 10);
    }

    #[test]
    fn names_are_unique() {
        let error = params().add("a", &[1], Init::Zeros).unwrap_err();
        assert!(error.to_string().contains("`a` exists already"));
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
            error.contains("expected shape [4], found [2, 2]"),
            "{error}"
        );
        assert_eq!(target.export().unwrap()[0].values[0], 7.0);
    }
}
