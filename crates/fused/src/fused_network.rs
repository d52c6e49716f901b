//! A network on the CPU, with its parameters, gradients and optimiser.

use rayon::prelude::*;
use slimbed_rng::Seed;

use crate::activations::{ChunkInputs, Pass};
use crate::chunk::{Chunk, Context};
use crate::matrix::Write;
use crate::mode::{Inputs, Mode, Precision};
use crate::network::Network;
use crate::optim::FlatOptimizer;
use crate::piece::Value;
use crate::segments::{Run, Segments, Trained};
use crate::{DenseRule, FusedError, NamedTensor, OptimizerState, WeightDecay};

/// Samples that one thread takes through the network at a time, at most: more would leave the cache and
/// share the work out worse, fewer would add to the gradients of the weights too often.
const MAX_CHUNK: usize = 256;
/// Samples of a chunk, at least, where a batch has enough for two.
const MIN_CHUNK: usize = 64;
/// Chunks a batch is cut into where they are not too small.
const CHUNKS: usize = 4;

/// Trains and scores a [`Network`] with this crate's kernels.
///
/// A batch is cut into chunks by its size alone; a thread takes a chunk forward, through the loss, and
/// back. Then the gradients of the weights are summed over the chunks in order, blocks of rows in
/// parallel. So the bits do not depend on the number of threads. Once the largest batch has been
/// seen, nothing is allocated (but without AVX-512 BF16, where the `gemm` crate packs its operands anew).
#[derive(Debug)]
pub struct FusedNetwork {
    network: Network,
    precision: Precision,
    params: Vec<f32>,
    gradient: Vec<f32>,
    optimizer: FlatOptimizer,
    chunks: Vec<Chunk>,
    segments: Segments,
    writes: Vec<Vec<Write>>,
    /// Chunks of the last loss.
    n_chunks: usize,
}

impl FusedNetwork {
    /// Makes the parameters, drawn from `seed`, and an optimiser at step 0.
    ///
    /// # Errors
    /// When the processor cannot compute in `precision`.
    pub fn new(
        network: Network,
        seed: Seed,
        rule: DenseRule,
        weight_decay: WeightDecay,
        precision: Precision,
    ) -> Result<Self, FusedError> {
        if precision == Precision::Bf16 && !crate::bf16_is_available() {
            return Err(FusedError::NoBf16);
        }
        let params = network
            .params()
            .iter()
            .flat_map(|param| param.initial(seed));
        let params: Vec<f32> = params.collect();
        Ok(Self {
            gradient: vec![0.0; network.n_params()],
            optimizer: FlatOptimizer::new(network.n_params(), rule, weight_decay),
            chunks: Vec::new(),
            n_chunks: 0,
            segments: Segments::new(&network, &params, precision),
            params,
            writes: writes(&network),
            precision,
            network,
        })
    }

