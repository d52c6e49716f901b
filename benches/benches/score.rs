//! Scoring with an artefact: a Kaggle-shaped DLRM (13 dense features, 26 fields of dim 16, MLPs
//! 13-512-256-64-16 and 367-512-256-1) with exact dense tables of 40,000 rows each.
//!
//! Every call gets other samples, with ids drawn uniformly: 1 and 16 samples stay on one thread, 2048 go to all
//! of rayon's pool and to one. Group `floor` has what one sample needs at the least: `products` reads the
//! same 1.9 MB of weights once, in products of a matrix and a vector and nothing else, `read` only adds them
//! up, and `lookups` is the 26 lookups alone. Throughput is in samples.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slimbed_benches::{KAGGLE_LAYERS, MatrixVectorFloor};
use slimbed_compact::{Artefact, Bags, DenseTensor, Encoding, FieldTable, Pooling, Rows};
use slimbed_dlrm::DlrmConfig;
use slimbed_fused::{DenseRule, FusedNetwork, Precision, WeightDecay};
use slimbed_rng::Seed;
use slimbed_score::{Batch, LookupScratch, ModelSpec, Scorer, Tables};

const SEED: Seed = Seed::new(1);
const N_FIELDS: usize = 26;
const N_DENSE: usize = 13;
const DIM: usize = 16;
const N_ROWS: usize = 40_000;
/// Samples that are scored in turn.
const N_SAMPLES: usize = 1 << 14;

criterion_group!(benches, bench_scorer, bench_floor);
criterion_main!(benches);

fn spec() -> ModelSpec {
    ModelSpec::Dlrm(DlrmConfig {
        n_dense: N_DENSE,
        n_fields: N_FIELDS,
        dim: DIM,
        bottom: vec![512, 256, 64],
        top: vec![512, 256],
        self_interaction: false,
        dropout: 0.0,
    })
}

fn random(purpose: &str, index: usize, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    let mut stream = SEED.stream(purpose, index as u64);
    stream.fill_uniform(&mut values, 1.0);
    values
}

fn artefact() -> Artefact {
    let network = spec().network().expect("the sizes are right");
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let network = FusedNetwork::new(network, SEED, rule, decay, Precision::F32);
    let weights = network.expect("f32 runs everywhere").export();
    let dense: Vec<_> = weights
        .iter()
        .map(|tensor| DenseTensor {
            name: &tensor.name,
            shape: &tensor.shape,
            values: &tensor.values,
        })
        .collect();
    let names: Vec<String> = (1..=N_FIELDS).map(|f| format!("C{f}")).collect();
    let tables: Vec<_> = (0..N_FIELDS)
        .map(|f| random("table", f, N_ROWS * DIM))
        .collect();
    let fields = names.iter().zip(&tables).map(|(name, table)| {
        let rows = Rows::new(table, DIM).expect("whole rows");
        FieldTable::new(name, rows, Encoding::EXACT_DENSE, Pooling::Sum)
    });
    let fields: Vec<_> = fields.collect();
    let folder = tempfile::tempdir().expect("a folder for the artefact");
    let path = folder.path().join("model.safetensors");
    let model = serde_json::to_value(spec()).expect("a model is JSON");
    slimbed_compact::write(&path, &fields, &dense, model, serde_json::Value::Null)
        .expect("the artefact can be written");
    Artefact::load(&path).expect("the artefact is whole")
}

/// Samples in batches of `n`.
struct Data {
    n: usize,
    dense: Vec<f32>,
    ids: Vec<Vec<u32>>,
}

impl Data {
    fn new(n: usize) -> Self {
        let ids = |f: usize| {
            let mut stream = SEED.stream("ids", f as u64);
            let ids = (0..N_SAMPLES).map(|_| stream.below(N_ROWS as u64) as u32);
            ids.collect()
        };
        Self {
            n,
            dense: random("dense", 0, N_SAMPLES * N_DENSE),
            ids: (0..N_FIELDS).map(ids).collect(),
        }
    }

    /// Calls `work` with batch number `i`, over and over.
    fn with<T>(&self, i: &mut usize, work: impl FnOnce(&Batch<'_>) -> T) -> T {
        let start = *i * self.n % N_SAMPLES;
        *i += 1;
        let fields: [Bags<'_>; N_FIELDS] =
            std::array::from_fn(|f| Bags::single(&self.ids[f][start..start + self.n]));
        work(&Batch {
            n: self.n,
            dense: &self.dense[start * N_DENSE..(start + self.n) * N_DENSE],
            fields: &fields,
        })
    }
}

fn bench_scorer(c: &mut Criterion) {
    let artefact = artefact();
    let scorer = Scorer::new(&artefact).expect("the artefact is a model");
    let all = rayon::current_num_threads();
    for (n, threads) in [(1, 1), (16, 1), (2048, 1), (2048, all)] {
        let (data, mut i, mut out) = (Data::new(n), 0, vec![0.0; n]);
        let mut group = c.benchmark_group(format!("score/threads={threads}"));
        group.throughput(Throughput::Elements(n as u64));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.expect("threads can be started");
        group.bench_function(BenchmarkId::new("batch", n), |b| {
            b.iter(|| {
                data.with(&mut i, |batch| match n {
                    // As a server would, from a thread of its own.
                    1 | 16 => scorer.logits(batch, black_box(&mut out)),
                    _ => pool.install(|| scorer.logits(batch, black_box(&mut out))),
                })
            });
        });
        group.finish();
    }
}

fn bench_floor(c: &mut Criterion) {
    let artefact = artefact();
    let tables = Tables::new(&artefact, &spec()).expect("the artefact is a model");
    let mut floor = MatrixVectorFloor::new(&KAGGLE_LAYERS).expect("2 MB of memory");
    let mut group = c.benchmark_group("score/floor threads=1");
    group.throughput(Throughput::Elements(1));
    group.bench_function("products", |b| b.iter(|| floor.run()[0]));
    group.bench_function("read", |b| b.iter(|| floor.read()[0]));
    let (data, mut i) = (Data::new(1), 0);
    let (mut out, mut scratch) = (vec![0.0; N_FIELDS * DIM], LookupScratch::default());
    group.bench_function("lookups", |b| {
        b.iter(|| data.with(&mut i, |batch| tables.lookup(batch, &mut out, &mut scratch)));
    });
    group.finish();
}
