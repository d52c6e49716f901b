//! What learning sizes needs besides their function: tapes, gradients, optimiser and controller.

use rayon::prelude::*;
use slimbed_embedding::{BatchIndex, EmbeddingError, StepSize};
use slimbed_fused::{DenseRule, FlatOptimizer, WeightDecay};

use crate::attributes::{ATTRIBUTES, Sample};
use crate::kernels;
use crate::net::{CHUNK, Net, PANEL};
use crate::penalty::Control;
use crate::settings::AmtlSettings;
use crate::sizer::{Eye, Sizer};

/// State of the training of a [`Sizer`].
#[derive(Debug)]
pub struct Trainer {
    pub optimizer: FlatOptimizer,
    pub control: Control,
    pub sample: Sample,
    /// Gradient of the weights.
    pub gradient: Vec<f32>,
    lr: f64,
    sample_tapes: Vec<f32>,
    /// Attributes of the unique rows of a batch, `[U, 2]`.
    attributes: Vec<f32>,
    /// Tapes of the unique rows of a batch.
    tapes: Vec<f32>,
    /// Weights of each layer, transposed.
    transposed: Vec<f32>,
    /// Gradients of the weights: a line for each chunk of the sample, then of the batch.
    partials: Vec<f32>,
}

/// Whether the way back is the first from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It is; the tapes are as the forward pass left them.
    First,
    /// It is not; the tapes were used up.
    Again,
}

impl Trainer {
    /// At the start of training.
    pub fn new(settings: &AmtlSettings, net: &Net, sample: Sample) -> Self {
        let n = net.n_weights();
        Self {
            optimizer: FlatOptimizer::new(n, DenseRule::ADAM, WeightDecay::None),
            control: Control::new(settings),
            gradient: vec![0.0; n],
            lr: settings.lr,
            sample_tapes: vec![0.0; net.tape_len(sample.shares.len())],
            sample,
            attributes: Vec::new(),
            tapes: Vec::new(),
            transposed: vec![0.0; n],
            partials: Vec::new(),
        }
    }

    /// Masks the unique rows of a batch, `[U, dim]`.
    pub fn forward(
        &mut self,
        sizer: &Sizer,
        index: &BatchIndex,
        eye: Eye,
        rows: &mut [f32],
    ) -> Result<(), EmbeddingError> {
        let (n, most) = (index.n_unique() * ATTRIBUTES, index.n_ids());
        grow(&mut self.attributes, most * ATTRIBUTES);
        grow(&mut self.tapes, sizer.net.tape_len(most));
        sizer.gather(index, &mut self.attributes[..n])?;
        let chunks = rows.par_chunks_mut(CHUNK * sizer.dim);
        let chunks = chunks.zip(self.attributes[..n].par_chunks(CHUNK * ATTRIBUTES));
        let tapes = self.tapes.par_chunks_mut(sizer.net.tape_len(CHUNK));
        chunks.zip(tapes).for_each(|((rows, attributes), tapes)| {
            sizer.mask(sizer.size(attributes, tapes), eye, rows);
        });
        Ok(())
    }

