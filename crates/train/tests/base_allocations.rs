//! A training step of a base model does not allocate once its buffers have grown.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use slimbed_data::{Batch, FieldIds};
use slimbed_embedding::{FieldSpec, PlainEmbedding, Pooling, RowInit, RowSettings, SparseRule};
use slimbed_fused::{DenseRule, WeightDecay, bf16_is_available};
use slimbed_rng::Seed;
use slimbed_testkit::{CountingAllocator, allocations_in, in_pool};
use slimbed_train::{Engine, Learner, ModelConfig, ModelKind, Rates};

const N: usize = 300;
const N_DENSE: usize = 4;
const N_FIELDS: usize = 8;
const N_ROWS: usize = 500;
/// Steps that fill the buffers, several times over, and then once more, which is counted.
const STEPS: usize = 8;
/// With 2, one run of some thousands failed, on a machine with four other things to do.
const WARM_UPS: usize = 6;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn layer(dim: usize, init: RowInit) -> PlainEmbedding {
    let field = |f| FieldSpec {
        name: format!("C{f}"),
        n_rows: N_ROWS,
        pooling: Pooling::Sum,
    };
    let fields: Vec<_> = (0..N_FIELDS).map(field).collect();
    let settings = RowSettings {
        dim,
        init,
        seed: Seed::new(1),
        rule: SparseRule::LAZY_ADAM,
        weight_decay: 0.01,
    };
    PlainEmbedding::new(&fields, &settings).unwrap()
}

fn learner(kind: ModelKind) -> Learner {
    let config = ModelConfig {
        kind,
        dim: if kind == ModelKind::Lr { 1 } else { 8 },
        bottom: vec![16],
        top: vec![32, 16],
        dropout: 0.2,
        attention_dim: 16,
        ..ModelConfig::default()
    };
    let spec = config.spec(N_DENSE, N_FIELDS);
    let (network, seed) = (spec.network().unwrap(), Seed::new(1));
    let dense = Engine::new(&Device::Cpu)
        .build(network, seed, DenseRule::ADAM, WeightDecay::None)
        .unwrap();
    let embedding = Box::new(layer(config.dim, RowInit::UniformByRows));
    let learner = Learner::new(dense, embedding, seed, 1.0);
    if spec.has_first_order() {
        return learner.with_first_order(layer(1, RowInit::Zeros));
    }
    learner
}

fn batch(step: u64) -> Batch {
    let mut stream = Seed::new(9).stream("batch", step);
    let mut dense = vec![0.0; N * N_DENSE];
    stream.fill_uniform(&mut dense, 1.0);
    let mut ids = || (0..N).map(|_| stream.below(N_ROWS as u64) as u32).collect();
    let fields = (0..N_FIELDS).map(|_| FieldIds {
        ids: ids(),
        offsets: None,
    });
    Batch {
        n: N,
        labels: dense
            .chunks(N_DENSE)
            .map(|x| f32::from(x[0] > 0.0))
            .collect(),
        fields: fields.collect(),
        dense,
    }
}

fn allocations(kind: ModelKind) -> usize {
    let mut learner = learner(kind);
    let batches: Vec<Batch> = (0..STEPS as u64).map(batch).collect();
    let rates = Rates {
        dense: 1e-3,
        embedding: 1e-2,
        factor: 1.0,
    };
    let mut take = || {
        for (step, batch) in batches.iter().enumerate() {
            learner.step(batch, step as u64, rates).unwrap();
        }
    };
    // More than once: how tasks fall on threads differs, and each thread has buffers of its own.
    (0..WARM_UPS).for_each(|_| take());
    allocations_in(take)
}

fn check() {
    for kind in ModelKind::ALL {
        // The `gemm` crate allocates a buffer for each operand it packs: of at most 10 products, forward, back to
        // their inputs and to their weights, for each of 4 chunks.
        let of_the_crate = STEPS * 10 * 3 * 4 * 2;
        let most = if bf16_is_available() { 0 } else { of_the_crate };
        let found = allocations(kind);
        assert!(found <= most, "{kind:?}: {found} in {} steps", STEPS);
    }
}

#[test]
fn a_step_of_any_model_allocates_nothing() {
    in_pool(2, check).unwrap();
}