    /// What it computes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Mean loss of a batch in training; keeps the gradients of the parameters for
    /// [`step`](Self::step) and writes that of the embeddings, `[n, n_fields · dim]`.
    ///
    /// # Errors
    /// When a slice does not have the length that the batch and the network ask for.
    pub fn loss(
        &mut self,
        inputs: Inputs<'_>,
        labels: &[f32],
        mode: Mode,
        d_embeddings: &mut [f32],
    ) -> Result<f64, FusedError> {
        check(&self.network, &inputs)?;
        check_len("labels", inputs.n, labels.len())?;
        check_len(
            "gradient of the embeddings",
            inputs.embeddings.len(),
            d_embeddings.len(),
        )?;
        if inputs.n == 0 {
            return Err(FusedError::size("batch", "at least 1 sample", 0));
        }
        let rows = chunk_rows(inputs.n);
        self.n_chunks = inputs.n.div_ceil(rows);
        self.prepare(self.n_chunks);
        let width = self.network.width(Value::EMBEDDINGS);
        let Self {
            network,
            segments,
            chunks,
            ..
        } = self;
        let weights = Trained {
            network,
            params: &self.params,
            segments,
        };
        let context = Context {
            pass: Pass {
                network,
                weights: &weights,
                mode,
            },
            segments,
            writes: &self.writes,
            batch: inputs.n,
        };
        let pass = |(i, (chunk, d_embeddings)): (usize, (&mut Chunk, &mut [f32]))| {
            let part = slice(network, inputs, i, rows);
            chunk.forward(context.pass, part);
            let labels = &labels[part.start..][..part.rows];
            chunk.backward(&context, part, labels, d_embeddings);
        };
        let chunks = &mut chunks[..inputs.n.div_ceil(rows)];
        if let [chunk] = chunks {
            pass((0, (chunk, d_embeddings)));
        } else {
            let gradients = d_embeddings.par_chunks_mut(rows * width);
            chunks
                .par_iter_mut()
                .zip(gradients)
                .enumerate()
                .for_each(pass);
        }
        let chunks = &self.chunks[..inputs.n.div_ceil(rows)];
        let network = &self.network;
        let part = |i| slice(network, inputs, i, rows);
        self.segments
            .sum_gradients(network, chunks, part, &mut self.gradient);
        Ok(chunks.iter().map(|chunk| chunk.loss).sum::<f64>() / inputs.n as f64)
    }

    /// Writes the gradient of the first-order weights of the last [`loss`](Self::loss), `[n, n_fields]`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn first_order_gradient(&self, out: &mut [f32]) -> Result<(), FusedError> {
        let chunks = self.chunks[..self.n_chunks].iter();
        let parts = chunks.map(Chunk::first_order_gradient);
        check_len(
            "gradient of the first-order weights",
            parts.clone().map(<[f32]>::len).sum(),
            out.len(),
        )?;
        let mut rest = out;
        for part in parts {
            let (out, behind) = rest.split_at_mut(part.len());
            out.copy_from_slice(part);
            rest = behind;
        }
        Ok(())
    }

    /// Writes the logits of a batch, `[n]`; a batch of one chunk stays on the calling thread.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn logits(&mut self, inputs: Inputs<'_>, out: &mut [f32]) -> Result<(), FusedError> {
        check_inputs(&self.network, &inputs, out)?;
        let rows = chunk_rows(inputs.n);
        self.prepare(inputs.n.div_ceil(rows));
        let network = &self.network;
        let weights = Trained {
            network,
            params: &self.params,
            segments: &self.segments,
        };
        let pass = Pass {
            network,
            weights: &weights,
            mode: Mode::Eval,
        };
        let pass = |(i, (chunk, out)): (usize, (&mut Chunk, &mut [f32]))| {
            out.copy_from_slice(chunk.forward(pass, slice(network, inputs, i, rows)));
        };
        let chunks = &mut self.chunks[..inputs.n.div_ceil(rows)];
        if let [chunk] = chunks {
            pass((0, (chunk, out)));
        } else {
            let outs = out.par_chunks_mut(rows);
            chunks.par_iter_mut().zip(outs).enumerate().for_each(pass);
        }
        Ok(())
    }

    /// Sum of squares of the last batch's gradients, for clipping.
    pub fn gradient_norm_squared(&self) -> f64 {
        let squares = |values: &[f32]| values.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
        // Short runs keep the sum's order fixed and its chains of additions apart.
        self.gradient.chunks(64).map(squares).sum()
    }

    /// Updates the parameters with the gradients of the last batch times `scale`.
    pub fn step(&mut self, lr: f64, scale: f64) {
        let update = self.optimizer.begin(lr, scale);
        let run = Run {
            params: &mut self.params,
            gradient: &self.gradient,
            slots: self.optimizer.slots(),
        };
        self.segments.update(run, update);
    }

    /// Copies every parameter out.
    pub fn export(&self) -> Vec<NamedTensor> {
        self.named(&self.params)
    }

    /// Copies the gradients of the last batch out, under the names of their parameters.
    pub fn gradients(&self) -> Vec<NamedTensor> {
        self.named(&self.gradient)
    }

    /// Replaces every parameter by the tensor of the same name.
    ///
    /// # Errors
    /// When one is missing or has another shape; nothing is changed then.
    pub fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), FusedError> {
        let mut params = self.params.clone();
        for param in self.network.params() {
            let saved = NamedTensor::find(tensors, &param.name, &param.shape)?;
            params[param.range()].copy_from_slice(&saved.values);
        }
        self.params = params;
        self.segments.pack(&self.params);
        Ok(())
    }

    /// Copies the optimiser's state out.
    pub fn export_optimizer(&self) -> OptimizerState {
        self.optimizer.export(&self.network)
    }

    /// Goes on from a saved optimiser.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape; nothing is changed then.
    pub fn import_optimizer(&mut self, state: &OptimizerState) -> Result<(), FusedError> {
        self.optimizer.import(&self.network, state)
    }

    fn named(&self, flat: &[f32]) -> Vec<NamedTensor> {
        let params = self.network.params().iter();
        params
            .map(|param| NamedTensor {
                name: param.name.clone(),
                shape: param.shape.clone(),
                values: flat[param.range()].to_vec(),
            })
            .collect()
    }

    /// Makes sure that there are `n` chunks.
    fn prepare(&mut self, n: usize) {
        while self.chunks.len() < n {
            self.chunks.push(Chunk::new(&self.network, self.precision));
        }
    }
}

