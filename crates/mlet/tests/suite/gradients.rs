//! Gradients: by hand, and by differences.

use slimbed_embedding::{EmbeddingLayer, FieldSpec, Pooling, SparseRule, StepSize};
use slimbed_mlet::MletEmbedding;

use crate::cases::{Batch, N, forward, layer, rows, single, weights};

#[test]
fn three_rows_of_two_by_hand() {
    let field = FieldSpec {
        name: "a".into(),
        n_rows: 3,
        pooling: Pooling::Sum,
    };
    let settings =
        serde_json::from_str(r#"{"inner_dim": 2, "optimizer": "sgd", "lr": 0.5}"#).unwrap();
    let mut layer = MletEmbedding::new(&[field], &rows(1, SparseRule::Sgd), &settings).unwrap();
    let w1 = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    layer.rows_mut().tables_mut()[0]
        .values_mut()
        .copy_from_slice(&w1);
    layer.projection_mut(0).copy_from_slice(&[1.0, -1.0]);
    let mut out = [0.0; 3];
    layer.forward(&single(&[0, 2, 0]), &mut out).unwrap();
    assert_eq!(out, [-1.0; 3]);
    layer.backward(&[1.0, 2.0, 3.0]).unwrap();
    // G is 4 for row 0 and 2 for row 2.
    assert_eq!(layer.row_gradients(), [4.0, -4.0, 2.0, -2.0]);
    assert_eq!(layer.projection_gradient(), [14.0, 20.0]);
    assert_eq!(layer.gradient_norm_squared().unwrap(), 40.0 + 596.0);
    layer.step(StepSize::of(0.25)).unwrap();
    assert_eq!(
        layer.rows().tables()[0].values(),
        [0.0, 3.0, 3.0, 4.0, 4.5, 6.5]
    );
    assert_eq!(layer.projection(0).unwrap(), [-6.0, -11.0]);
}

/// `L = Σ c·E + ½ Σ E²` of a batch, in f64.
fn loss(layer: &mut MletEmbedding, batch: &Batch) -> f64 {
    let embeddings = forward(layer, batch);
    let weights = weights(embeddings.len());
    let terms = embeddings.iter().zip(weights);
    terms
        .map(|(&e, c)| f64::from(c * e) + 0.5 * f64::from(e).powi(2))
        .sum()
}

/// `(L(x + h) − L(x − h)) / 2h` for a value that `value` picks.
fn difference(
    layer: &mut MletEmbedding,
    batch: &Batch,
    value: impl Fn(&mut MletEmbedding) -> &mut f32,
) -> f64 {
    let step = 1e-2;
    let start = *value(layer);
    let mut at = |x| {
        *value(layer) = x;
        loss(layer, batch)
    };
    let (after, before) = (at(start + step), at(start - step));
    *value(layer) = start;
    (after - before) / (2.0 * f64::from(step))
}

fn close(found: f32, expected: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(error < 2e-3 * (1.0 + expected.abs()), "{found} {expected}");
}

/// A layer after a backward pass.
fn after_backward(batch: &Batch) -> MletEmbedding {
    let json = r#"{"inner_dim": 6, "fields": {"sum": {"dim": 3}, "few": {"dim": 2}}}"#;
    let mut layer = layer(json, SparseRule::Sgd);
    let embeddings = forward(&mut layer, batch);
    let weights = weights(embeddings.len());
    let gradient = embeddings.iter().zip(&weights).map(|(e, c)| e + c);
    layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
    layer
}

#[test]
fn gradients_of_projections_equal_differences() {
    let batch = Batch::random(N, 5);
    let mut layer = after_backward(&batch);
    let gradient = layer.projection_gradient().to_vec();
    let mut rest = &gradient[..];
    for f in 0..3 {
        let n = layer.projection(f).unwrap().len();
        for (i, &found) in rest[..n].iter().enumerate() {
            let expected = difference(&mut layer, &batch, |layer| &mut layer.projection_mut(f)[i]);
            close(found, expected);
        }
        rest = &rest[n..];
    }
    assert!(rest.is_empty());
}

#[test]
fn gradients_of_rows_equal_differences() {
    let batch = Batch::random(N, 5);
    let mut layer = after_backward(&batch);
    let gradient = layer.row_gradients().to_vec();
    let mut rest = &gradient[..];
    for f in 0..4 {
        let mut ids = batch.ids().fields[f].ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let (own, others) = rest.split_at(ids.len() * layer.width(f));
        rest = others;
        let rows = ids.iter().zip(own.chunks(layer.width(f)));
        for (&id, row) in rows.step_by(3) {
            for (j, &found) in row.iter().enumerate() {
                let expected = difference(&mut layer, &batch, |layer| {
                    &mut layer.rows_mut().tables_mut()[f].row_mut(id)[j]
                });
                close(found, expected);
            }
        }
    }
    assert!(rest.is_empty());
}
