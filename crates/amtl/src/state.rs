//! What a checkpoint keeps of the sizes.

use slimbed_embedding::{EmbeddingError, SavedState, StateElement, StateTensor};

use crate::layer::Learned;

/// Numbers that a checkpoint keeps, as plain memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    /// λ, its multiplier, the target and the tilt.
    control: [f32; 4],
    /// Steps taken (low half, high half), and 1 where sizes are held.
    clock: [u32; 3],
}

impl Saved {
    /// Whether sizes are held.
    pub fn is_held(&self) -> bool {
        self.clock[2] != 0
    }

    /// Holds them.
    pub fn hold(&mut self) {
        self.clock[2] = 1;
    }
}

impl Learned {
    /// Notes down the numbers that a checkpoint keeps.
    pub fn note(&mut self) {
        let control = &self.trainer.control;
        let tilt = self.sizer.tilt;
        self.saved.control = [control.lambda, control.multiplier, control.target, tilt];
        let n_steps = self.trainer.optimizer.n_steps();
        self.saved.clock[..2].copy_from_slice(&[n_steps as u32, (n_steps >> 32) as u32]);
    }

    /// The state; the names have no `/`, so that no field can have the same.
    pub fn state(&self) -> Vec<StateTensor<'_>> {
        let [m, v] = [0, 1].map(|slot| &self.trainer.optimizer.kept()[slot][..]);
        vec![
            tensor("amtl-weights", &self.sizer.weights),
            tensor("amtl-m", m),
            tensor("amtl-v", v),
            tensor("amtl-control", &self.saved.control),
            tensor("amtl-clock", &self.saved.clock),
        ]
    }

    /// Goes on from a saved state.
    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let (mut m, mut v) = (self.sizer.weights.clone(), self.sizer.weights.clone());
        let (mut control, mut clock) = ([0.0; 4], [0; 3]);
        find("amtl-weights", saved, &mut self.sizer.weights)?;
        find("amtl-m", saved, &mut m)?;
        find("amtl-v", saved, &mut v)?;
        find("amtl-control", saved, &mut control)?;
        find("amtl-clock", saved, &mut clock)?;
        let n_steps = u64::from(clock[0]) | (u64::from(clock[1]) << 32);
        let resumed = self.trainer.optimizer.resume(n_steps, &[&m, &v]);
        debug_assert!(resumed, "the lengths are those of the weights");
        let [lambda, multiplier, target, tilt] = control;
        let now = &mut self.trainer.control;
        (now.lambda, now.multiplier, now.target) = (lambda, multiplier, target);
        self.sizer.tilt = tilt;
        self.saved.clock = clock;
        self.note();
        Ok(())
    }
}

/// Values as a tensor of one row.
fn tensor<'a, T: StateElement>(name: &str, values: &'a [T]) -> StateTensor<'a> {
    StateTensor {
        name: name.into(),
        n_rows: 1,
        dim: values.len(),
        values: T::wrap(values),
    }
}

/// Copies the tensor called `name` to `out`.
fn find<T: StateElement>(
    name: &str,
    saved: &dyn SavedState,
    out: &mut [T],
) -> Result<(), EmbeddingError> {
    let found = saved.find(name);
    let values = found.and_then(|tensor| T::unwrap(tensor.values));
    let Some(values) = values.filter(|values| values.len() == out.len()) else {
        return Err(EmbeddingError::StateMismatch {
            name: name.into(),
            expected: format!("{:?}", (1, out.len())),
            found: found.map_or("nothing".into(), |t| format!("{:?}", (t.n_rows, t.dim))),
        });
    };
    out.copy_from_slice(values);
    saved.release(name);
    Ok(())
}