    /// Replaces the gradients of masked rows by those of the `rows`, and finds those of the weights.
    pub fn backward(&mut self, sizer: &Sizer, pass: Pass, rows: &[f32], gradients: &mut [f32]) {
        let n_weights = sizer.weights.len();
        let n_samples = self.n_sample_chunks();
        let n_chunks = n_samples + (rows.len() / sizer.dim).div_ceil(CHUNK);
        grow(&mut self.partials, n_chunks * n_weights);
        transpose(&sizer.net, &sizer.weights, &mut self.transposed);
        let (penalty, data) = self.partials.split_at_mut(n_samples * n_weights);
        let transposed = &self.transposed[..];
        let tape_len = sizer.net.tape_len(CHUNK);
        if n_samples > 0 {
            let lambda = self.control.lambda;
            sizer.size(&self.sample.attributes, &mut self.sample_tapes);
            self.sample
                .write_gradient(&sizer.net, lambda, &mut self.sample_tapes);
            let tapes = self.sample_tapes.par_chunks_mut(tape_len);
            let chunks = tapes.zip(penalty.par_chunks_mut(n_weights));
            chunks.for_each(|(tapes, partial)| {
                kernels::backward(&sizer.net, transposed, tapes, partial);
            });
        }
        let chunks = gradients.par_chunks_mut(CHUNK * sizer.dim);
        let chunks = chunks.zip(rows.par_chunks(CHUNK * sizer.dim));
        let places = self.tapes.par_chunks_mut(tape_len);
        let places = places.zip(data.par_chunks_mut(n_weights));
        chunks
            .zip(places)
            .for_each(|((gradients, rows), (tapes, partial))| {
                let tapes = &mut tapes[..sizer.net.tape_len(rows.len() / sizer.dim)];
                if pass == Pass::Again {
                    sizer.size_again(tapes);
                }
                write_size_gradients(sizer, rows, gradients, tapes);
                sizer.mask(tapes, Eye::Training, gradients);
                kernels::backward(&sizer.net, transposed, tapes, partial);
            });
        add_lines(&self.partials[..n_chunks * n_weights], &mut self.gradient);
    }

    /// Replaces the gradients of masked rows by those of the rows where sizes are held.
    pub fn backward_held(&self, sizer: &Sizer, gradients: &mut [f32]) {
        let chunks = gradients.par_chunks_mut(CHUNK * sizer.dim);
        let tapes = self.tapes.par_chunks(sizer.net.tape_len(CHUNK));
        let mask = |(gradients, tapes): (&mut [f32], &[f32])| {
            sizer.mask(tapes, Eye::Training, gradients);
        };
        chunks.zip(tapes).for_each(mask);
    }

    /// Updates the weights, and then λ.
    pub fn step(&mut self, sizer: &mut Sizer, size: StepSize) {
        let lr = self.lr * f64::from(size.factor);
        let scale = f64::from(size.scale);
        let (weights, gradient) = (&mut sizer.weights, &self.gradient);
        self.optimizer.step(weights, gradient, lr, scale);
        if self.control.has_target() {
            let kept = self.sample.kept(&sizer.net, &self.sample_tapes);
            self.control.update(kept);
        }
    }

    /// Chunks of the sample; none where there is no penalty.
    fn n_sample_chunks(&self) -> usize {
        if self.control.lambda == 0.0 && !self.control.has_target() {
            return 0;
        }
        self.sample.shares.len().div_ceil(CHUNK)
    }
}

/// Writes `∂L/∂t̂` to the tapes.
fn write_size_gradients(sizer: &Sizer, rows: &[f32], gradients: &[f32], tapes: &mut [f32]) {
    let len = PANEL * sizer.dim;
    let panels = rows.chunks(len).zip(gradients.chunks(len));
    let tapes = tapes.chunks_exact_mut(sizer.net.panel_len());
    for ((rows, gradients), tape) in panels.zip(tapes) {
        kernels::size_gradient(&sizer.net, rows, gradients, tape);
    }
}

/// Adds lines as long as `sum` in their order.
fn add_lines(lines: &[f32], sum: &mut [f32]) {
    sum.fill(0.0);
    for line in lines.chunks_exact(sum.len()) {
        sum.iter_mut().zip(line).for_each(|(sum, x)| *sum += x);
    }
}

/// Writes the weights `[inputs + 1, outputs]` of each layer as `[outputs, inputs + 1]`.
pub fn transpose(net: &Net, weights: &[f32], out: &mut [f32]) {
    for branch in 0..net.n_branches {
        for layer in 0..net.n_layers() {
            let place = net.weights(branch, layer);
            let n_in = place.len() / net.n_out(layer);
            let columns = out[place.clone()].chunks_exact_mut(n_in);
            for (n, column) in columns.enumerate() {
                let weights = weights[place.clone()].iter().skip(n);
                let weights = weights.step_by(net.n_out(layer));
                column.iter_mut().zip(weights).for_each(|(x, w)| *x = *w);
            }
        }
    }
}

/// Makes room for `len` values; it stops growing with the batch.
fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
