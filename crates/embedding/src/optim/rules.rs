//! The update of one row.

use super::powers::Powers;

/// Values of a row handled together.
const LANES: usize = 8;

/// An update rule with the constants of one step.
///
/// A step is compiled once for each rule, so that nothing is decided row by row.
pub trait Rule: Copy + Send + Sync {
    /// Words of state of a row.
    const N_WORDS: usize = 0;

    /// Floats of state of a row of `dim` values.
    fn n_floats(dim: usize) -> usize;

    /// One step of row `w` with its gradient, not yet scaled, and its state.
    fn update(&self, w: &mut [f32], gradient: &[f32], floats: &mut [f32], words: &mut [u32]);
}

/// `w ← w − lr·g`.
#[derive(Clone, Copy)]
pub struct Sgd {
    pub lr: f32,
    pub scale: f32,
}

impl Rule for Sgd {
    fn n_floats(_dim: usize) -> usize {
        0
    }

    #[inline(always)]
    fn update(&self, w: &mut [f32], gradient: &[f32], _: &mut [f32], _: &mut [u32]) {
        map_row(w, gradient, [], |w, g, []| {
            (w - self.lr * (self.scale * g), [])
        });
    }
}

/// `a ← a + g²`, `w ← w − lr·g / (√a + eps)`.
#[derive(Clone, Copy)]
pub struct Adagrad {
    pub sgd: Sgd,
    pub eps: f32,
}

impl Rule for Adagrad {
    fn n_floats(dim: usize) -> usize {
        dim
    }

    #[inline(always)]
    fn update(&self, w: &mut [f32], gradient: &[f32], sum: &mut [f32], _: &mut [u32]) {
        map_row(w, gradient, [sum], |w, g, [a]| {
            let g = self.sgd.scale * g;
            let a = a + g * g;
            (w - self.sgd.lr * g / (a.sqrt() + self.eps), [a])
        });
    }
}

/// `a ← a + mean(g²)`, `w ← w − lr·g / (√a + eps)`.
#[derive(Clone, Copy)]
pub struct RowWiseAdagrad {
    pub sgd: Sgd,
    pub eps: f32,
}

impl Rule for RowWiseAdagrad {
    fn n_floats(_dim: usize) -> usize {
        1
    }

    #[inline(always)]
    fn update(&self, w: &mut [f32], gradient: &[f32], sum: &mut [f32], words: &mut [u32]) {
        let Sgd { lr, scale } = self.sgd;
        sum[0] += sum_of_squares(gradient, scale) / gradient.len() as f32;
        let lr = lr / (sum[0].sqrt() + self.eps);
        let sgd = Sgd { lr, scale };
        sgd.update(w, gradient, &mut [], words);
    }
}

/// `Σ (scale·g)²` in four sums, which the compiler keeps in one register.
#[inline(always)]
fn sum_of_squares(gradient: &[f32], scale: f32) -> f32 {
    let mut sums = [0.0; 4];
    let (fours, rest) = gradient.as_chunks::<4>();
    for four in fours {
        for (sum, g) in sums.iter_mut().zip(four) {
            *sum += (scale * g) * (scale * g);
        }
    }
    let rest: f32 = rest.iter().map(|g| (scale * g) * (scale * g)).sum();
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

/// Adam with the moments of `floats` and the last step of `words`.
#[derive(Clone, Copy)]
pub struct Adam<'a> {
    beta1: f32,
    beta2: f32,
    eps: f32,
    scale: f32,
    /// Number of the step, from 1.
    step: u32,
    /// `lr / (1 − β₁ᵗ)` and `1 / (1 − β₂ᵗ)`.
    rate: f32,
    correction2: f32,
    /// Of β₁ and β₂.
    powers: &'a [Powers; 2],
}

impl<'a> Adam<'a> {
    /// Step number `step`, from 1; `sgd` gives learning rate and scale, `powers` those of the betas.
    pub fn new(sgd: Sgd, betas: [f32; 2], eps: f32, step: u32, powers: &'a [Powers; 2]) -> Self {
        let [correction1, correction2] = betas.map(|beta| 1.0 - f64::from(beta).powf(step.into()));
        Self {
            beta1: betas[0],
            beta2: betas[1],
            eps,
            scale: sgd.scale,
            step,
            rate: (f64::from(sgd.lr) / correction1) as f32,
            correction2: (1.0 / correction2) as f32,
            powers,
        }
    }
}

impl Rule for Adam<'_> {
    const N_WORDS: usize = 1;

    fn n_floats(dim: usize) -> usize {
        2 * dim
    }

    #[inline(always)]
    fn update(&self, w: &mut [f32], gradient: &[f32], moments: &mut [f32], last: &mut [u32]) {
        // What the moments lose for the steps sat out.
        let idle = self.step.saturating_sub(last[0]).saturating_sub(1);
        let idle1 = self.powers[0].get(idle) as f32;
        let idle2 = self.powers[1].get(idle) as f32;
        last[0] = self.step;
        let (m, v) = moments.split_at_mut(gradient.len());
        map_row(w, gradient, [m, v], |w, g, [m, v]| {
            let g = self.scale * g;
            let m = self.beta1 * (m * idle1) + (1.0 - self.beta1) * g;
            let v = self.beta2 * (v * idle2) + (1.0 - self.beta2) * g * g;
            let root = (v * self.correction2).sqrt();
            (w - self.rate * m / (root + self.eps), [m, v])
        });
    }
}

/// Replaces each value of `w` and of the `S` rows of state by what `new` makes of them and the gradient.
///
/// Some values at a time go through local arrays: the compiler cannot know that the rows do not overlap
/// and would take them one by one.
#[inline(always)]
fn map_row<const S: usize>(
    w: &mut [f32],
    gradient: &[f32],
    mut state: [&mut [f32]; S],
    new: impl Fn(f32, f32, [f32; S]) -> (f32, [f32; S]),
) {
    let whole = w.len() - w.len() % LANES;
    for at in (0..whole).step_by(LANES) {
        map_values::<LANES, S>(at, w, gradient, &mut state, &new);
    }
    for at in whole..w.len() {
        map_values::<1, S>(at, w, gradient, &mut state, &new);
    }
}

#[inline(always)]
fn map_values<const N: usize, const S: usize>(
    at: usize,
    w: &mut [f32],
    gradient: &[f32],
    state: &mut [&mut [f32]; S],
    new: &impl Fn(f32, f32, [f32; S]) -> (f32, [f32; S]),
) {
    let (w, gradient) = (&mut w[at..at + N], &gradient[at..at + N]);
    let (mut new_w, mut new_state) = ([0.0; N], [[0.0; N]; S]);
    for i in 0..N {
        let old = std::array::from_fn(|s| state[s][at + i]);
        let (value, values) = new(w[i], gradient[i], old);
        new_w[i] = value;
        (0..S).for_each(|s| new_state[s][i] = values[s]);
    }
    w.copy_from_slice(&new_w);
    for (state, new) in state.iter_mut().zip(new_state) {
        state[at..at + N].copy_from_slice(&new);
    }
}
