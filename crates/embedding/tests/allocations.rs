//! Training steps do not allocate once their buffers have grown.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use slimbed_embedding::{
    Bags, BatchIndex, EmbeddingLayer, FieldSpec, IdBatch, PlainEmbedding, Pooling, RowInit,
    RowSettings, SparseRule, StepSize, expand, gather, lookup, reduce,
};
use slimbed_rng::Seed;
use slimbed_testkit::{CountingAllocator, allocations_in, in_pool};

const N: usize = 2048;
const DIM: usize = 16;
const N_FIELDS: usize = 26;
const BAG: usize = 3;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Ids of one field, and offsets where it is multi-valued.
type Ids = (Vec<u32>, Option<Vec<u32>>);

fn n_rows(f: usize) -> usize {
    [3, 40, 700, 20_000, 200_000][f % 5]
}

/// The last field has bags of 3 ids.
fn ids(step: u64) -> Vec<Ids> {
    let field = |f: usize| {
        let mut stream = Seed::new(step).stream("test/ids", f as u64);
        let is_multi = f + 1 == N_FIELDS;
        let n_ids = if is_multi { N * BAG } else { N };
        let ids = (0..n_ids).map(|_| stream.below(n_rows(f) as u64) as u32);
        let offsets = (0..=N).map(|b| (BAG * b) as u32);
        (ids.collect(), is_multi.then(|| offsets.collect()))
    };
    (0..N_FIELDS).map(field).collect()
}

fn batch(ids: &[Ids]) -> IdBatch<'_> {
    let fields = ids.iter().map(|(ids, offsets)| Bags {
        ids,
        offsets: offsets.as_deref(),
    });
    IdBatch {
        n: N,
        fields: fields.collect(),
    }
}

fn layer(rule: SparseRule) -> PlainEmbedding {
    let spec = |f: usize| FieldSpec {
        name: format!("C{f}"),
        n_rows: n_rows(f),
        pooling: Pooling::Mean,
    };
    let specs: Vec<_> = (0..N_FIELDS).map(spec).collect();
    let settings = RowSettings {
        dim: DIM,
        init: RowInit::UniformByRows,
        seed: Seed::new(1),
        rule,
        weight_decay: 0.01,
    };
    PlainEmbedding::new(&specs, &settings).unwrap()
}

fn train(layer: &mut PlainEmbedding, batches: &[Vec<Ids>], embeddings: &mut [f32]) {
    for ids in batches {
        layer.forward(&batch(ids), embeddings).unwrap();
        layer.backward(embeddings).unwrap();
        let norm = layer.gradient_norm_squared().unwrap().sqrt();
        let scale = (1.0 / norm.max(1.0)) as f32;
        layer
            .step(StepSize {
                scale,
                ..StepSize::of(0.1)
            })
            .unwrap();
    }
}

fn check_steps_and_lookups() {
    let batches: Vec<_> = (0..25).map(ids).collect();
    let mut embeddings = vec![0.0; N * N_FIELDS * DIM];
    for rule in [SparseRule::ROW_WISE_ADAGRAD, SparseRule::LAZY_ADAM] {
        let mut layer = layer(rule);
        train(&mut layer, &batches[..5], &mut embeddings);
        let found = allocations_in(|| train(&mut layer, &batches[5..], &mut embeddings));
        assert_eq!(found, 0, "20 steps of {rule:?}");
        let tables = layer.rows().views();
        let found = allocations_in(|| {
            for ids in &batches {
                lookup(&tables, &batch(ids), DIM, &mut embeddings).unwrap();
            }
        });
        assert_eq!(found, 0, "lookups");
    }
}

fn check_kernels() {
    let layer = layer(SparseRule::Sgd);
    let (tables, pooling) = (layer.rows().views(), [Pooling::Sum; N_FIELDS]);
    let batches: Vec<_> = (0..5).map(ids).collect();
    let mut index = BatchIndex::new(&batch(&batches[0]), &pooling).unwrap();
    let mut rows = vec![0.0; index.n_ids() * DIM];
    let mut embeddings = vec![0.0; N * N_FIELDS * DIM];
    let found = allocations_in(|| {
        for ids in &batches {
            index.rebuild(&batch(ids), &pooling).unwrap();
            let rows = &mut rows[..index.n_unique() * DIM];
            gather(&tables, &index, DIM, rows).unwrap();
            expand(rows, &index, DIM, &mut embeddings).unwrap();
            reduce(&embeddings, &index, DIM, rows).unwrap();
        }
    });
    assert_eq!(found, 0, "kernels");
}

/// One test, because the count is that of the whole process.
#[test]
fn steps_lookups_and_kernels_do_not_allocate() {
    assert_eq!(
        allocations_in(|| drop(std::hint::black_box(Box::new(1)))),
        1
    );
    let check = || {
        check_steps_and_lookups();
        check_kernels();
    };
    in_pool(2, check).unwrap();
}
