//! Tensors as plain memory, as they go into checkpoints and artefacts.

use crate::FusedError;

/// A tensor as plain memory.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Unique name, for example `bottom.0.weight`.
    pub name: String,
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// A saved optimiser: the step and one tensor per parameter and slot.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub step: u64,
    /// `<parameter>/<slot>` tensors.
    pub tensors: Vec<NamedTensor>,
}

impl NamedTensor {
    /// The tensor called `name` among `tensors`, checked against `shape`.
    ///
    /// # Errors
    /// When there is none, or it has another shape.
    pub fn find<'a>(
        tensors: &'a [Self],
        name: &str,
        shape: &[usize],
    ) -> Result<&'a Self, FusedError> {
        let found = tensors.iter().find(|tensor| tensor.name == name);
        let n_values = shape.iter().product::<usize>();
        match found {
            Some(tensor) if tensor.shape == shape && tensor.values.len() == n_values => Ok(tensor),
            other => Err(FusedError::TensorMismatch {
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: other.map_or("nothing".to_owned(), |tensor| format!("{:?}", tensor.shape)),
            }),
        }
    }
}
