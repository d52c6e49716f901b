//! Gradients: by hand, and by differences.

use slimbed_baselines::{FieldPlan, SharedEmbedding};
use slimbed_embedding::{
    Bags, Combine, EmbeddingLayer, FieldSpec, IdBatch, Pooling, Sharing, SparseRule, StepSize,
};

use crate::cases::{Batch, DIM, N, backward, fields, forward, rows, shared, shared_plans, weights};

/// A layer of one field of 4 ids with quotients `[1, 2], [3, 4]` and remainders `[5, 6], [7, 8]`.
fn by_hand(combine: Combine) -> SharedEmbedding {
    let field = FieldSpec {
        n_rows: 4,
        ..fields().swap_remove(0)
    };
    let width = if combine == Combine::Concat { 1 } else { 2 };
    let plan = FieldPlan {
        sharing: Sharing::QuotientRemainder {
            divisor: 2,
            combine,
        },
        parts: vec![(2, width); 2],
        is_projected: false,
    };
    let mut settings = rows(SparseRule::Sgd);
    settings.dim = 2;
    let mut layer = SharedEmbedding::new(&[field], &[plan], &settings).unwrap();
    for (i, first) in [(0, 1_u8), (1, 5)] {
        let table = &mut layer.part_mut(i).unwrap().tables_mut()[0];
        let counted = table.values_mut().iter_mut().zip(first..);
        counted.for_each(|(x, n)| *x = f32::from(n));
    }
    layer
}

#[test]
fn four_ids_of_two_by_two_by_hand() {
    // Ids 3 (1, 1), 0 (0, 0), 1 (0, 1).
    let cases = [
        (
            Combine::Product,
            [21.0, 32.0, 5.0, 12.0, 7.0, 16.0],
            // Row 0: g1·[5, 6] + g2·[7, 8]; row 1: g0·[7, 8].
            [2.0 * 5.0 + 3.0 * 7.0, 2.0 * 6.0 + 3.0 * 8.0, 7.0, 8.0],
            [2.0, 4.0, 3.0 + 3.0, 4.0 + 6.0],
        ),
        (
            Combine::Sum,
            [10.0, 12.0, 6.0, 8.0, 8.0, 10.0],
            [5.0, 5.0, 1.0, 1.0],
            [2.0, 2.0, 4.0, 4.0],
        ),
    ];
    for (combine, expected, first, second) in cases {
        let mut layer = by_hand(combine);
        let ids = IdBatch {
            n: 3,
            fields: smallvec::smallvec![Bags {
                ids: &[3, 0, 1],
                offsets: None
            }],
        };
        let mut out = [0.0; 6];
        layer.forward(&ids, &mut out).unwrap();
        assert_eq!(out, expected);
        layer.backward(&[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]).unwrap();
        assert_eq!(layer.part_gradients(0), first);
        assert_eq!(layer.part_gradients(1), second);
        layer.step(StepSize::of(0.5)).unwrap();
        let after = layer.part(1).unwrap().tables()[0].row(0);
        assert_eq!(after, [5.0 - 0.5 * second[0], 6.0 - 0.5 * second[1]]);
    }
}

#[test]
fn halves_side_by_side_by_hand() {
    let mut layer = by_hand(Combine::Concat);
    let bag = Bags {
        ids: &[3, 0, 1],
        offsets: Some(&[0, 3]),
    };
    let ids = IdBatch {
        n: 1,
        fields: smallvec::smallvec![bag],
    };
    let mut out = [0.0; 2];
    layer.forward(&ids, &mut out).unwrap();
    assert_eq!(out, [2.0 + 1.0 + 1.0, 6.0 + 5.0 + 6.0]);
    layer.backward(&[10.0, 1.0]).unwrap();
    assert_eq!(layer.part_gradients(0), [20.0, 10.0]);
    assert_eq!(layer.part_gradients(1), [1.0, 2.0]);
}

/// `L = Σ c·E + ½ Σ E²` of a batch, in f64.
fn loss(layer: &mut SharedEmbedding, batch: &Batch) -> f64 {
    let embeddings = forward(layer, batch);
    let weights = weights(embeddings.len());
    let terms = embeddings.iter().zip(weights);
    terms
        .map(|(&e, c)| f64::from(c * e) + 0.5 * f64::from(e).powi(2))
        .sum()
}