/// Samples of each chunk of a batch of `n`; all but the last have as many.
fn chunk_rows(n: usize) -> usize {
    n.div_ceil(CHUNKS).clamp(MIN_CHUNK, MAX_CHUNK)
}

/// Chunk `i` of the inputs.
fn slice<'a>(network: &Network, inputs: Inputs<'a>, i: usize, rows: usize) -> ChunkInputs<'a> {
    let start = i * rows;
    let rows = rows.min(inputs.n - start);
    let rows_of = |values: &'a [f32], value| {
        let width = network.width(value);
        &values[start * width..][..rows * width]
    };
    ChunkInputs {
        start,
        rows,
        dense: rows_of(inputs.dense, Value::DENSE),
        embeddings: rows_of(inputs.embeddings, Value::EMBEDDINGS),
        first_order: rows_of(inputs.first_order, Value::FIRST_ORDER),
    }
}

/// Checks the inputs of a batch against the network.
fn check(network: &Network, inputs: &Inputs<'_>) -> Result<(), FusedError> {
    let width = |value| inputs.n * network.width(value);
    check_len("dense features", width(Value::DENSE), inputs.dense.len())?;
    let expected = width(Value::EMBEDDINGS);
    check_len("embeddings", expected, inputs.embeddings.len())?;
    let expected = width(Value::FIRST_ORDER);
    check_len("first-order weights", expected, inputs.first_order.len())
}

/// Checks the inputs and the output of a forward pass.
pub(crate) fn check_inputs(
    network: &Network,
    inputs: &Inputs<'_>,
    logits: &[f32],
) -> Result<(), FusedError> {
    check(network, inputs)?;
    check_len("logits", inputs.n, logits.len())
}

fn check_len(what: &'static str, expected: usize, found: usize) -> Result<(), FusedError> {
    if expected == found {
        return Ok(());
    }
    Err(FusedError::size(what, format!("{expected} values"), found))
}

/// For each piece, whether it is the first to write the gradients of its inputs on the way back.
fn writes(network: &Network) -> Vec<Vec<Write>> {
    let mut written = vec![false; network.n_values()];
    let mut first = |value: Value| {
        if std::mem::replace(&mut written[value.index()], true) {
            Write::Add
        } else {
            Write::Set
        }
    };
    let pieces = network.pieces().iter().rev();
    let backwards = pieces.map(|piece| piece.inputs().into_iter().map(&mut first).collect());
    let mut writes: Vec<_> = backwards.collect();
    writes.reverse();
    writes
}
