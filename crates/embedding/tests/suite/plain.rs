//! The plain layer from forward to step.

use slimbed_embedding::{
    Bags, EmbeddingError, EmbeddingLayer, FieldSpec, IdBatch, PlainEmbedding, Pooling, RowInit,
    RowSettings, SparseRule, StepSize, lookup,
};
use slimbed_rng::Seed;
use smallvec::smallvec;

use crate::cases::{large_batch, normals};

fn layer(rule: SparseRule) -> PlainEmbedding {
    let field = |name: &str, n_rows, pooling| FieldSpec {
        name: name.into(),
        n_rows,
        pooling,
    };
    let fields = [field("a", 50, Pooling::Sum), field("b", 9, Pooling::Mean)];
    PlainEmbedding::new(&fields, &settings(3, rule)).unwrap()
}

fn settings(dim: usize, rule: SparseRule) -> RowSettings {
    RowSettings {
        dim,
        init: RowInit::Normal { std: 1.0 },
        seed: Seed::new(1),
        rule,
        weight_decay: 0.0,
    }
}

fn batch() -> IdBatch<'static> {
    let single = Bags {
        ids: &[4, 49, 4],
        offsets: None,
    };
    let multi = Bags {
        ids: &[1, 1, 8],
        offsets: Some(&[0, 2, 2, 3]),
    };
    IdBatch {
        n: 3,
        fields: smallvec![single, multi],
    }
}

/// One step on `½ |embeddings|²`, whose gradient is the embeddings.
fn train_step(layer: &mut PlainEmbedding) {
    let mut embeddings = vec![0.0; 3 * 2 * 3];
    layer.forward(&batch(), &mut embeddings).unwrap();
    layer.backward(&embeddings).unwrap();
    layer.step(StepSize::of(0.1)).unwrap();
}

fn rows(layer: &PlainEmbedding) -> Vec<Vec<f32>> {
    let tables = layer.rows().tables().iter();
    tables.map(|table| table.values().to_vec()).collect()
}

#[test]
fn forward_equals_lookup_bit_for_bit() {
    let mut layer = layer(SparseRule::Sgd);
    let (mut looked_up, mut embeddings) = (vec![1.0; 3 * 2 * 3], vec![2.0; 3 * 2 * 3]);
    lookup(&layer.rows().views(), &batch(), 3, &mut looked_up).unwrap();
    layer.forward(&batch(), &mut embeddings).unwrap();
    assert_eq!(embeddings, looked_up);
    assert_eq!(looked_up[9..12], [0.0; 3], "an empty bag gives zeros");
}

#[test]
fn sgd_step_sums_duplicates() {
    let mut layer = layer(SparseRule::Sgd);
    let before = rows(&layer);
    train_step(&mut layer);
    let after = rows(&layer);
    // Row 4 stands in two samples, each with gradient w: w − 0.1·2w.
    for j in 12..15 {
        assert!((after[0][j] - 0.8 * before[0][j]).abs() < 1e-6);
    }
    // Row 1 of the mean stands twice in one bag, each time with half of the gradient w.
    for j in 3..6 {
        assert!((after[1][j] - 0.9 * before[1][j]).abs() < 1e-6);
    }
    assert_eq!(before[0][..12], after[0][..12], "other rows stay");
}

#[test]
fn norm_is_that_of_summed_gradients() {
    let mut layer = layer(SparseRule::Sgd);
    let mut embeddings = vec![0.0; 3 * 2 * 3];
    layer.forward(&batch(), &mut embeddings).unwrap();
    layer.backward(&[1.0; 18]).unwrap();
    // Rows 4 (twice) and 49 of the first field; rows 1 (two halves) and 8 of the second; 3 values each.
    let expected = 3.0 * (4.0 + 1.0 + 1.0 + 1.0);
    assert_eq!(layer.gradient_norm_squared().unwrap(), expected);
    layer.backward(&[-2.0; 18]).unwrap();
    assert_eq!(layer.gradient_norm_squared().unwrap(), 4.0 * expected);
}

#[test]
fn scale_multiplies_the_gradient() {
    let step = |gradient, scale| {
        let mut layer = layer(SparseRule::ADAGRAD);
        let mut embeddings = vec![0.0; 3 * 2 * 3];
        layer.forward(&batch(), &mut embeddings).unwrap();
        layer.backward(&[gradient; 18]).unwrap();
        layer
            .step(StepSize {
                scale,
                ..StepSize::of(0.1)
            })
            .unwrap();
        rows(&layer)
    };
    assert_eq!(step(1.0, 0.25), step(0.25, 1.0));
}

#[test]
fn bits_do_not_depend_on_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| large_steps().0)
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

#[test]
fn norm_does_not_depend_on_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| large_steps().1.to_bits())
    };
    assert_eq!(run(1), run(3));
}

