//! The W2 of all fields, with their gradients and their optimiser.

use slimbed_embedding::{
    EmbeddingError, FieldSpec, SavedState, StateTensor, StateValues, StepSize,
};
use slimbed_fused::{DenseRule, FlatOptimizer, Mat, WeightDecay};
use slimbed_rng::Seed;

use crate::settings::{MletSettings, Shape, TrainProjection};
use crate::start;

/// Name of the tensor with the number of steps, low half first.
const STEP: &str = "w2/step";

/// One W2 `[k, d]` a field that has one, all of them in one flat vector.
#[derive(Debug)]
pub struct Projections {
    names: Vec<String>,
    shapes: Vec<Shape>,
    /// Where the W2 of each field starts, `[fields + 1]`.
    starts: Vec<usize>,
    values: Vec<f32>,
    /// `[d, k]` of each field.
    transposed: Vec<f32>,
    gradient: Vec<f32>,
    training: Option<Training>,
}

/// What only learning needs.
#[derive(Debug)]
struct Training {
    rule: DenseRule,
    optimizer: FlatOptimizer,
    /// 0: that of the tables.
    lr: f32,
    /// The optimiser's number of steps in two halves, low first, as a checkpoint takes it.
    step: [u32; 2],
}

impl Projections {
    /// Makes and initialises the matrices of fields with these shapes.
    pub fn new(
        fields: &[FieldSpec],
        shapes: Vec<Shape>,
        settings: &MletSettings,
        seed: Seed,
    ) -> Self {
        let starts = starts(&shapes);
        let n = starts[shapes.len()];
        let mut values = vec![0.0; n];
        for (f, field) in fields
            .iter()
            .enumerate()
            .filter(|&(f, _)| shapes[f].is_projected)
        {
            let own = &mut values[starts[f]..starts[f + 1]];
            start::fill(settings, shapes[f], seed, &field.name, own);
        }
        let trains = settings.train_projection == TrainProjection::Trained;
        Self {
            names: fields.iter().map(|field| field.name.clone()).collect(),
            transposed: vec![0.0; n],
            gradient: vec![0.0; if trains { n } else { 0 }],
            training: trains.then(|| Training::new(n, settings)),
            shapes,
            starts,
            values,
        }
    }

    pub fn shape(&self, f: usize) -> Shape {
        self.shapes[f]
    }

    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// W2 of field `f`.
    pub fn matrix(&self, f: usize) -> Option<Mat<'_>> {
        let Shape {
            width,
            dim,
            is_projected,
        } = self.shapes[f];
        is_projected.then(|| Mat::row_major(self.own(f, &self.values), width, dim))
    }

    /// The values of W2 of field `f`, row by row.
    pub fn values(&self, f: usize) -> Option<&[f32]> {
        self.shapes[f]
            .is_projected
            .then(|| self.own(f, &self.values))
    }

    pub fn values_mut(&mut self, f: usize) -> &mut [f32] {
        &mut self.values[self.starts[f]..self.starts[f + 1]]
    }

    /// W2ᵀ of field `f`, as it was at the last [`transpose`](Self::transpose).
    pub fn transposed(&self, f: usize) -> Option<Mat<'_>> {
        let Shape {
            width,
            dim,
            is_projected,
        } = self.shapes[f];
        is_projected.then(|| Mat::row_major(self.own(f, &self.transposed), dim, width))
    }

    /// Brings [`transposed`](Self::transposed) up to date.
    pub fn transpose(&mut self) {
        for (f, shape) in self
            .shapes
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_projected)
        {
            let range = self.starts[f]..self.starts[f + 1];
            let rows = self.values[range.clone()].chunks_exact(shape.dim);
            let to = &mut self.transposed[range];
            for (i, row) in rows.enumerate() {
                let column = to[i..].iter_mut().step_by(shape.width);
                column.zip(row).for_each(|(to, &x)| *to = x);
            }
        }
    }

    /// Values of the gradient of field `f`: none when nothing learns.
    pub fn n_gradients(&self, f: usize) -> usize {
        match self.training {
            None => 0,
            Some(_) => self.starts[f + 1] - self.starts[f],
        }
    }

    /// The gradients of all fields.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    /// The gradient of field `f`, to be written.
    pub fn gradient_mut(&mut self, f: usize) -> &mut [f32] {
        let n = self.n_gradients(f);
        let start = if n == 0 { 0 } else { self.starts[f] };
        &mut self.gradient[start..start + n]
    }

    /// Number of values of all W2.
    pub fn n_values(&self) -> usize {
        self.values.len()
    }

    /// Mean over the fields of `‖W2‖² / d`, 1 without any: the mean eigenvalue of `W2ᵀW2`, which multiplies the
    /// gradient of a row of E.
    pub fn gain(&self) -> f64 {
        let gains = self.projected().map(|f| {
            let squares = self
                .own(f, &self.values)
                .iter()
                .map(|&x| f64::from(x).powi(2));
            squares.sum::<f64>() / self.shapes[f].dim as f64
        });
        let gains: Vec<f64> = gains.collect();
        if gains.is_empty() {
            return 1.0;
        }
        gains.iter().sum::<f64>() / gains.len() as f64
    }

    /// One step along the gradients.
    pub fn step(&mut self, size: StepSize) {
        if let Some(training) = &mut self.training {
            training.step(&mut self.values, &self.gradient, size);
        }
    }

    pub fn state(&self) -> Vec<StateTensor<'_>> {
        let mut tensors = Vec::new();
        for f in self.projected() {
            let name = &self.names[f];
            tensors.push(self.tensor(f, format!("{name}/w2"), &self.values));
            for (slot, values) in self.slots() {
                tensors.push(self.tensor(f, format!("{name}/w2/{slot}"), values));
            }
        }
        tensors.extend(self.training.as_ref().map(|training| StateTensor {
            name: STEP.into(),
            n_rows: 1,
            dim: 2,
            values: StateValues::U32(&training.step),
        }));
        tensors
    }

    /// # Errors
    /// Names the first tensor that is missing or has another shape.
    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let mut values = self.values.clone();
        let mut slots: Vec<Vec<f32>> = self.slots().map(|(_, kept)| kept.to_vec()).collect();
        for f in self.projected() {
            let name = format!("{}/w2", self.names[f]);
            self.copy(f, &name, saved, &mut values)?;
            for ((slot, _), kept) in self.slots().zip(&mut slots) {
                self.copy(f, &format!("{name}/{slot}"), saved, kept)?;
            }
        }
        if let Some(training) = &mut self.training {
            training.resume(saved, &slots)?;
        }
        self.values = values;
        Ok(())
    }

    /// The part of field `f` of a flat vector.
    fn own<'a>(&self, f: usize, flat: &'a [f32]) -> &'a [f32] {
        &flat[self.starts[f]..self.starts[f + 1]]
    }

    /// The fields with a W2.
    fn projected(&self) -> impl Iterator<Item = usize> {
        (0..self.shapes.len()).filter(|&f| self.shapes[f].is_projected)
    }

    /// Names and values of what the optimiser keeps.
    fn slots(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        let slots = self.training.iter().flat_map(Training::slots);
        slots.map(|(name, values)| (name, &values[..]))
    }

    fn tensor<'a>(&self, f: usize, name: String, flat: &'a [f32]) -> StateTensor<'a> {
        let Shape { width, dim, .. } = self.shapes[f];
        StateTensor {
            name,
            n_rows: width,
            dim,
            values: StateValues::F32(self.own(f, flat)),
        }
    }

    fn copy(
        &self,
        f: usize,
        name: &str,
        saved: &dyn SavedState,
        flat: &mut [f32],
    ) -> Result<(), EmbeddingError> {
        let Shape { width, dim, .. } = self.shapes[f];
        let StateValues::F32(values) = find(saved, name, (width, dim))? else {
            return Err(mismatch(name, "32-bit floats", "integers"));
        };
        flat[self.starts[f]..self.starts[f + 1]].copy_from_slice(values);
        saved.release(name);
        Ok(())
    }
}

