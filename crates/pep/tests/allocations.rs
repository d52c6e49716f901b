//! Training steps do not allocate once their buffers have grown.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule, StepSize,
    TrainedRows,
};
use slimbed_pep::{Granularity, PepEmbedding, PepSettings};
use slimbed_rng::Seed;
use slimbed_testkit::{CountingAllocator, allocations_in, in_pool};

const N: usize = 2048;
const DIM: usize = 16;
const N_ROWS: [usize; 5] = [3, 40, 700, 20_000, 200_000];

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn layer(granularity: Granularity) -> PepEmbedding {
    let spec = |(f, n_rows): (usize, usize)| FieldSpec {
        name: format!("C{f}"),
        n_rows,
        pooling: Pooling::Sum,
    };
    let specs: Vec<_> = N_ROWS.into_iter().enumerate().map(spec).collect();
    let settings = RowSettings {
        dim: DIM,
        init: RowInit::UniformByRows,
        seed: Seed::new(1),
        rule: SparseRule::LAZY_ADAM,
        weight_decay: 0.01,
    };
    let rows = TrainedRows::new(&specs, &settings).unwrap();
    let settings = PepSettings {
        granularity,
        start: -5.0,
        ..PepSettings::default()
    };
    PepEmbedding::new(rows, &settings).unwrap()
}

fn ids(step: u64) -> Vec<Vec<u32>> {
    let field = |(f, n_rows): (usize, usize)| {
        let mut stream = Seed::new(step).stream("test/ids", f as u64);
        (0..N).map(|_| stream.below(n_rows as u64) as u32).collect()
    };
    N_ROWS.into_iter().enumerate().map(field).collect()
}

fn train(layer: &mut PepEmbedding, batches: &[Vec<Vec<u32>>], embeddings: &mut [f32]) {
    for ids in batches {
        let fields = ids.iter().map(|ids| Bags { ids, offsets: None });
        let batch = IdBatch {
            n: N,
            fields: fields.collect(),
        };
        layer.forward(&batch, embeddings).unwrap();
        layer.backward(embeddings).unwrap();
        layer.gradient_norm_squared().unwrap();
        layer.step(StepSize::of(0.1)).unwrap();
        layer.lookup(&batch, embeddings).unwrap();
    }
}

/// One test, because the count is that of the whole process.
#[test]
fn steps_and_lookups_do_not_allocate() {
    in_pool(2, || {
        let batches: Vec<_> = (0..15).map(ids).collect();
        let mut embeddings = vec![0.0; N * N_ROWS.len() * DIM];
        for granularity in [
            Granularity::IdDimension,
            Granularity::Id,
            Granularity::FieldDimension,
        ] {
            let mut layer = layer(granularity);
            train(&mut layer, &batches[..5], &mut embeddings);
            let found = allocations_in(|| train(&mut layer, &batches[5..], &mut embeddings));
            assert_eq!(found, 0, "10 steps of {granularity:?}");
        }
    })
    .unwrap();
}
