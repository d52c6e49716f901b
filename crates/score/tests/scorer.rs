//! The scorer against the network in training, on artefacts that were written for it.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod common;

use common::{Case, Ids};
use proptest::prelude::*;
use slimbed_compact::{Artefact, Bags, Pooling};
use slimbed_score::{Batch, LookupScratch, ScoreError, Scorer, Tables};

fn check(case: &Case, n: usize) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    case.write(&path);
    let artefact = Artefact::open(&path).unwrap();
    let scorer = Scorer::new(&artefact).unwrap();
    let (dense, ids) = (case.dense(n), case.ids(n));
    let mut found = vec![f32::NAN; n];
    scorer
        .logits(&batch(&dense, &bags(&ids), n), &mut found)
        .unwrap();
    let expected = case.logits(&dense, &ids, n);
    for (b, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = (found - expected).abs();
        prop_assert!(
            error <= 1e-5 * expected.abs().max(1.0),
            "{b}: {found} for {expected}"
        );
    }
    let tables = Tables::new(&artefact, scorer.spec()).unwrap();
    let mut embeddings = vec![f32::NAN; n * case.n_fields * case.dim];
    let mut scratch = LookupScratch::default();
    tables
        .lookup(
            &batch(&dense, &bags(&ids), n),
            &mut embeddings,
            &mut scratch,
        )
        .unwrap();
    let of_same_vectors = case.logits_of(&dense, &embeddings, n);
    if slimbed_fused::bf16_is_available() {
        prop_assert_eq!(&found, &of_same_vectors, "the same kernels");
    }
    let mut probabilities = vec![f32::NAN; n];
    scorer
        .probabilities(&batch(&dense, &bags(&ids), n), &mut probabilities)
        .unwrap();
    for (p, z) in probabilities.iter().zip(&found) {
        prop_assert!((p - 1.0 / (1.0 + (-z).exp())).abs() < 1e-7);
    }
    Ok(())
}

fn bags(ids: &[Ids]) -> Vec<Bags<'_>> {
    ids.iter().map(Ids::bags).collect()
}

fn batch<'a>(dense: &'a [f32], fields: &'a [Bags<'a>], n: usize) -> Batch<'a> {
    Batch { n, dense, fields }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_the_network_in_training(
        n in 0usize..200, n_dense in 1usize..20, n_fields in 1usize..8, dim in 1usize..40,
        bottom in prop::collection::vec(1usize..80, 0..3), top in prop::collection::vec(1usize..200, 0..3),
        self_interaction: bool, mean: bool, seed in 0u64..1000,
    ) {
        let pooling = if mean { Pooling::Mean } else { Pooling::Sum };
        let case = Case { n_dense, n_fields, dim, bottom, top, self_interaction, pooling, seed };
        check(&case, n)?;
    }
}

#[test]
fn the_shape_of_criteo_kaggle_and_wide_embeddings_score_alike() {
    let kaggle = Case::kaggle();
    let wide = Case {
        dim: 1024,
        ..Case::kaggle()
    };
    for n in [1, 2, 3, 63, 64, 65, 300] {
        check(&kaggle, n).unwrap();
    }
    check(&wide, 50).unwrap();
}

#[test]
fn bits_depend_neither_on_threads_nor_on_the_rest_of_the_batch() {
    let (case, n) = (Case::kaggle(), 1000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    case.write(&path);
    let artefact = Artefact::open(&path).unwrap();
    let scorer = Scorer::new(&artefact).unwrap();
    let (dense, ids) = (case.dense(n), case.ids(n));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut out = vec![f32::NAN; n];
            scorer
                .logits(&batch(&dense, &bags(&ids), n), &mut out)
                .unwrap();
            out
        })
    };
    let together = run(1);
    assert_eq!(run(3), together);
    for b in [0, 63, 64, 500, 999] {
        let one: Vec<Ids> = ids.iter().map(|ids| ids.sample(b)).collect();
        let mut alone = [f32::NAN];
        let dense = &dense[b * case.n_dense..][..case.n_dense];
        scorer
            .logits(&batch(dense, &bags(&one), 1), &mut alone)
            .unwrap();
        if slimbed_fused::bf16_is_available() {
            assert_eq!(alone[0], together[b], "the same kernels");
        }
        assert!((alone[0] - together[b]).abs() <= 1e-5);
    }
}

#[test]
fn many_threads_may_share_a_scorer() {
    let (case, n) = (Case::kaggle(), 20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    case.write(&path);
    let artefact = Artefact::open(&path).unwrap();
    let scorer = Scorer::new(&artefact).unwrap();
    let (dense, ids) = (case.dense(n), case.ids(n));
    let expected = case.logits(&dense, &ids, n);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut out = vec![f32::NAN; n];
                for _ in 0..50 {
                    scorer
                        .logits(&batch(&dense, &bags(&ids), n), &mut out)
                        .unwrap();
                    assert!(out.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
                }
            });
        }
    });
}

/// The message of an error and of what caused it.
fn message(error: &ScoreError) -> String {
    let source = std::error::Error::source(error);
    source.map_or(error.to_string(), |source| format!("{error}: {source}"))
}

#[test]
fn bad_batches_name_the_place() {
    let (case, n) = (Case::kaggle(), 300);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    case.write(&path);
    let artefact = Artefact::open(&path).unwrap();
    let scorer = Scorer::new(&artefact).unwrap();
    let (dense, good) = (case.dense(n), case.ids(n));
    let score = |dense: &[f32], ids: &[Ids], n| {
        let error = scorer.logits(&batch(dense, &bags(ids), n), &mut vec![0.0; n]);
        message(&error.unwrap_err())
    };
    let mut wild = good.clone();
    for position in [290, 200, 299] {
        wild[3].ids[position] = 4_000_000_000;
    }
    let n_rows = case.n_rows(3);
    assert_eq!(
        score(&dense, &wild, n),
        format!(
            "field `C3`: id 4000000000 at position 200: expected less than {n_rows}, the rows of the table"
        )
    );
    assert!(
        score(&dense[1..], &good, n).contains("dense features: expected 3900 values, found 3899")
    );
    assert_eq!(
        score(&dense, &good[1..], n),
        "the batch has 25 fields, the model 26"
    );
    let mut short = good.clone();
    short[2].ids.pop();
    assert_eq!(
        score(&dense, &short, n),
        "field `C2`: samples of the field: expected 300, found 299"
    );
    let found = scorer.logits(&batch(&dense, &bags(&good), n), &mut [0.0]);
    assert!(message(&found.unwrap_err()).contains("logits: expected 300 values, found 1"));
}

#[test]
fn artefacts_that_are_no_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let case = Case::kaggle();
    for (model, expected) in [
        (
            serde_json::json!({"kind": "oracle"}),
            "unknown variant `oracle`",
        ),
        (
            Case {
                n_fields: 27,
                ..Case::kaggle()
            }
            .model(),
            "number of tables: the network expects 27, found 26",
        ),
        (
            Case {
                dim: 8,
                ..Case::kaggle()
            }
            .model(),
            "dim of table `C0`: the network expects 8, found 16",
        ),
        (
            Case {
                top: vec![512, 128],
                ..Case::kaggle()
            }
            .model(),
            "tensor `top.1.weight`: expected shape [128, 512], found [256, 512]",
        ),
    ] {
        case.write_as(&path, model);
        let artefact = Artefact::open(&path).unwrap();
        let error = Scorer::new(&artefact).unwrap_err();
        assert!(message(&error).contains(expected), "{}", message(&error));
    }
}
