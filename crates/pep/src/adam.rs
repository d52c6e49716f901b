//! Vectors of parameters with their optimiser and their place in a checkpoint.

use slimbed_embedding::{EmbeddingError, SavedState, StateElement, StateTensor};
use slimbed_fused::{FlatOptimizer, WeightDecay};

use crate::PepSettings;

/// The optimiser of some parameters that are kept elsewhere.
#[derive(Debug)]
pub struct Adam {
    name: String,
    optimizer: FlatOptimizer,
    /// Steps taken, as a checkpoint keeps them.
    steps: [u32; 1],
}

/// Parameters that take a step as a whole.
#[derive(Debug)]
pub struct Vector {
    pub values: Vec<f32>,
    pub adam: Adam,
}

impl Adam {
    /// The optimiser of `n_params` parameters called `name`.
    pub fn new(name: String, n_params: usize, settings: &PepSettings, decay: WeightDecay) -> Self {
        Self {
            name,
            optimizer: FlatOptimizer::new(n_params, settings.rule(), decay),
            steps: [0],
        }
    }

    /// One step of all parameters.
    pub fn step(&mut self, values: &mut [f32], gradient: &[f32], lr: f64, scale: f32) {
        self.optimizer.step(values, gradient, lr, scale.into());
        self.steps[0] += 1;
    }

    /// The same, run after run of as many parameters as `gradient` holds; `fill` writes the gradient of the run
    /// that begins at a parameter.
    pub fn step_in_runs(
        &mut self,
        values: &mut [f32],
        gradient: &mut [f32],
        lr: f64,
        scale: f32,
        fill: impl FnMut(usize, &mut [f32]),
    ) {
        let scale = scale.into();
        self.optimizer
            .step_in_runs(values, gradient, lr, scale, fill);
        self.steps[0] += 1;
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u32 {
        self.steps[0]
    }

    /// Both moments of every parameter.
    pub fn moments(&self) -> [&[f32]; 2] {
        let kept = self.optimizer.kept();
        [&kept[0], &kept[1]]
    }

    /// The tensors `<name>/m`, `<name>/v` and `<name>/steps`.
    pub fn state(&self) -> impl Iterator<Item = StateTensor<'_>> {
        let [m, v] = self.moments();
        let steps = column(format!("{}/steps", self.name), &self.steps);
        let m = column(format!("{}/m", self.name), m);
        let v = column(format!("{}/v", self.name), v);
        [m, v, steps].into_iter()
    }

    /// Goes on from a saved state.
    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let names = ["m", "v", "steps"].map(|slot| format!("{}/{slot}", self.name));
        let n_params = self.moments()[0].len();
        let m = find_column::<f32>(saved, &names[0], n_params)?;
        let v = find_column::<f32>(saved, &names[1], n_params)?;
        let steps = find_column::<u32>(saved, &names[2], 1)?;
        let resumed = self.optimizer.resume(steps[0].into(), &[m, v]);
        debug_assert!(resumed, "lengths are checked above");
        self.steps[0] = steps[0];
        names.iter().for_each(|name| saved.release(name));
        Ok(())
    }
}

impl Vector {
    /// `n` parameters called `name`, all of them `start`.
    pub fn new(name: &str, n: usize, start: f32, settings: &PepSettings) -> Self {
        Self {
            values: vec![start; n],
            adam: Adam::new(name.to_owned(), n, settings, settings.threshold_decay()),
        }
    }

    /// One step of all parameters.
    pub fn step(&mut self, gradient: &[f32], lr: f64, scale: f32) {
        self.adam.step(&mut self.values, gradient, lr, scale);
    }

    /// The tensors `<name>`, `<name>/m`, `<name>/v` and `<name>/steps`.
    pub fn state(&self) -> impl Iterator<Item = StateTensor<'_>> {
        let values = column(self.adam.name.clone(), &self.values);
        std::iter::once(values).chain(self.adam.state())
    }

    /// Goes on from a saved state.
    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let name = &self.adam.name;
        let values = find_column(saved, name, self.values.len())?;
        self.values.copy_from_slice(values);
        saved.release(name);
        self.adam.restore(saved)
    }
}

fn column<T: StateElement>(name: String, values: &[T]) -> StateTensor<'_> {
    StateTensor {
        name,
        n_rows: values.len(),
        dim: 1,
        values: T::wrap(values),
    }
}

/// The saved tensor `[n, 1]` called `name`.
fn find_column<'a, T: StateElement>(
    saved: &'a dyn SavedState,
    name: &str,
    n: usize,
) -> Result<&'a [T], EmbeddingError> {
    let found = saved.find(name);
    let values = found.and_then(|tensor| T::unwrap(tensor.values));
    let values = values.filter(|values| values.len() == n);
    values.ok_or_else(|| EmbeddingError::StateMismatch {
        name: name.to_owned(),
        expected: format!("{:?}", (n, 1)),
        found: found.map_or("nothing".into(), |t| format!("{:?}", (t.n_rows, t.dim))),
    })
}
