//! A network computed plainly in f64, sample by sample, with the size of the terms behind every number.
//!
//! Only networks of affine layers, ReLU, dropout, dot interaction and cross-entropy on logits.

mod number;

use slimbed_fused::{Activation, Dropout, Linear, Network, Piece, Value};
use slimbed_rng::Seed;

pub use number::Number;
use number::Sum;

/// Parameters in f64.
pub struct Plain<'a> {
    network: &'a Network,
    params: Vec<Vec<f64>>,
}

/// What a network made of one sample.
struct Trace {
    /// Every value, inputs first.
    values: Vec<Vec<Number>>,
    /// What each layer had before its activation; empty for other pieces.
    before: Vec<Vec<Number>>,
}

/// Loss and gradients of a batch.
pub struct Gradients {
    pub loss: Number,
    /// `[n, n_fields · dim]`.
    pub embeddings: Vec<Number>,
    /// Those of the parameters, in their order.
    pub params: Vec<Vec<Number>>,
}

/// A sample: dense features, embeddings, label.
pub type Sample<'a> = (&'a [f32], &'a [f32], f32);

/// The factors of dropout behind each piece for a whole batch; empty for pieces without.
pub struct Masks(Vec<Vec<f64>>);

impl Masks {
    /// Those of a step, drawn in order as [`Dropout`] says.
    pub fn new(network: &Network, n: usize, seed: Seed, step: u64) -> Self {
        let of_piece = |piece: &Piece| match piece {
            Piece::Linear(Linear {
                dropout: Some(dropout),
                n_out,
                ..
            }) => mask(dropout, n * n_out, seed, step),
            _ => Vec::new(),
        };
        Self(network.pieces().iter().map(of_piece).collect())
    }

    /// The factor of entry `j` of piece `p` for sample `b`.
    fn factor(&self, p: usize, b: usize, n_out: usize, j: usize) -> f64 {
        self.0[p].get(b * n_out + j).copied().unwrap_or(1.0)
    }
}

fn mask(dropout: &Dropout, n: usize, seed: Seed, step: u64) -> Vec<f64> {
    let mut stream = seed.stream(&dropout.purpose, step);
    let kept = f64::from(1.0 / (1.0 - dropout.rate));
    let factor = |_| {
        if stream.uniform() < dropout.rate {
            0.0
        } else {
            kept
        }
    };
    (0..n).map(factor).collect()
}

impl<'a> Plain<'a> {
    /// With the parameters that `seed` gives.
    pub fn new(network: &'a Network, seed: Seed) -> Self {
        let params = network.params().iter();
        let params = params.map(|param| param.initial(seed).into_iter().map(f64::from).collect());
        Self {
            network,
            params: params.collect(),
        }
    }

    /// The logit as scoring sees it.
    pub fn logit(&self, sample: Sample<'_>) -> Number {
        let none = Masks(vec![Vec::new(); self.network.pieces().len()]);
        let trace = self.forward(sample, &none, 0);
        trace.values[self.network.output().index()][0]
    }

    /// Whether sample `b` of a batch in training stays clear of every kink: no input of a ReLU is so near
    /// to 0 that rounding decides whether a gradient goes through.
    pub fn is_smooth(&self, sample: Sample<'_>, masks: &Masks, b: usize) -> bool {
        let trace = self.forward(sample, masks, b);
        let pieces = self.network.pieces().iter().zip(trace.before);
        let mut inputs_of_relu = pieces
            .filter(|(piece, _)| {
                matches!(piece, Piece::Linear(linear) if linear.activation == Activation::Relu)
            })
            .flat_map(|(_, before)| before);
        inputs_of_relu.all(|z| z.value.abs() > z.tolerance())
    }

