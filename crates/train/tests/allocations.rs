//! A whole training step does not allocate once its buffers have grown.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use slimbed_data::{Batch, FieldIds};
use slimbed_embedding::{FieldSpec, PlainEmbedding, Pooling, RowInit, RowSettings, SparseRule};
use slimbed_fused::{DenseRule, Precision, WeightDecay, bf16_is_available};
use slimbed_rng::Seed;
use slimbed_testkit::{CountingAllocator, allocations_in, in_pool};
use slimbed_train::{Engine, Learner, ModelConfig, Rates};

const N: usize = 700;
const N_FIELDS: usize = 8;
const N_ROWS: usize = 5000;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn learner(precision: Precision) -> Learner {
    let seed = Seed::new(1);
    let config = ModelConfig {
        bottom: vec![96, 64],
        top: vec![128, 64],
        dropout: 0.2,
        ..ModelConfig::default()
    };
    let network = config.spec(13, N_FIELDS).network().unwrap();
    let engine = Engine {
        precision,
        ..Engine::new(&Device::Cpu)
    };
    let dense = engine.build(network, seed, DenseRule::ADAM, WeightDecay::None);
    let field = |f| FieldSpec {
        name: format!("C{f}"),
        n_rows: N_ROWS,
        pooling: Pooling::Sum,
    };
    let fields: Vec<_> = (0..N_FIELDS).map(field).collect();
    let (init, rule) = (RowInit::UniformByRows, SparseRule::ROW_WISE_ADAGRAD);
    let embedding = PlainEmbedding::new(
        &fields,
        &RowSettings {
            dim: config.dim,
            init,
            seed,
            rule,
            weight_decay: 0.01,
        },
    )
    .unwrap();
    Learner::new(dense.unwrap(), Box::new(embedding), seed, 1.0)
}

fn batch(step: u64) -> Batch {
    let mut stream = Seed::new(9).stream("batch", step);
    let mut dense = vec![0.0; N * 13];
    stream.fill_uniform(&mut dense, 1.0);
    let mut ids = || (0..N).map(|_| stream.below(N_ROWS as u64) as u32).collect();
    let fields = (0..N_FIELDS).map(|_| FieldIds {
        ids: ids(),
        offsets: None,
    });
    Batch {
        n: N,
        labels: dense.chunks(13).map(|x| f32::from(x[0] > 0.0)).collect(),
        fields: fields.collect(),
        dense,
    }
}

fn allocations(precision: Precision) -> usize {
    let mut learner = learner(precision);
    let batches: Vec<Batch> = (0..(WARM_UP_STEPS + STEPS) as u64).map(batch).collect();
    let rates = Rates {
        dense: 1e-3,
        embedding: 1e-2,
        factor: 1.0,
    };
    let (warm_up, counted) = batches.split_at(WARM_UP_STEPS);
    let mut take = |batches: &[Batch]| {
        for (step, batch) in batches.iter().enumerate() {
            learner.step(batch, step as u64, rates).unwrap();
        }
    };
    take(warm_up);
    allocations_in(|| take(counted))
}

/// Steps that fill the buffers, those of the products on every thread among them.
const WARM_UP_STEPS: usize = 8;
/// Steps that are counted.
const STEPS: usize = 16;
/// Matrix products of a step: 6 layers forward, 5 back to their inputs, 6 to their weights, for each of 4
/// chunks.
const PRODUCTS: usize = (6 + 5 + 6) * 4;

fn check() {
    // The `gemm` crate allocates a buffer for each operand it packs.
    let of_the_crate = STEPS * PRODUCTS * 2;
    let most = if bf16_is_available() { 0 } else { of_the_crate };
    let found = allocations(Precision::F32);
    assert!(found <= most, "{found} in {STEPS} steps");
    if bf16_is_available() {
        assert_eq!(allocations(Precision::Bf16), 0, "in {STEPS} steps of bf16");
    }
}

#[test]
fn a_step_allocates_nothing() {
    in_pool(2, check).unwrap();
}
