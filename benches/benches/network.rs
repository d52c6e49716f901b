//! The dense part of a Kaggle-shaped DLRM: its kernels against their definitions, and a whole training
//! pass against the same network composed from candle's ops.
//!
//! Shapes: 13 dense features, 26 fields of dim 16, MLPs 13-512-256-64-16 and 367-512-256-1. Kernels run
//! on one thread, passes on all threads of rayon's pool; throughput is in samples.

use std::hint::black_box;

use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slimbed_dlrm::DlrmConfig;
use slimbed_fused::{
    Activation, DenseRule, DotInteraction, FusedNetwork, Inputs, InteractionGradients, Mode,
    Network, Piece, Precision, WeightDecay, Write, bce_with_logits, bias_activation,
    bias_activation_gradient, dot_interaction, dot_interaction_gradient,
};
use slimbed_nn::GraphNetwork;
use slimbed_rng::Seed;

const SEED: Seed = Seed::new(1);
/// Samples of a kernel call: a chunk.
const ROWS: usize = 512;
/// Width of the layer whose ends are timed.
const WIDTH: usize = 512;
const BATCHES: [usize; 2] = [128, 2048];

criterion_group!(
    benches,
    bench_interaction,
    bench_bias_activation,
    bench_loss,
    bench_pass
);
criterion_main!(benches);

fn network() -> Network {
    let config = DlrmConfig {
        n_dense: 13,
        n_fields: 26,
        dim: 16,
        bottom: vec![512, 256, 64],
        top: vec![512, 256],
        self_interaction: false,
        dropout: 0.0,
    };
    config.network().expect("the sizes are right")
}

fn interaction() -> DotInteraction {
    let pieces = network().pieces().to_vec();
    let interaction = pieces.into_iter().find_map(|piece| match piece {
        Piece::DotInteraction(piece) => Some(piece),
        _ => None,
    });
    interaction.expect("DLRM has an interaction")
}

fn random(purpose: &str, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    SEED.stream(purpose, 0).fill_uniform(&mut values, 1.0);
    values
}

fn bench_interaction(c: &mut Criterion) {
    let piece = interaction();
    let (x, e) = (random("x", ROWS * 16), random("e", ROWS * 26 * 16));
    let (mut out, mut scratch) = (vec![0.0; ROWS * 367], Vec::new());
    let dy = random("dy", out.len());
    let (mut dx, mut de) = (vec![0.0; x.len()], vec![0.0; e.len()]);
    let mut group = c.benchmark_group("dot_interaction/rows=512 fields=26 d=16 threads=1");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("forward", |b| {
        b.iter(|| dot_interaction(&piece, black_box(&x), &e, &mut out, &mut scratch));
    });
    group.bench_function("forward naive", |b| {
        b.iter(|| naive_interaction(black_box(&x), &e, &mut out));
    });
    group.bench_function("backward", |b| {
        b.iter(|| {
            let gradients = InteractionGradients {
                x: (&mut dx, Write::Set),
                embeddings: (&mut de, Write::Set),
            };
            dot_interaction_gradient(&piece, black_box(&x), &e, &dy, gradients, &mut scratch);
        });
    });
    group.bench_function("backward naive", |b| {
        b.iter(|| naive_interaction_gradient(black_box(&x), &e, &dy, &mut dx, &mut de));
    });
    group.finish();
}

/// Vector `i` of a sample: `x`, then the embeddings.
fn vector<'a>(x: &'a [f32], e: &'a [f32], i: usize) -> &'a [f32] {
    match i {
        0 => x,
        _ => &e[(i - 1) * 16..][..16],
    }
}

fn naive_interaction(x: &[f32], e: &[f32], out: &mut [f32]) {
    let samples = x.chunks(16).zip(e.chunks(26 * 16));
    for ((x, e), out) in samples.zip(out.chunks_mut(367)) {
        out[..16].copy_from_slice(x);
        let pairs = (0..27).flat_map(|i| (0..i).map(move |j| (i, j)));
        for ((i, j), out) in pairs.zip(&mut out[16..]) {
            let products = vector(x, e, i).iter().zip(vector(x, e, j));
            *out = products.map(|(a, b)| a * b).sum();
        }
    }
}