#[test]
fn gradients_equal_differences() {
    let batch = Batch::random(N, 5);
    for (name, plan) in shared_plans() {
        let mut layer = shared(&plan, SparseRule::Sgd);
        backward(&mut layer, &batch);
        for part in 0..2 {
            let gradients = layer.part_gradients(part).to_vec();
            let mut rest = &gradients[..];
            for f in 0..4 {
                let Some(tables) = layer.part(part) else {
                    continue;
                };
                let (n_rows, width) = (tables.tables()[f].n_rows(), tables.tables()[f].dim());
                let taken = rows_taken(&layer, &batch, f, part);
                assert!(taken.iter().all(|&row| (row as usize) < n_rows));
                let (own, others) = rest.split_at(taken.len() * width);
                rest = others;
                for (&row, own) in taken.iter().zip(own.chunks(width)).step_by(3) {
                    for (j, &found) in own.iter().enumerate() {
                        let expected = difference(&mut layer, &batch, (part, f, row, j));
                        let error = (f64::from(found) - expected).abs();
                        let limit = 2e-3 * (1.0 + expected.abs());
                        assert!(error < limit, "{name}: {found} {expected}");
                    }
                }
            }
            assert!(rest.is_empty(), "{name}");
        }
    }
}

/// Rows of a part that change an embedding of the batch when they change, rising.
fn rows_taken(layer: &SharedEmbedding, batch: &Batch, f: usize, part: usize) -> Vec<u32> {
    let mut ids = batch.fields[f].0.clone();
    ids.sort_unstable();
    ids.dedup();
    let (sharing, table) = (layer.sharing(f), &layer.part(part).unwrap().tables()[f]);
    let n_rows = table.n_rows() as u32;
    let row = |id: u32| match (sharing, part) {
        (Sharing::None, 0) => Some(id),
        (Sharing::Hash { seed }, 0) => Some(slimbed_compact::hashed_row(id, seed, n_rows)),
        (Sharing::Cutoff, 0) => Some(if id < n_rows { id } else { 0 }),
        (Sharing::QuotientRemainder { divisor, .. }, 0) => Some(id / divisor),
        (Sharing::QuotientRemainder { divisor, .. }, _) => Some(id % divisor),
        _ => None,
    };
    let mut rows: Vec<u32> = ids.into_iter().filter_map(row).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// `(L(x + h) − L(x − h)) / 2h` for a value of a part of a field.
fn difference(
    layer: &mut SharedEmbedding,
    batch: &Batch,
    (part, f, row, j): (usize, usize, u32, usize),
) -> f64 {
    let step = 1e-2;
    let mut at = |change: f32| {
        let tables = layer.part_mut(part).unwrap().tables_mut();
        tables[f].row_mut(row)[j] += change;
        let loss = loss(layer, batch);
        let tables = layer.part_mut(part).unwrap().tables_mut();
        tables[f].row_mut(row)[j] -= change;
        loss
    };
    (at(step) - at(-step)) / (2.0 * f64::from(step))
}

#[test]
fn ids_that_share_a_row_add_their_gradients() {
    let field = FieldSpec {
        name: "a".into(),
        n_rows: 100,
        pooling: Pooling::Sum,
    };
    let plan = FieldPlan {
        sharing: Sharing::Cutoff,
        parts: vec![(10, DIM)],
        is_projected: false,
    };
    let mut layer = SharedEmbedding::new(&[field], &[plan], &rows(SparseRule::Sgd)).unwrap();
    let ids = IdBatch {
        n: 4,
        fields: smallvec::smallvec![Bags {
            ids: &[50, 3, 99, 0],
            offsets: None
        }],
    };
    let mut out = [0.0; 4 * DIM];
    layer.forward(&ids, &mut out).unwrap();
    assert_eq!(out[..DIM], out[2 * DIM..3 * DIM]);
    assert_eq!(out[..DIM], out[3 * DIM..]);
    let gradient: Vec<f32> = (0..4 * DIM as u8).map(f32::from).collect();
    layer.backward(&gradient).unwrap();
    let sums = (0..DIM).map(|j| gradient[j] + gradient[2 * DIM + j] + gradient[3 * DIM + j]);
    let expected: Vec<f32> = sums.chain(gradient[DIM..2 * DIM].iter().copied()).collect();
    assert_eq!(layer.part_gradients(0), expected);
}
