//! AutoEmb: what holds, gradients by differences.

use slimbed_baselines::{AutoEmbEmbedding, AutoEmbSettings};
use slimbed_embedding::{EmbeddingError, EmbeddingLayer, SparseRule, TrainedRows};
use slimbed_rng::Seed;

use crate::cases::{
    Batch, DIM, N, all_rows, backward, counts, fields, forward, rows, train_step, weights,
};

fn layer(rule: SparseRule) -> AutoEmbEmbedding {
    let rows = TrainedRows::new(&fields(), &rows(rule)).unwrap();
    let counts = counts();
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    let settings = AutoEmbSettings {
        hidden: 5,
        ..AutoEmbSettings::default()
    };
    AutoEmbEmbedding::new(rows, &counts, &settings, Seed::new(2)).unwrap()
}

/// A layer whose controller has weights of its own.
fn learned(rule: SparseRule) -> AutoEmbEmbedding {
    let mut layer = layer(rule);
    let mut stream = Seed::new(4).stream("test/controller", 0);
    stream.fill_normal(layer.weights_mut(), 0.7);
    layer
}

#[test]
fn fresh_controllers_weigh_all_candidates_alike() {
    let mut layer = layer(SparseRule::Sgd);
    let batch = Batch::random(N, 1);
    let out = forward(&mut layer, &batch);
    for (b, &id) in batch.fields[0].0.iter().enumerate() {
        let row = layer.rows().tables()[0].row(id);
        // Sizes 1, 2, 4.
        let shares = [1.0, 2.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0];
        for ((found, x), share) in out[b * 4 * DIM..].iter().zip(row).zip(shares) {
            assert!((found - x * share).abs() < 1e-6, "{found} {x} {share}");
        }
    }
}

#[test]
fn fitted_sizes_keep_to_the_number_and_rows_are_prefixes() {
    let mut layer = learned(SparseRule::ADAGRAD);
    (0..4).for_each(|step| drop(train_step(&mut layer, step)));
    let all = 594 * DIM as u64;
    assert_eq!(layer.fit(all).unwrap(), all);
    let mut before = all;
    for n in [2000, 1500, 1000, 700, 594] {
        let kept = layer.fit(n).unwrap();
        assert!(kept <= n && kept <= before, "{kept} of {n}");
        assert_eq!(layer.n_stored(), kept);
        before = kept;
    }
    assert_eq!(before, layer.n_least());
    let error = layer.fit(593).unwrap_err();
    assert!(matches!(error, EmbeddingError::Setting { .. }), "{error}");
    layer.fit(1200).unwrap();
    let rows = all_rows(&layer);
    for (f, rows) in rows.iter().enumerate() {
        for (i, row) in rows.chunks(DIM).enumerate() {
            let size = layer.size(f, i);
            assert!([1, 2, 4].contains(&size));
            assert_eq!(row[..size], layer.rows().tables()[f].row(i as u32)[..size]);
            assert!(row[size..].iter().all(|x| *x == 0.0));
        }
    }
    let batch = Batch::random(N, 8);
    let mut scored = vec![f32::NAN; N * 4 * DIM];
    layer.lookup(&batch.ids(), &mut scored).unwrap();
    for (b, &id) in batch.fields[0].0.iter().enumerate() {
        assert_eq!(
            scored[b * 4 * DIM..][..DIM],
            rows[0][id as usize * DIM..][..DIM]
        );
    }
    let tables = Box::new(layer).into_tables();
    for (table, rows) in tables.iter().zip(&rows) {
        assert_eq!(table.parts[0].values(), rows);
    }
}

/// `L = Σ c·E + ½ Σ E²` of a batch, in f64.
fn loss(layer: &mut AutoEmbEmbedding, batch: &Batch) -> f64 {
    let embeddings = forward(layer, batch);
    let weights = weights(embeddings.len());
    let terms = embeddings.iter().zip(weights);
    terms
        .map(|(&e, c)| f64::from(c * e) + 0.5 * f64::from(e).powi(2))
        .sum()
}

fn close(found: f32, expected: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(error < 4e-3 * (1.0 + expected.abs()), "{found} {expected}");
}

#[test]
fn gradients_equal_differences() {
    let batch = Batch::random(N, 5);
    let mut layer = learned(SparseRule::Sgd);
    backward(&mut layer, &batch);
    let (own, rows) = (
        layer.controller_gradient().to_vec(),
        layer.row_gradients().to_vec(),
    );
    let step = 1e-2;
    for (i, &found) in own.iter().enumerate() {
        let mut at = |change: f32| {
            layer.weights_mut()[i] += change;
            let loss = loss(&mut layer, &batch);
            layer.weights_mut()[i] -= change;
            loss
        };
        close(found, (at(step) - at(-step)) / (2.0 * f64::from(step)));
    }
    let mut ids = batch.fields[0].0.clone();
    ids.sort_unstable();
    ids.dedup();
    for (&id, own) in ids.iter().zip(rows.chunks(DIM)).step_by(3) {
        for (j, &found) in own.iter().enumerate() {
            let mut at = |change: f32| {
                layer.rows_mut().tables_mut()[0].row_mut(id)[j] += change;
                let loss = loss(&mut layer, &batch);
                layer.rows_mut().tables_mut()[0].row_mut(id)[j] -= change;
                loss
            };
            close(found, (at(step) - at(-step)) / (2.0 * f64::from(step)));
        }
    }
}

#[test]
fn a_restored_layer_goes_on_with_the_same_bits() {
    let (mut whole, mut resumed) = (layer(SparseRule::LAZY_ADAM), layer(SparseRule::LAZY_ADAM));
    (0..3).for_each(|step| drop(train_step(&mut whole, step)));
    whole.fit(1000).unwrap();
    resumed.restore(&whole.state()).unwrap();
    assert_eq!(resumed.n_stored(), whole.n_stored());
    for step in 3..6 {
        assert_eq!(train_step(&mut whole, step), train_step(&mut resumed, step));
    }
    assert_eq!(all_rows(&whole), all_rows(&resumed));
    let state = whole.state();
    let error = resumed
        .restore(&state[..state.len() - 1].to_vec())
        .unwrap_err();
    assert!(matches!(error, EmbeddingError::StateMismatch { .. }));
}

#[test]
fn bits_do_not_depend_on_threads() {
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut layer = learned(SparseRule::LAZY_ADAM);
            let batches = (0..3).map(|step| {
                let seen = backward(&mut layer, &Batch::random(2000, step));
                layer.step(slimbed_embedding::StepSize::of(0.05)).unwrap();
                seen
            });
            (batches.collect::<Vec<_>>(), all_rows(&layer))
        })
    };
    assert_eq!(train(1), train(3));
}
