//! What is known of the method (DERIVED facts of its description).

use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, Pooling, RowInit, RowSettings, SparseRule, StepSize,
};
use slimbed_mlet::{Factor, MletEmbedding, MletSettings, truncate};
use slimbed_rng::Seed;

use crate::cases::{Batch, DIM, N, all_rows, forward, layer, single, train_step};

#[test]
fn a_bag_of_products_is_the_product_of_the_bag() {
    let mut layer = layer(r#"{"inner_dim": 10}"#, SparseRule::ADAGRAD);
    (0..3).for_each(|step| drop(train_step(&mut layer, step)));
    let batch = Batch::random(N, 8);
    let found = forward(&mut layer, &batch);
    for f in 0..3 {
        let (ids, pooling) = (batch.ids(), layer.pooling()[f]);
        let (table, w2) = (&layer.rows().tables()[f], layer.projection(f).unwrap());
        for b in 0..N {
            let bag = &ids.fields[f].ids[ids.fields[f].range(b)];
            let mut pooled = vec![0.0; layer.width(f)];
            for &id in bag {
                let row = table.row(id).iter().map(|x| pooling.weight(bag.len()) * x);
                pooled.iter_mut().zip(row).for_each(|(p, x)| *p += x);
            }
            for j in 0..DIM {
                let terms = pooled.iter().zip(w2[j..].iter().step_by(DIM));
                let expected: f32 = terms.map(|(p, w)| p * w).sum();
                let found = found[(b * 4 + f) * DIM + j];
                assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()));
            }
        }
    }
}

/// Rows of field 0 that a step on ids 1 and 2 moves.
fn moved(json: &str) -> Vec<usize> {
    let field = FieldSpec {
        name: "a".into(),
        n_rows: 20,
        pooling: Pooling::Sum,
    };
    let settings = serde_json::from_str(json).unwrap();
    let rows = crate::cases::rows(DIM, SparseRule::Sgd);
    let mut layer = MletEmbedding::new(&[field], &rows, &settings).unwrap();
    let before = all_rows(&layer);
    let mut out = [0.0; 2 * DIM];
    layer.forward(&single(&[1, 2]), &mut out).unwrap();
    layer.backward(&[1.0; 2 * DIM]).unwrap();
    layer.step(StepSize::of(0.1)).unwrap();
    let after = all_rows(&layer);
    let rows = before[0].chunks(DIM).zip(after[0].chunks(DIM)).enumerate();
    let moved = rows.filter(|(_, (before, after))| before != after);
    moved.map(|(row, _)| row).collect()
}

#[test]
fn rows_outside_of_the_batch_move_if_and_only_if_w2_does() {
    assert_eq!(moved("{}"), (0..20).collect::<Vec<_>>());
    assert_eq!(moved(r#"{"train_projection": "frozen"}"#), [1, 2]);
    let plain = r#"{"train_projection": "frozen", "init": "identity"}"#;
    assert_eq!(moved(plain), [1, 2]);
}

/// Variance of E's entries as a multiple of a single layer's, `1 / 3n`.
fn variance(init: &str, inner_dim: usize) -> f64 {
    let n_rows = 20_000;
    let field = FieldSpec {
        name: "a".into(),
        n_rows,
        pooling: Pooling::Sum,
    };
    let settings = format!(r#"{{"init": "{init}", "inner_dim": {inner_dim}}}"#);
    let settings: MletSettings = serde_json::from_str(&settings).unwrap();
    let rows = RowSettings {
        dim: 16,
        init: RowInit::UniformByRows,
        seed: Seed::new(5),
        rule: SparseRule::Sgd,
        weight_decay: 0.0,
    };
    let layer = MletEmbedding::new(&[field], &rows, &settings).unwrap();
    let rows = all_rows(&layer).swap_remove(0);
    let squares: f64 = rows.iter().map(|&x| f64::from(x).powi(2)).sum();
    squares / rows.len() as f64 * 3.0 * n_rows as f64
}

#[test]
fn the_initial_variance_is_that_of_a_single_layer_where_it_should_be() {
    let close = |found: f64, expected: f64| {
        // Of 16·k values of W2: the spread of a variance is √(2/16k), at most 9 %.
        assert!((found / expected - 1.0).abs() < 0.2, "{found} {expected}");
    };
    close(variance("normal", 16), 1.0);
    close(variance("normal", 64), 4.0);
    for inner_dim in [16, 64, 128] {
        close(variance("matched", inner_dim), 1.0);
    }
    assert!((variance("random-projection", 64) - 1.0).abs() < 0.01);
    assert!((variance("identity", 16) - 1.0).abs() < 0.01);
}

#[test]
fn folding_rounds_and_no_more() {
    let mut layer = layer(r#"{"inner_dim": 10}"#, SparseRule::ADAGRAD);
    (0..3).for_each(|step| drop(train_step(&mut layer, step)));
    let error = layer.check_fold();
    assert!(error > 0.0 && error < 1e-6, "{error}");
    let figures = layer.figures();
    let figure = |name| figures.iter().find(|(n, _)| *n == name).unwrap().1;
    let n_inner = 590.0 * 10.0 + 3.0 * 4.0;
    assert_eq!(figure("inner_dim"), n_inner / 593.0);
    assert_eq!(figure("trained_values"), n_inner + 3.0 * 40.0);
    assert_eq!(figure("shipped_values"), 593.0 * 4.0);
    assert_eq!(figure("fold_error"), error);
    let off = crate::cases::layer(
        r#"{"init": "identity", "train_projection": "frozen"}"#,
        SparseRule::Sgd,
    );
    assert_eq!(off.check_fold(), 0.0);
}

#[test]
fn the_folded_table_has_no_more_directions_than_its_dim() {
    let layer = layer(r#"{"inner_dim": 10}"#, SparseRule::Sgd);
    let inner = layer.singular_values(0, Factor::Inner);
    let folded = layer.singular_values(0, Factor::Folded);
    assert_eq!((inner.len(), folded.len()), (10, DIM));
    let squares = |values: &[f64]| values.iter().map(|s| s * s).sum::<f64>();
    let norm: f64 = all_rows(&layer)[0]
        .iter()
        .map(|&x| f64::from(x).powi(2))
        .sum();
    assert!((squares(&folded) / norm - 1.0).abs() < 1e-9);
    let few = layer.singular_values(3, Factor::Folded);
    assert_eq!(few, layer.singular_values(3, Factor::Inner));
}

#[test]
fn a_folded_table_of_full_width_is_kept_by_truncation() {
    let layer = layer(r#"{"inner_dim": 10}"#, SparseRule::Sgd);
    let folded = layer.singular_values(0, Factor::Folded);
    let tables = Box::new(layer).into_tables();
    let cut = truncate(&tables[0].parts[0], DIM).unwrap();
    for (found, expected) in cut.singular_values.iter().zip(folded) {
        assert!((found / expected - 1.0).abs() < 1e-9);
    }
}
