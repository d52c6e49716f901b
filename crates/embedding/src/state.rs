//! State as named plain memory, so that whoever owns the file system can save it.

use crate::{EmbeddingError, Table};

/// Borrowed values of a state tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StateValues<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 32-bit unsigned integers.
    U32(&'a [u32]),
}

/// One named tensor `[n_rows, dim]` of a layer's or an optimiser's state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateTensor<'a> {
    /// Unique within the owner, for example `C1/rows`.
    pub name: String,
    /// Rows of the tensor.
    pub n_rows: usize,
    /// Values of a row.
    pub dim: usize,
    /// The values, row by row.
    pub values: StateValues<'a>,
}

/// Saved tensors, wherever they are kept.
pub trait SavedState {
    /// The tensor called `name`.
    fn find(&self, name: &str) -> Option<&StateTensor<'_>>;

    /// Told when the tensor called `name` has been copied and its memory can go.
    fn release(&self, name: &str);
}

impl SavedState for Vec<StateTensor<'_>> {
    fn find(&self, name: &str) -> Option<&StateTensor<'_>> {
        self.iter().find(|tensor| tensor.name == name)
    }

    fn release(&self, _name: &str) {}
}

/// Element types a [`Table`] of state can have.
pub trait StateElement: bytemuck::Pod {
    /// Values as those of a state tensor.
    fn wrap(values: &[Self]) -> StateValues<'_>;

    /// The same back; `None` for other types.
    fn unwrap<'a>(values: StateValues<'a>) -> Option<&'a [Self]>;
}

impl StateElement for f32 {
    fn wrap(values: &[Self]) -> StateValues<'_> {
        StateValues::F32(values)
    }

    fn unwrap<'a>(values: StateValues<'a>) -> Option<&'a [Self]> {
        match values {
            StateValues::F32(values) => Some(values),
            StateValues::U32(_) => None,
        }
    }
}

impl StateElement for u32 {
    fn wrap(values: &[Self]) -> StateValues<'_> {
        StateValues::U32(values)
    }

    fn unwrap<'a>(values: StateValues<'a>) -> Option<&'a [Self]> {
        match values {
            StateValues::U32(values) => Some(values),
            StateValues::F32(_) => None,
        }
    }
}

impl<T: StateElement> Table<T> {
    /// The table as a named state tensor.
    pub fn state(&self, name: String) -> StateTensor<'_> {
        let values = T::wrap(self.values());
        StateTensor {
            name,
            n_rows: self.n_rows(),
            dim: self.dim(),
            values,
        }
    }

    /// Copies the tensor called `name` out of `saved` into the table.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn restore(&mut self, name: &str, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let expected = (self.n_rows(), self.dim());
        let found = saved.find(name);
        let values = found
            .filter(|tensor| (tensor.n_rows, tensor.dim) == expected)
            .and_then(|tensor| T::unwrap(tensor.values))
            .filter(|values| values.len() == self.values().len());
        let Some(values) = values else {
            return Err(EmbeddingError::StateMismatch {
                name: name.to_owned(),
                expected: format!("{expected:?}"),
                found: found.map_or("nothing".into(), |t| format!("{:?}", (t.n_rows, t.dim))),
            });
        };
        self.values_mut().copy_from_slice(values);
        saved.release(name);
        Ok(())
    }
}