    /// Mean loss and gradients of a batch in training.
    pub fn gradients(&self, batch: &[Sample<'_>], masks: &Masks) -> Gradients {
        let mut loss = Sum::default();
        let sizes = self.params.iter().map(Vec::len);
        let mut params: Vec<_> = sizes.map(|n| vec![Sum::default(); n]).collect();
        let mut embeddings = Vec::new();
        for (b, &sample) in batch.iter().enumerate() {
            let trace = self.forward(sample, masks, b);
            let logit = trace.values[self.network.output().index()][0];
            let (sample_loss, d_logit) = cross_entropy(logit, sample.2.into(), batch.len() as f64);
            loss.add(sample_loss);
            embeddings.extend(self.backward(&trace, d_logit, masks, b, &mut params));
        }
        let finish = |sums: Vec<Sum>| sums.into_iter().map(Sum::total).collect();
        Gradients {
            loss: loss.total(),
            embeddings,
            params: params.into_iter().map(finish).collect(),
        }
    }

    fn forward(&self, (dense, embeddings, _): Sample<'_>, masks: &Masks, b: usize) -> Trace {
        let exact = |values: &[f32]| values.iter().map(|&v| Number::exact(v.into())).collect();
        let mut trace = Trace {
            values: vec![exact(dense), exact(embeddings), Vec::new()],
            before: Vec::new(),
        };
        for (p, piece) in self.network.pieces().iter().enumerate() {
            let (before, value) = match piece {
                Piece::Linear(linear) => {
                    let before = self.affine(linear, &trace.values[linear.input.index()]);
                    let after = before.iter().enumerate();
                    let after = after.map(|(j, &z)| match linear.activation {
                        Activation::None => z,
                        Activation::Relu => z.relu(),
                    } * masks.factor(p, b, linear.n_out, j));
                    let after = after.collect();
                    (before, after)
                }
                Piece::DotInteraction(piece) => {
                    let x = &trace.values[piece.x.index()];
                    let t = [&x[..], &trace.values[Value::EMBEDDINGS.index()]].concat();
                    let dots = pairs(piece.n_fields + 1, |i| piece.own.n_partners(i));
                    let dots =
                        dots.map(|(i, j)| dot(vector(&t, i, piece.dim), vector(&t, j, piece.dim)));
                    (Vec::new(), x.iter().copied().chain(dots).collect())
                }
                other => unreachable!("the reference has no {other:?}"),
            };
            trace.before.push(before);
            trace.values.push(value);
        }
        trace
    }

    /// `x Wᵀ + b`.
    fn affine(&self, linear: &Linear, x: &[Number]) -> Vec<Number> {
        let (weight, bias) = (&self.params[linear.weight], &self.params[linear.weight + 1]);
        let rows = weight.chunks_exact(linear.n_in).zip(bias);
        rows.map(|(row, &bias)| {
            let mut sum = Sum::default();
            sum.add(Number::exact(bias));
            for (&w, &x) in row.iter().zip(x) {
                sum.add_product(Number::exact(w), x);
            }
            sum.total()
        })
        .collect()
    }

    /// Adds a sample's gradients of the parameters; returns those of its embeddings.
    fn backward(
        &self,
        trace: &Trace,
        d_logit: Number,
        masks: &Masks,
        b: usize,
        params: &mut [Vec<Sum>],
    ) -> Vec<Number> {
        let widths = trace.values.iter().map(Vec::len);
        let mut sums: Vec<_> = widths.map(|n| vec![Sum::default(); n]).collect();
        sums[self.network.output().index()][0].add(d_logit);
        for (p, piece) in self.network.pieces().iter().enumerate().rev() {
            match piece {
                Piece::Linear(linear) => {
                    let x = &trace.values[linear.input.index()];
                    for j in 0..linear.n_out {
                        let dy = sums[linear.output.index()][j].total();
                        let is_open =
                            linear.activation == Activation::None || trace.before[p][j].value > 0.0;
                        let slope = if is_open {
                            masks.factor(p, b, linear.n_out, j)
                        } else {
                            0.0
                        };
                        let dz = dy * slope;
                        params[linear.weight + 1][j].add(dz);
                        for (i, &x) in x.iter().enumerate() {
                            let at = j * linear.n_in + i;
                            params[linear.weight][at].add_product(dz, x);
                            let w = Number::exact(self.params[linear.weight][at]);
                            sums[linear.input.index()][i].add_product(dz, w);
                        }
                    }
                }
                Piece::DotInteraction(piece) => {
                    let dim = piece.dim;
                    let (x, e) = (piece.x.index(), Value::EMBEDDINGS.index());
                    let dy: Vec<_> = sums[piece.output.index()]
                        .iter()
                        .map(|&s| s.total())
                        .collect();
                    let t = [&trace.values[x][..], &trace.values[e]].concat();
                    let mut dt = vec![Sum::default(); t.len()];
                    dt.iter_mut()
                        .zip(&dy[..dim])
                        .for_each(|(sum, &g)| sum.add(g));
                    let pairs = pairs(piece.n_fields + 1, |i| piece.own.n_partners(i));
                    for ((i, j), &g) in pairs.zip(&dy[dim..]) {
                        for c in 0..dim {
                            dt[i * dim + c].add_product(g, t[j * dim + c]);
                            dt[j * dim + c].add_product(g, t[i * dim + c]);
                        }
                    }
                    let (dx, de) = dt.split_at(dim);
                    sums[x]
                        .iter_mut()
                        .zip(dx)
                        .for_each(|(sum, dx)| sum.merge(dx));
                    sums[e]
                        .iter_mut()
                        .zip(de)
                        .for_each(|(sum, de)| sum.merge(de));
                }
                other => unreachable!("the reference has no {other:?}"),
            }
        }
        let embeddings = &sums[Value::EMBEDDINGS.index()];
        embeddings.iter().map(|&sum| sum.total()).collect()
    }
}

/// The pairs `(i, j)` of `n` vectors in their order.
fn pairs(n: usize, n_partners: impl Fn(usize) -> usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (0..n_partners(i)).map(move |j| (i, j)))
}

fn vector(t: &[Number], i: usize, dim: usize) -> &[Number] {
    &t[i * dim..(i + 1) * dim]
}

fn dot(a: &[Number], b: &[Number]) -> Number {
    let mut sum = Sum::default();
    a.iter().zip(b).for_each(|(&a, &b)| sum.add_product(a, b));
    sum.total()
}

/// A sample's part of the mean of `max(z, 0) − z·y + ln(1 + e^{−|z|})` over `n`, and its derivative
/// `(σ(z) − y) / n`.
fn cross_entropy(z: Number, y: f64, n: f64) -> (Number, Number) {
    let sigmoid = 1.0 / (1.0 + (-z.value).exp());
    let slope = sigmoid - y;
    let mut loss = Sum::default();
    loss.add(Number::exact(z.value.max(0.0)));
    loss.add(Number::exact(-z.value * y));
    loss.add(Number::exact((-z.value.abs()).exp().ln_1p()));
    loss.add_error(slope * z.size);
    let mut gradient = Sum::default();
    gradient.add(Number::exact(sigmoid));
    gradient.add(Number::exact(-y));
    gradient.add_error(sigmoid * (1.0 - sigmoid) * z.size);
    (loss.total() * (1.0 / n), gradient.total() * (1.0 / n))
}