fn naive_interaction_gradient(x: &[f32], e: &[f32], dy: &[f32], dx: &mut [f32], de: &mut [f32]) {
    let samples = x.chunks(16).zip(e.chunks(26 * 16)).zip(dy.chunks(367));
    let outputs = dx.chunks_mut(16).zip(de.chunks_mut(26 * 16));
    for (((x, e), dy), (dx, de)) in samples.zip(outputs) {
        let mut gradient = [0f32; 27 * 16];
        gradient[..16].copy_from_slice(&dy[..16]);
        let pairs = (0..27).flat_map(|i| (0..i).map(move |j| (i, j)));
        for ((i, j), g) in pairs.zip(&dy[16..]) {
            for k in 0..16 {
                gradient[i * 16 + k] += g * vector(x, e, j)[k];
                gradient[j * 16 + k] += g * vector(x, e, i)[k];
            }
        }
        dx.copy_from_slice(&gradient[..16]);
        de.copy_from_slice(&gradient[16..]);
    }
}

fn bench_bias_activation(c: &mut Criterion) {
    let (mut y, mut dy) = (random("y", ROWS * WIDTH), random("dy", ROWS * WIDTH));
    let (bias, mut sums) = (random("bias", WIDTH), vec![0.0; WIDTH]);
    let mut group = c.benchmark_group("bias_relu/rows=512 width=512 threads=1");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("forward", |b| {
        b.iter(|| bias_activation(black_box(&mut y), &bias, Activation::Relu));
    });
    group.bench_function("forward naive", |b| {
        b.iter(|| {
            for i in 0..y.len() {
                y[i] = (y[i] + bias[i % WIDTH]).max(0.0);
            }
        });
    });
    group.bench_function("backward", |b| {
        let relu = Activation::Relu;
        b.iter(|| bias_activation_gradient(black_box(&mut dy), &y, relu, 1.0, &mut sums));
    });
    group.bench_function("backward naive", |b| {
        b.iter(|| {
            sums.fill(0.0);
            for i in 0..dy.len() {
                dy[i] = if y[i] > 0.0 { dy[i] } else { 0.0 };
                sums[i % WIDTH] += dy[i];
            }
        });
    });
    group.finish();
}

fn bench_loss(c: &mut Criterion) {
    let logits = random("logits", ROWS);
    let labels: Vec<f32> = logits.iter().map(|&z| f32::from(z > 0.3)).collect();
    let mut gradient = vec![0.0; ROWS];
    let mut group = c.benchmark_group("bce_with_logits/rows=512 threads=1");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("value and gradient", |b| {
        b.iter(|| bce_with_logits(black_box(&logits), &labels, ROWS, &mut gradient));
    });
    group.finish();
}

fn bench_pass(c: &mut Criterion) {
    let threads = rayon::current_num_threads();
    let mut group = c.benchmark_group(format!("dlrm_step/sgd threads={threads}"));
    group.sample_size(10);
    for n in BATCHES {
        let (dense, embeddings) = (random("dense", n * 13), random("e", n * 26 * 16));
        let labels: Vec<f32> = dense.chunks(13).map(|x| f32::from(x[0] > 0.3)).collect();
        let inputs = Inputs {
            n,
            dense: &dense,
            embeddings: &embeddings,
            first_order: &[],
        };
        let mode = Mode::Train {
            seed: SEED,
            step: 0,
        };
        let mut gradient = vec![0.0; embeddings.len()];
        group.throughput(Throughput::Elements(n as u64));
        for precision in [Precision::F32, Precision::Bf16] {
            let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
            let Ok(mut fused) = FusedNetwork::new(network(), SEED, rule, decay, precision) else {
                // This processor lacks the precision.
                continue;
            };
            group.bench_function(BenchmarkId::new(format!("fused {precision:?}"), n), |b| {
                b.iter(|| {
                    fused.loss(inputs, &labels, mode, &mut gradient)?;
                    fused.step(1e-3, 1.0);
                    Ok::<_, slimbed_fused::FusedError>(())
                });
            });
        }
        let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
        let mut graph = GraphNetwork::new(network(), SEED, rule, decay, &Device::Cpu)
            .expect("the CPU has room for it");
        group.bench_function(BenchmarkId::new("candle", n), |b| {
            b.iter(|| {
                graph.loss(inputs, &labels, mode, &mut gradient)?;
                graph.step(1e-3, 1.0)
            });
        });
    }
    group.finish();
}
