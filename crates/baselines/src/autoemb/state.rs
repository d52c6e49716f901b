//! What a checkpoint keeps of the controller.

use slimbed_embedding::{EmbeddingError, SavedState, StateTensor, StateValues};
use slimbed_fused::DenseRule;

use super::AutoEmbEmbedding;

/// Names of the tensors of the controller.
const WEIGHTS: &str = "autoemb/weights";
const STEP: &str = "autoemb/step";
const TILT: &str = "autoemb/tilt";

impl AutoEmbEmbedding {
    /// Everything a checkpoint has to keep besides the rows.
    pub(super) fn controller_state(&self) -> Vec<StateTensor<'_>> {
        let floats = |name: String, values| StateTensor {
            name,
            n_rows: 1,
            dim: <[f32]>::len(values),
            values: StateValues::F32(values),
        };
        let mut state = vec![floats(WEIGHTS.into(), &self.net.weights)];
        let slots = DenseRule::ADAM.slots().iter().zip(self.optimizer.kept());
        state.extend(slots.map(|(slot, kept)| floats(format!("{WEIGHTS}/{slot}"), kept)));
        state.push(floats(TILT.into(), &self.tilt));
        state.push(StateTensor {
            name: STEP.into(),
            n_rows: 1,
            dim: 2,
            values: StateValues::U32(&self.step),
        });
        state
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Names a tensor that is missing or has another shape.
    pub(super) fn restore_controller(
        &mut self,
        saved: &dyn SavedState,
    ) -> Result<(), EmbeddingError> {
        let n = self.net.weights.len();
        let weights = floats(saved, WEIGHTS, n)?.to_vec();
        let slots = DenseRule::ADAM.slots().iter();
        let kept = slots.map(|slot| floats(saved, &format!("{WEIGHTS}/{slot}"), n));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        let tilt = floats(saved, TILT, 1)?[0];
        let Some(StateValues::U32(&[low, high])) = saved.find(STEP).map(|found| found.values)
        else {
            return Err(mismatch(STEP, "2 integers"));
        };
        if !self
            .optimizer
            .resume(u64::from(low) | u64::from(high) << 32, &kept)
        {
            return Err(mismatch(WEIGHTS, "the values of the optimiser"));
        }
        self.net.weights = weights;
        (self.tilt, self.step) = ([tilt], [low, high]);
        Ok(())
    }
}

/// The values of a tensor `[1, n]`.
fn floats<'a>(
    saved: &'a dyn SavedState,
    name: &str,
    n: usize,
) -> Result<&'a [f32], EmbeddingError> {
    match saved.find(name).map(|found| found.values) {
        Some(StateValues::F32(values)) if values.len() == n => Ok(values),
        _ => Err(mismatch(name, &format!("{n} floats"))),
    }
}

fn mismatch(name: &str, expected: &str) -> EmbeddingError {
    EmbeddingError::StateMismatch {
        name: name.into(),
        expected: expected.into(),
        found: "something else, or nothing".into(),
    }
}
