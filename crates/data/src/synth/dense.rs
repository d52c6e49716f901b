//! One dense column: how its integers are drawn and what they do to the logit.

use slimbed_rng::{Seed, Stream};

/// A log-normal count with a smooth effect.
#[derive(Clone, Debug)]
pub(super) struct DenseModel {
    mu: f64,
    sigma: f64,
    lowered_by: i32,
    missing: f64,
    /// Standardises `x = ln(1 + max(value, 0))` to `u`.
    input: Affine,
    frequency: f64,
    phase: f64,
    sine: Affine,
    tanh: Affine,
    /// Unit vector that meets the hidden vectors of fields.
    direction: Vec<f32>,
}

/// What a cell gives to the logit, mean 0 and variance 1 each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DenseEffect {
    /// `g`, the effect of the column alone.
    pub(super) own: f64,
    /// `h`, the factor of its interactions.
    pub(super) factor: f64,
}

/// `(x - mean) * scale`.
#[derive(Clone, Copy, Debug)]
struct Affine {
    mean: f64,
    scale: f64,
}

impl DenseModel {
    /// Words of a stream that [`draw`](Self::draw) takes, whatever comes out.
    pub(super) const WORDS: u64 = 3;

    /// Column number `column` with hidden vectors of length `dim`.
    pub(super) fn new(column: usize, seed: Seed, missing: f64, dim: usize) -> Self {
        let mut stream = seed.stream("synth/dense", column as u64);
        let mut between = |low: f64, high: f64| low + (high - low) * stream.uniform_f64();
        let mut model = Self {
            mu: between(0.5, 4.0),
            sigma: between(0.6, 1.6),
            lowered_by: if column == 1 { 2 } else { 0 },
            missing,
            input: Affine::IDENTITY,
            frequency: between(0.3, 0.7),
            phase: between(0.0, std::f64::consts::TAU),
            sine: Affine::IDENTITY,
            tanh: Affine::IDENTITY,
            direction: unit_vector(&mut stream, dim),
        };
        model.input = model.standardised(|_, x| x);
        model.sine = model.standardised(|m, x| m.effect_of(x).own);
        model.tanh = model.standardised(|m, x| m.effect_of(x).factor);
        model
    }

    /// The next cell, `None` when it is empty.
    pub(super) fn draw(&self, stream: &mut Stream) -> Option<i32> {
        let is_missing = f64::from(stream.uniform()) < self.missing;
        let value = self.value(stream.normal());
        (!is_missing).then_some(value)
    }

    /// What the cell gives to the logit.
    pub(super) fn effect(&self, cell: Option<i32>) -> DenseEffect {
        self.effect_of(visible(cell))
    }

    /// The unit vector of the column, `[dim]`.
    pub(super) fn direction(&self) -> &[f32] {
        &self.direction
    }

    fn value(&self, z: f64) -> i32 {
        // At most exp(4 + 1.6 * 5.8), far below 2^31: 24 bits give no |z| above 5.8.
        (self.mu + self.sigma * z).exp() as i32 - self.lowered_by
    }

    fn effect_of(&self, x: f64) -> DenseEffect {
        let u = self.input.apply(x);
        DenseEffect {
            own: self.sine.apply((self.frequency * u + self.phase).sin()),
            factor: self.tanh.apply(u.tanh()),
        }
    }

    /// The map that gives `of(x)` mean 0 and variance 1 over the cells of the column.
    fn standardised(&self, of: impl Fn(&Self, f64) -> f64) -> Affine {
        let mean = self.expectation(|x| of(self, x));
        let variance = self.expectation(|x| (of(self, x) - mean).powi(2));
        let scale = if variance > 1e-12 {
            variance.sqrt().recip()
        } else {
            0.0
        };
        Affine { mean, scale }
    }

    /// Mean over the cells by the rectangle rule on `z` in `[-6, 6]`.
    fn expectation(&self, of: impl Fn(f64) -> f64) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for step in -3072..=3072 {
            let z = f64::from(step) / 512.0;
            let density = (-0.5 * z * z).exp();
            sum += density * of(visible(Some(self.value(z))));
            total += density;
        }
        (1.0 - self.missing) * sum / total + self.missing * of(visible(None))
    }
}

impl Affine {
    const IDENTITY: Self = Self {
        mean: 0.0,
        scale: 1.0,
    };

    fn apply(self, x: f64) -> f64 {
        (x - self.mean) * self.scale
    }
}

/// The usual input transform of a count; an empty cell is seen as 0.
fn visible(cell: Option<i32>) -> f64 {
    f64::from(cell.unwrap_or(0).max(0)).ln_1p()
}

fn unit_vector(stream: &mut Stream, dim: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dim];
    stream.fill_normal(&mut vector, 1.0);
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-20);
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_have_mean_0_and_variance_1() {
        let n = 200_000;
        for column in 0..4 {
            let model = DenseModel::new(column, Seed::new(3), 0.2, 4);
            let mut stream = Seed::new(4).stream("test", column as u64);
            let (mut sums, mut squares) = ([0.0; 2], [0.0; 2]);
            for _ in 0..n {
                let effect = model.effect(model.draw(&mut stream));
                for (i, x) in [effect.own, effect.factor].into_iter().enumerate() {
                    sums[i] += x / f64::from(n);
                    squares[i] += x * x / f64::from(n);
                }
            }
            for i in 0..2 {
                assert!(sums[i].abs() < 0.01, "column {column}: mean {}", sums[i]);
                assert!((squares[i] - 1.0).abs() < 0.02, "{}", squares[i]);
            }
        }
    }

    #[test]
    fn a_cell_takes_a_fixed_number_of_words() {
        let model = DenseModel::new(1, Seed::new(3), 0.5, 4);
        let mut stream = Seed::new(4).stream("test", 0);
        let cells: Vec<_> = (0..100).map(|_| model.draw(&mut stream)).collect();
        assert_eq!(stream.position().0, 100 * u128::from(DenseModel::WORDS));
        assert!(cells.contains(&None) && cells.iter().any(Option::is_some));
    }

    #[test]
    fn empty_and_negative_cells_count_as_zero() {
        let model = DenseModel::new(1, Seed::new(3), 0.1, 4);
        let zero = model.effect(Some(0));
        assert_eq!(model.effect(None), zero);
        assert_eq!(model.effect(Some(-2)), zero);
        assert_ne!(model.effect(Some(9)), zero);
    }
}