/// Rows and the last norm after two steps on batches that are cut into tasks.
fn large_steps() -> (Vec<Vec<f32>>, f64) {
    let batches = [large_batch(1), large_batch(2)];
    let fields = batches[0].fields.iter().enumerate();
    let spec = |(f, field): (usize, &crate::cases::Field)| FieldSpec {
        name: format!("C{f}"),
        n_rows: field.n_rows,
        pooling: field.pooling,
    };
    let specs: Vec<_> = fields.map(spec).collect();
    let (init, rule) = (RowInit::UniformByRows, SparseRule::ROW_WISE_ADAGRAD);
    let mut layer = PlainEmbedding::new(
        &specs,
        &RowSettings {
            init,
            weight_decay: 0.01,
            ..settings(16, rule)
        },
    )
    .unwrap();
    let mut norm = 0.0;
    for batch in &batches {
        let mut embeddings = vec![0.0; batch.n * 6 * 16];
        layer.forward(&batch.ids(), &mut embeddings).unwrap();
        layer.backward(&normals(embeddings.len(), 7)).unwrap();
        norm = layer.gradient_norm_squared().unwrap();
        layer.step(StepSize::of(0.1)).unwrap();
    }
    layer.settle();
    (rows(&layer), norm)
}

#[test]
fn restore_brings_rows_and_optimizer_back() {
    let mut whole = layer(SparseRule::LAZY_ADAM);
    train_step(&mut whole);
    let mut resumed = layer(SparseRule::LAZY_ADAM);
    resumed.restore(&whole.state()).unwrap();
    for layer in [&mut whole, &mut resumed] {
        train_step(layer);
    }
    assert_eq!(whole.state(), resumed.state());
}

#[test]
fn calls_out_of_order_are_errors() {
    let mut layer = layer(SparseRule::Sgd);
    let mut embeddings = vec![0.0; 18];
    let is_no_forward = |error| matches!(error, EmbeddingError::NoForward);
    let is_no_gradient = |error| matches!(error, EmbeddingError::NoGradient);
    assert!(is_no_forward(layer.backward(&[0.0; 18]).unwrap_err()));
    assert!(is_no_forward(layer.step(StepSize::of(0.1)).unwrap_err()));
    assert!(is_no_forward(layer.gradient_norm_squared().unwrap_err()));
    layer.forward(&batch(), &mut embeddings).unwrap();
    assert!(is_no_gradient(layer.step(StepSize::of(0.1)).unwrap_err()));
    assert!(is_no_gradient(layer.gradient_norm_squared().unwrap_err()));
    layer.backward(&embeddings).unwrap();
    layer.step(StepSize::of(0.1)).unwrap();
    assert!(is_no_forward(layer.step(StepSize::of(0.1)).unwrap_err()));
}

#[test]
fn wrong_lengths_are_errors_and_change_nothing() {
    let mut layer = layer(SparseRule::Sgd);
    let error = layer
        .forward(&batch(), &mut [0.0; 17])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "embeddings: expected 18 values, found 17");
    assert!(
        layer.backward(&[0.0; 18]).is_err(),
        "there was no forward pass"
    );
    layer.forward(&batch(), &mut [0.0; 18]).unwrap();
    let error = layer.backward(&[0.0; 19]).unwrap_err().to_string();
    assert_eq!(
        error,
        "gradient of the embeddings: expected 18 values, found 19"
    );
    layer.backward(&[0.0; 18]).unwrap();
}

#[test]
fn a_wild_id_is_named_and_changes_nothing() {
    let single = |ids| Bags { ids, offsets: None };
    let wild = IdBatch {
        n: 2,
        fields: smallvec![single(&[49, 0]), single(&[0, 9])],
    };
    let mut layer = layer(SparseRule::Sgd);
    let mut embeddings = vec![0.0; 18];
    layer.forward(&batch(), &mut embeddings).unwrap();
    let before = rows(&layer);
    let mut out = [7.0; 12];
    let error = layer.forward(&wild, &mut out).unwrap_err().to_string();
    assert_eq!(error, "field 1: id 9 at position 1 is not below 9 rows");
    assert_eq!((rows(&layer), out), (before, [7.0; 12]));
    layer.backward(&embeddings).unwrap();
    layer.step(StepSize::of(0.1)).unwrap();
}

#[test]
fn one_sample_and_none_are_batches() {
    let mut layer = layer(SparseRule::LAZY_ADAM);
    for n in [0, 1] {
        let bags = |ids| Bags { ids, offsets: None };
        let ids = IdBatch {
            n,
            fields: smallvec![bags(&[3][..n]), bags(&[5][..n])],
        };
        let mut embeddings = vec![0.0; n * 6];
        layer.forward(&ids, &mut embeddings).unwrap();
        layer.backward(&embeddings).unwrap();
        layer.step(StepSize::of(0.1)).unwrap();
    }
}

#[test]
fn rows_of_no_values_are_refused() {
    let (init, rule) = (RowInit::UniformByRows, SparseRule::Sgd);
    let error = PlainEmbedding::new(
        &[],
        &RowSettings {
            init,
            ..settings(0, rule)
        },
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("dim of the embeddings"),
        "{error}"
    );
}
