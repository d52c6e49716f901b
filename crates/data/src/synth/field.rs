//! The tables of one categorical field: tokens, effects and hidden vectors of its ids.

use slimbed_rng::{Permutation, Seed};

use super::SynthField;
use super::zipf::Zipf;

/// The ids of a field by rank; position `cardinality` stands for the empty cell.
#[derive(Clone, Debug)]
pub(super) struct FieldModel {
    zipf: Zipf,
    missing: f64,
    tokens: Vec<u32>,
    effects: Vec<f32>,
    vectors: Vec<f32>,
    dim: usize,
}

impl FieldModel {
    /// Draws the tables; `effect_std` is the standard deviation of the effects under the
    /// distribution of the ids, that of each vector entry is 1.
    pub(super) fn new(
        spec: &SynthField,
        seed: Seed,
        dim: usize,
        rare_mass: f64,
        effect_std: f64,
    ) -> Self {
        let n = spec.cardinality as usize;
        let mut field = Self {
            zipf: Zipf::new(spec.cardinality, spec.zipf),
            missing: spec.missing,
            tokens: tokens(spec, seed),
            effects: vec![0.0; n + 1],
            vectors: vec![0.0; (n + 1) * dim],
            dim,
        };
        // Drawn through locals because the probabilities are read from the field itself.
        let mut effects = std::mem::take(&mut field.effects);
        let mut stream = seed.stream(&format!("synth/effect/{}", spec.name), 0);
        stream.fill_normal(&mut effects, 1.0);
        field.standardise(&mut effects, 1, rare_mass, effect_std);
        let mut vectors = std::mem::take(&mut field.vectors);
        let mut stream = seed.stream(&format!("synth/vector/{}", spec.name), 0);
        stream.fill_normal(&mut vectors, 1.0);
        field.standardise(&mut vectors, dim, rare_mass, 1.0);
        (field.effects, field.vectors) = (effects, vectors);
        field
    }

    /// Position of the uniform draw `u` in `[0, 1)`: a rank, or `cardinality` for the empty cell.
    pub(super) fn draw(&self, u: f64) -> usize {
        if u < self.missing {
            return self.zipf.n();
        }
        self.zipf.rank((u - self.missing) / (1.0 - self.missing)) as usize
    }

    /// The token at a position; the empty cell has none.
    pub(super) fn token(&self, position: usize) -> Option<u32> {
        self.tokens.get(position).copied()
    }

    /// The effect in logits of a position.
    pub(super) fn effect(&self, position: usize) -> f64 {
        f64::from(self.effects[position])
    }

    /// The hidden vector of a position, `[dim]`.
    pub(super) fn vector(&self, position: usize) -> &[f32] {
        &self.vectors[position * self.dim..(position + 1) * self.dim]
    }

    /// Probability of a position.
    fn probability(&self, position: usize) -> f64 {
        if position == self.zipf.n() {
            return self.missing;
        }
        (1.0 - self.missing) * self.zipf.probability(position)
    }

    /// `E[v v^T]` over the ids, `[dim, dim]`; the mean of `v` is 0.
    pub(super) fn covariance(&self) -> Vec<f64> {
        let mut covariance = vec![0.0; self.dim * self.dim];
        for position in 0..=self.zipf.n() {
            let (p, v) = (self.probability(position), self.vector(position));
            for (i, c) in covariance.iter_mut().enumerate() {
                *c += p * f64::from(v[i / self.dim]) * f64::from(v[i % self.dim]);
            }
        }
        covariance
    }

    /// Variance of `<v, direction>` over the ids.
    pub(super) fn variance_along(&self, direction: &[f32]) -> f64 {
        let covariance = self.covariance();
        let terms = covariance.iter().enumerate().map(|(i, c)| {
            c * f64::from(direction[i / self.dim]) * f64::from(direction[i % self.dim])
        });
        terms.sum()
    }

