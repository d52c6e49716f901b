//! Training steps do not allocate once their buffers have grown.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use slimbed_amtl::{AmtlEmbedding, AmtlSettings};
use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule, StepSize,
    TrainedRows,
};
use slimbed_rng::Seed;
use slimbed_testkit::{CountingAllocator, allocations_in, in_pool};

const N: usize = 1024;
const DIM: usize = 16;
const N_FIELDS: usize = 12;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn n_rows(f: usize) -> usize {
    [3, 40, 700, 20_000][f % 4]
}

fn ids(step: u64) -> Vec<Vec<u32>> {
    let field = |f: usize| {
        let mut stream = Seed::new(step).stream("test/ids", f as u64);
        let ids = (0..N).map(|_| stream.below(n_rows(f) as u64) as u32);
        ids.collect()
    };
    (0..N_FIELDS).map(field).collect()
}

fn batch(ids: &[Vec<u32>]) -> IdBatch<'_> {
    let fields = ids.iter().map(|ids| Bags { ids, offsets: None });
    IdBatch {
        n: N,
        fields: fields.collect(),
    }
}

fn layer() -> AmtlEmbedding {
    let spec = |f: usize| FieldSpec {
        name: format!("C{f}"),
        n_rows: n_rows(f),
        pooling: Pooling::Sum,
    };
    let specs: Vec<_> = (0..N_FIELDS).map(spec).collect();
    let settings = RowSettings {
        dim: DIM,
        init: RowInit::UniformByRows,
        seed: Seed::new(1),
        rule: SparseRule::ROW_WISE_ADAGRAD,
        weight_decay: 0.0,
    };
    let counts: Vec<Vec<u64>> = (0..N_FIELDS)
        .map(|f| (0..n_rows(f) as u64).collect())
        .collect();
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    let amtl = AmtlSettings {
        target_ratio: 0.5,
        ..AmtlSettings::default()
    };
    let rows = TrainedRows::new(&specs, &settings).unwrap();
    AmtlEmbedding::new(rows, &counts, &amtl, Seed::new(2)).unwrap()
}

fn train(layer: &mut AmtlEmbedding, batches: &[Vec<Vec<u32>>], embeddings: &mut [f32]) {
    for ids in batches {
        layer.forward(&batch(ids), embeddings).unwrap();
        layer.backward(embeddings).unwrap();
        layer.gradient_norm_squared().unwrap();
        layer.step(StepSize::of(0.1)).unwrap();
        layer.lookup(&batch(ids), embeddings).unwrap();
    }
}

fn check() {
    let batches: Vec<_> = (0..15).map(ids).collect();
    let mut embeddings = vec![0.0; N * N_FIELDS * DIM];
    let mut layer = layer();
    train(&mut layer, &batches[..5], &mut embeddings);
    let found = allocations_in(|| train(&mut layer, &batches[5..], &mut embeddings));
    assert_eq!(found, 0, "10 steps and lookups");
}

/// One test, because the count is that of the whole process.
#[test]
fn steps_and_lookups_do_not_allocate() {
    in_pool(2, check).unwrap();
}
