//! The controller: popularity in, weights of the candidate sizes out.

use std::ops::Range;

use slimbed_rng::Seed;

/// Attributes of a row: logarithm of its count, standardised per field, and its rank as a share of the field.
pub const ATTRIBUTES: usize = 2;

/// `softmax(W2·tanh(W1·x + b1) + b2)` over the candidates; weights in one flat vector.
#[derive(Clone, Debug)]
pub struct Net {
    /// Candidate sizes, rising; the last is the dim.
    pub sizes: Vec<usize>,
    pub n_hidden: usize,
    /// W1 `[2, H]`, b1 `[H]`, W2 `[H, N]`, b2 `[N]`.
    pub weights: Vec<f32>,
}

/// Where the four parts of the weights stand.
struct Places {
    w1: Range<usize>,
    b1: Range<usize>,
    w2: Range<usize>,
    b2: Range<usize>,
}

impl Net {
    /// A controller that gives all candidates the same weight.
    pub fn new(sizes: Vec<usize>, n_hidden: usize, seed: Seed) -> Self {
        let n = sizes.len();
        let n_weights = (ATTRIBUTES + 1) * n_hidden + (n_hidden + 1) * n;
        let mut net = Self {
            sizes,
            n_hidden,
            weights: vec![0.0; n_weights],
        };
        let w1 = net.places().w1;
        seed.stream("autoemb/w1", 0)
            .fill_normal(&mut net.weights[w1], std::f32::consts::FRAC_1_SQRT_2);
        net
    }

    fn places(&self) -> Places {
        let (h, n) = (self.n_hidden, self.sizes.len());
        let b1 = ATTRIBUTES * h;
        let w2 = b1 + h;
        let b2 = w2 + h * n;
        Places {
            w1: 0..b1,
            b1: b1..w2,
            w2: w2..b2,
            b2: b2..b2 + n,
        }
    }

    /// Values of a row's tape: hidden units and weights of the candidates.
    pub fn tape_len(&self) -> usize {
        self.n_hidden + self.sizes.len()
    }

    /// Computes a row's tape.
    pub fn forward(&self, x: &[f32], tape: &mut [f32]) {
        let places = self.places();
        let (hidden, shares) = tape.split_at_mut(self.n_hidden);
        hidden.copy_from_slice(&self.weights[places.b1]);
        for (x, w) in x
            .iter()
            .zip(self.weights[places.w1].chunks_exact(self.n_hidden))
        {
            hidden.iter_mut().zip(w).for_each(|(h, w)| *h += x * w);
        }
        hidden.iter_mut().for_each(|h| *h = h.tanh());
        shares.copy_from_slice(&self.weights[places.b2]);
        let n = self.sizes.len();
        for (h, w) in hidden.iter().zip(self.weights[places.w2].chunks_exact(n)) {
            shares.iter_mut().zip(w).for_each(|(s, w)| *s += h * w);
        }
        let largest = shares.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x));
        shares.iter_mut().for_each(|s| *s = (*s - largest).exp());
        let sum: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|s| *s /= sum);
    }

    /// Weights of the candidates on a tape.
    pub fn shares<'t>(&self, tape: &'t [f32]) -> &'t [f32] {
        &tape[self.n_hidden..]
    }

    /// Multiplies each column with the sum of the weights of the candidates that have it.
    pub fn weigh(&self, tape: &[f32], row: &mut [f32]) {
        let mut end = row.len();
        let mut weight = 0.0;
        for (n, share) in self.shares(tape).iter().enumerate().rev() {
            weight += share;
            let start = if n == 0 { 0 } else { self.sizes[n - 1] };
            row[start..end].iter_mut().for_each(|x| *x *= weight);
            end = start;
        }
    }

    /// Adds a row's gradient of the weights to `sum` and turns `g`, the gradient of the weighed row, into that of
    /// the row `e`. `d_shares` is memory for a value of each candidate.
    pub fn backward(
        &self,
        (x, e): (&[f32], &[f32]),
        tape: &[f32],
        g: &mut [f32],
        (d_shares, sum): (&mut [f32], &mut [f32]),
    ) {
        let places = self.places();
        let (hidden, shares) = tape.split_at(self.n_hidden);
        let (mut start, mut inner) = (0, 0.0);
        for (d, &size) in d_shares.iter_mut().zip(&self.sizes) {
            let pairs = g[start..size].iter().zip(&e[start..size]);
            inner += pairs.map(|(g, e)| g * e).sum::<f32>();
            *d = inner;
            start = size;
        }
        let mean: f32 = d_shares.iter().zip(shares).map(|(d, s)| d * s).sum();
        let logits = d_shares.iter_mut().zip(shares);
        logits.for_each(|(d, s)| *d = s * (*d - mean));
        self.weigh(tape, g);
        let n = self.sizes.len();
        let d_logits = &*d_shares;
        sum[places.b2]
            .iter_mut()
            .zip(d_logits)
            .for_each(|(s, d)| *s += d);
        for (k, &h) in hidden.iter().enumerate() {
            let place = places.w2.start + k * n..places.w2.start + (k + 1) * n;
            let own = &self.weights[place.clone()];
            let d_hidden: f32 = own.iter().zip(d_logits).map(|(w, d)| w * d).sum();
            sum[place]
                .iter_mut()
                .zip(d_logits)
                .for_each(|(s, d)| *s += h * d);
            let d_before = d_hidden * (1.0 - h * h);
            sum[places.b1.start + k] += d_before;
            for (i, x) in x.iter().enumerate() {
                sum[i * self.n_hidden + k] += x * d_before;
            }
        }
    }

    /// The candidate that is kept: that of the largest `ln share − tilt·size/dim`, of tied ones the smallest.
    pub fn size(&self, tape: &[f32], tilt: f32) -> usize {
        let dim = self.sizes[self.sizes.len() - 1] as f32;
        let mut best = (f32::NEG_INFINITY, self.sizes[0]);
        for (share, &size) in self.shares(tape).iter().zip(&self.sizes) {
            let score = share.ln() - tilt * size as f32 / dim;
            if score > best.0 {
                best = (score, size);
            }
        }
        best.1
    }
}
