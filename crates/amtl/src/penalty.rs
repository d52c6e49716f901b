//! The size penalty, and the controller that makes sizes meet a budget.

use crate::attributes::Sample;
use crate::net::{Net, PANEL};
use crate::settings::AmtlSettings;

/// Within this share above or below the target the force falls off with the distance.
const BAND: f64 = 0.2;

/// Bounds of the controller's multiplier.
const MULTIPLIERS: [f32; 2] = [1e-8, 1e3];

/// Where the controller starts when the settings do not say.
const FIRST_MULTIPLIER: f32 = 1e-3;

/// λ, and what moves it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// λ of the next step; negative where sizes are below the target.
    pub lambda: f32,
    /// λ far above the target.
    pub multiplier: f32,
    /// Share of the values to keep; 0 for no target.
    pub target: f32,
    rate: f32,
}

impl Control {
    /// At the start of training.
    pub fn new(settings: &AmtlSettings) -> Self {
        let mut control = Self {
            lambda: settings.penalty,
            multiplier: settings.penalty,
            target: 0.0,
            rate: settings.control_rate,
        };
        control.aim(settings.target_ratio as f32);
        control
    }

    /// Whether there is a target.
    pub fn has_target(&self) -> bool {
        self.target > 0.0
    }

    /// Sets the share of the values to keep; with 0 λ stays where it is.
    pub fn aim(&mut self, target: f32) {
        self.target = target;
        if self.has_target() && self.multiplier == 0.0 {
            self.multiplier = FIRST_MULTIPLIER;
        }
    }

    /// Moves λ after a step at which the share `kept` of the values was kept.
    ///
    /// With `x = clip(kept / target − 1, −1, 1)`: `ln Λ ← ln Λ + rate·x` and `λ = Λ·clip(x / 0.2, −1, 1)`.
    /// Λ rises as long as sizes are above the target; near it λ falls with the distance, so that sizes
    /// do not rush through.
    pub fn update(&mut self, kept: f64) {
        let excess = (kept / f64::from(self.target) - 1.0).clamp(-1.0, 1.0);
        let [least, most] = MULTIPLIERS;
        let factor = (self.rate * excess as f32).exp();
        self.multiplier = (self.multiplier * factor).clamp(least, most);
        self.lambda = self.multiplier * (excess / BAND).clamp(-1.0, 1.0) as f32;
    }
}

impl Sample {
    /// Writes `∂/∂t̂` of `λ · E[share of the values that is kept]` to the tapes of the sample.
    pub fn write_gradient(&self, net: &Net, lambda: f32, tapes: &mut [f32]) {
        let dim = net.size(net.n_positions - 1) as f32;
        let shares = self.shares.chunks(PANEL);
        for (shares, tape) in shares.zip(tapes.chunks_exact_mut(net.panel_len())) {
            let (lines, _) = tape[net.gradient()].as_chunks_mut::<PANEL>();
            for (p, line) in lines.iter_mut().enumerate() {
                let part = lambda * net.size(p) as f32 / dim;
                line.fill(0.0);
                let rows = line.iter_mut().zip(shares);
                rows.for_each(|(g, share)| *g = part * share);
            }
        }
    }

    /// Share of all values that the sizes of the sample keep.
    pub fn kept(&self, net: &Net, tapes: &[f32]) -> f64 {
        let dim = net.size(net.n_positions - 1) as f64;
        let shares = self.shares.iter().enumerate();
        let kept = shares.map(|(i, &share)| f64::from(share) * net.size_of(tapes, i) as f64);
        kept.sum::<f64>() / dim
    }
}