impl Training {
    fn new(n: usize, settings: &MletSettings) -> Self {
        let rule = settings.optimizer.rule();
        Self {
            rule,
            optimizer: FlatOptimizer::new(n, rule, WeightDecay::None),
            lr: settings.lr,
            step: [0; 2],
        }
    }

    fn step(&mut self, values: &mut [f32], gradient: &[f32], size: StepSize) {
        let lr = match self.lr {
            0.0 => size.lr,
            lr => lr * size.factor,
        };
        self.optimizer
            .step(values, gradient, lr.into(), size.scale.into());
        let n = self.optimizer.n_steps();
        self.step = [n as u32, (n >> 32) as u32];
    }

    fn slots(&self) -> impl Iterator<Item = (&'static str, &Vec<f32>)> {
        self.rule.slots().iter().copied().zip(self.optimizer.kept())
    }

    fn resume(&mut self, saved: &dyn SavedState, slots: &[Vec<f32>]) -> Result<(), EmbeddingError> {
        let StateValues::U32(&[low, high]) = find(saved, STEP, (1, 2))? else {
            return Err(mismatch(STEP, "2 integers", "something else"));
        };
        let kept: Vec<&[f32]> = slots.iter().map(Vec::as_slice).collect();
        let n_steps = u64::from(low) | u64::from(high) << 32;
        if !self.optimizer.resume(n_steps, &kept) {
            return Err(mismatch("w2", "the values of the optimiser", "others"));
        }
        self.step = [low, high];
        saved.release(STEP);
        Ok(())
    }
}

/// Where the W2 of each field starts, and where the last ends.
fn starts(shapes: &[Shape]) -> Vec<usize> {
    let mut starts = vec![0];
    for shape in shapes {
        let size = usize::from(shape.is_projected) * shape.width * shape.dim;
        starts.push(starts[starts.len() - 1] + size);
    }
    starts
}

/// The values of the tensor called `name`, if it has this shape.
fn find<'a>(
    saved: &'a dyn SavedState,
    name: &str,
    shape: (usize, usize),
) -> Result<StateValues<'a>, EmbeddingError> {
    let expected = format!("{shape:?}");
    let Some(tensor) = saved.find(name) else {
        return Err(mismatch(name, &expected, "nothing"));
    };
    let n = match tensor.values {
        StateValues::F32(values) => values.len(),
        StateValues::U32(values) => values.len(),
    };
    if (tensor.n_rows, tensor.dim) != shape || n != shape.0 * shape.1 {
        let found = format!("{:?}", (tensor.n_rows, tensor.dim));
        return Err(mismatch(name, &expected, &found));
    }
    Ok(tensor.values)
}

fn mismatch(name: &str, expected: &str, found: &str) -> EmbeddingError {
    EmbeddingError::StateMismatch {
        name: name.into(),
        expected: expected.into(),
        found: found.into(),
    }
}
