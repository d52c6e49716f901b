//! Numbers that know the size of the terms they were summed from.

use std::ops::Mul;

/// How far a number computed in f32 may be off, in units of its [`size`](Number::size).
const TOLERANCE: f64 = 1e-5;

/// The result of a computation that would have rounded in f32.
///
/// A sum of terms `t_i` that are products of `a_i` and `b_i` is off by about a rounding of `Σ|t_i|`, and by
/// what `a_i` and `b_i` were off before. The latter have signs of their own, so that their squares add up:
/// `size² = (Σ|t_i|)² + Σ (a_i·size(b_i))² + (b_i·size(a_i))²`, without cancellation at any place.
/// What comes from outside has size 0. Worst cases instead of squares (the network on absolute values)
/// would grow tenfold with every layer and hide wrong terms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number {
    pub value: f64,
    pub size: f64,
}

impl Number {
    /// A number from outside.
    pub fn exact(value: f64) -> Self {
        Self { value, size: 0.0 }
    }

    /// How far the same computation in f32 may be off.
    pub fn tolerance(self) -> f64 {
        TOLERANCE * self.size
    }

    /// `max(z, 0)`.
    pub fn relu(self) -> Self {
        if self.value + self.tolerance() < 0.0 {
            return Self::default();
        }
        Self {
            value: self.value.max(0.0),
            ..self
        }
    }
}

impl Mul<f64> for Number {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            size: self.size * factor.abs(),
        }
    }
}

/// A sum in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    value: f64,
    /// `Σ|t_i|`.
    terms: f64,
    /// Sum of squares of what was off before.
    errors: f64,
}

impl Sum {
    pub fn add(&mut self, term: Number) {
        self.value += term.value;
        self.terms += term.value.abs();
        self.add_error(term.size);
    }

    pub fn add_product(&mut self, a: Number, b: Number) {
        let term = a.value * b.value;
        self.value += term;
        self.terms += term.abs();
        self.errors += (a.value * b.size).powi(2) + (b.value * a.size).powi(2);
    }

    /// Adds what a term may be off.
    pub fn add_error(&mut self, size: f64) {
        self.errors += size.powi(2);
    }

    /// Adds the terms of another sum.
    pub fn merge(&mut self, other: &Self) {
        self.value += other.value;
        self.terms += other.terms;
        self.errors += other.errors;
    }

    pub fn total(self) -> Number {
        Number {
            value: self.value,
            size: self.terms.hypot(self.errors.sqrt()),
        }
    }
}
