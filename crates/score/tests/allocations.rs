//! One sample is scored without allocating, on the calling thread.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod common;

use common::{Case, Ids};
use slimbed_compact::{Artefact, Bags};
use slimbed_score::{Batch, Scorer};
use slimbed_testkit::{CountingAllocator, allocations_in, in_pool};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn check() {
    let case = Case::kaggle();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    case.write(&path);
    let artefact = Artefact::open(&path).unwrap();
    let scorer = Scorer::new(&artefact).unwrap();
    let mut logits = [f32::NAN; 64];
    for (i, n) in [64, 1, 2, 64, 15, 1].into_iter().enumerate() {
        let (dense, mut ids) = (case.dense(n), case.ids(n));
        if n == 1 {
            ids = case.ids(64).iter().map(|ids| ids.sample(63)).collect();
        }
        let fields: Vec<Bags<'_>> = ids.iter().map(Ids::bags).collect();
        let batch = Batch {
            n,
            dense: &dense,
            fields: &fields,
        };
        let found = allocations_in(|| scorer.logits(&batch, &mut logits[..n]).unwrap());
        let expected = case.logits(&dense, &ids, n);
        assert!((logits[0] - expected[0]).abs() < 1e-5);
        // The first and largest batch makes the buffers. Without AVX-512 the `gemm` crate packs the
        // operands of more than one sample anew every time.
        if i > 0 && (n == 1 || slimbed_fused::bf16_is_available()) {
            assert_eq!(found, 0, "batch {i} of {n}");
        }
    }
}

#[test]
fn small_batches_are_scored_without_allocating() {
    in_pool(2, check).unwrap();
}