    /// Shrinks rare ids, then gives each of the `width` columns mean 0 and deviation `std`.
    fn standardise(&self, values: &mut [f32], width: usize, rare_mass: f64, std: f64) {
        for (position, row) in values.chunks_exact_mut(width).enumerate() {
            let p = self.probability(position);
            let kept = if p > 0.0 { p / (p + rare_mass) } else { 0.0 };
            row.iter_mut().for_each(|x| *x *= kept as f32);
        }
        for column in 0..width {
            let mean = self.mean(values, width, column, |x| x);
            let variance = self.mean(values, width, column, |x| (x - mean).powi(2));
            // A field with one id has no effect to speak of.
            let scale = if variance > 1e-12 {
                std / variance.sqrt()
            } else {
                0.0
            };
            for x in values.iter_mut().skip(column).step_by(width) {
                *x = ((f64::from(*x) - mean) * scale) as f32;
            }
        }
    }

    fn mean(&self, values: &[f32], width: usize, column: usize, of: impl Fn(f64) -> f64) -> f64 {
        let column = values.iter().skip(column).step_by(width).enumerate();
        column
            .map(|(i, &x)| self.probability(i) * of(f64::from(x)))
            .sum()
    }
}

/// A bijection of the 32-bit numbers, applied to each rank.
fn tokens(spec: &SynthField, seed: Seed) -> Vec<u32> {
    let purpose = format!("synth/token/{}", spec.name);
    let permutation = Permutation::new(1 << 32, seed, &purpose, 0);
    let token = |rank| permutation.apply(u64::from(rank)) as u32;
    (0..spec.cardinality).map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn spec(cardinality: u32, missing: f64) -> SynthField {
        SynthField {
            name: "C1".into(),
            cardinality,
            zipf: 1.2,
            weight: 1.0,
            missing,
        }
    }

    fn field(cardinality: u32, missing: f64) -> FieldModel {
        FieldModel::new(&spec(cardinality, missing), Seed::new(1), 3, 1e-3, 0.5)
    }

    #[test]
    fn tokens_are_distinct_and_unordered() {
        let tokens = field(5000, 0.0).tokens;
        assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), 5000);
        let rises = tokens.windows(2).filter(|w| w[0] < w[1]).count();
        assert!((2300..2700).contains(&rises), "{rises}");
    }

    #[test]
    fn effects_and_vectors_have_the_stated_moments() {
        let field = field(400, 0.2);
        let mean = |of: &dyn Fn(usize) -> f64| -> f64 {
            (0..=400).map(|i| field.probability(i) * of(i)).sum()
        };
        assert!((mean(&|_| 1.0) - 1.0).abs() < 1e-12);
        assert!(mean(&|i| field.effect(i)).abs() < 1e-6);
        assert!((mean(&|i| field.effect(i).powi(2)) - 0.25).abs() < 1e-6);
        assert!(mean(&|i| f64::from(field.vector(i)[2])).abs() < 1e-6);
        assert!((field.covariance()[4] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn rare_ids_are_close_to_the_common_default() {
        let field = field(20_000, 0.0);
        let spread = |range: std::ops::Range<usize>| {
            let values = range.map(|i| field.effect(i));
            let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
            high - low
        };
        assert!(spread(19_000..20_000) < 0.05 * spread(0..20));
    }

    #[test]
    fn a_single_id_has_no_effect() {
        let field = field(1, 0.0);
        assert_eq!(field.effect(0), 0.0);
        assert_eq!(field.vector(0), [0.0; 3]);
        assert_eq!(field.draw(0.999), 0);
    }

    #[test]
    fn the_empty_cell_takes_its_share() {
        let field = field(10, 0.25);
        assert_eq!((field.draw(0.2499), field.token(10)), (10, None));
        assert_eq!(field.draw(0.25), 0);
        assert_eq!(field.draw(0.999_999_999), 9);
    }
}
