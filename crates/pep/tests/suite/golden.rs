//! Ten steps equal those of an independent PyTorch implementation, `fixtures/make_pep.py`.

use serde_json::Value as Json;
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, Pooling, RowInit, RowSettings, SparseRule, StepSize, TrainedRows,
};
use slimbed_pep::{Mode, PepEmbedding, PepSettings};
use slimbed_rng::Seed;

use super::cases::{Ids, batch};

const N: usize = 8;
const DIM: usize = 3;
const N_ROWS: [usize; 2] = [5, 4];

fn floats(json: &Json) -> Vec<f64> {
    let values = json.as_array().unwrap().iter();
    values.map(|x| x.as_f64().unwrap()).collect()
}

fn rows(start: &Json) -> TrainedRows {
    let field = |f: usize| FieldSpec {
        name: format!("C{f}"),
        n_rows: N_ROWS[f],
        pooling: [Pooling::Sum, Pooling::Mean][f],
    };
    let settings = RowSettings {
        dim: DIM,
        init: RowInit::Xavier,
        seed: Seed::new(0),
        rule: SparseRule::Sgd,
        weight_decay: 0.0,
    };
    let mut rows = TrainedRows::new(&[field(0), field(1)], &settings).unwrap();
    for (f, table) in rows.tables_mut().iter_mut().enumerate() {
        let values = floats(&start[f]);
        let cells = table.values_mut().iter_mut().zip(values);
        cells.for_each(|(cell, value)| *cell = value as f32);
    }
    rows
}

fn ids(step: usize, is_sparse: bool) -> Vec<Ids> {
    let single = |b: usize| match is_sparse {
        true => (b + step) % 2 + step % 3,
        false => (b + step) % 5,
    };
    let bagged = |i: usize| match is_sparse {
        true => (i + step) % 2,
        false => (3 * i + step) % 4,
    };
    let offsets = vec![0, 2, 2, 3, 5, 6, 8, 9, 10];
    let ids = |n, id: &dyn Fn(usize) -> usize| (0..n).map(|i| id(i) as u32).collect();
    vec![(ids(N, &single), None), (ids(10, &bagged), Some(offsets))]
}

/// Gradient of the embeddings `[N, 2 · DIM]`, and the loss.
fn loss(embeddings: &[f32]) -> (Vec<f32>, f64) {
    let weight = |k: usize| 2.0 * (k as f64).cos();
    let mut gradient = Vec::new();
    let mut loss = 0.0;
    for (b, row) in embeddings.chunks_exact(2 * DIM).enumerate() {
        let scores = row
            .iter()
            .enumerate()
            .map(|(k, &e)| weight(k) * f64::from(e));
        let (score, label) = (scores.sum::<f64>(), (b % 2) as f64);
        loss += (score.exp().ln_1p() - label * score) / N as f64;
        let slope = (1.0 / (1.0 + (-score).exp()) - label) / N as f64;
        gradient.extend((0..2 * DIM).map(|k| (slope * weight(k)) as f32));
    }
    (gradient, loss)
}

fn check_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= 1e-5 * expected.abs().max(0.1),
            "{what} {i}: {found} != {expected}"
        );
    }
}

fn check(case: &Json, settings: &PepSettings, row_lr: f32, start: &Json) {
    let mut layer = PepEmbedding::new(rows(start), settings).unwrap();
    let is_sparse = case["is_sparse"].as_bool().unwrap();
    let what = format!("{:?} {:?} {is_sparse}", settings.granularity, settings.mode);
    let mut losses = Vec::new();
    for step in 0..10 {
        let ids = ids(step, is_sparse);
        let mut embeddings = vec![0.0; N * 2 * DIM];
        layer.forward(&batch(&ids), &mut embeddings).unwrap();
        let (gradient, loss) = loss(&embeddings);
        layer.backward(&gradient).unwrap();
        layer.step(StepSize::of(row_lr)).unwrap();
        losses.push(loss);
    }
    check_close(&format!("{what}: loss"), &losses, &floats(&case["losses"]));
    let tables = layer.rows().tables().iter();
    let found: Vec<_> = tables.flat_map(|t| t.values()).map(|&v| v.into()).collect();
    check_close(&format!("{what}: rows"), &found, &floats(&case["rows"]));
    let mut found = Vec::new();
    for (f, n_rows) in N_ROWS.into_iter().enumerate() {
        for row in 0..n_rows {
            let mut tau = [0.0; DIM];
            layer.write_thresholds(f, row, &mut tau);
            found.extend(tau.map(f64::from));
        }
    }
    let expected = floats(&case["thresholds"]);
    check_close(&format!("{what}: thresholds"), &found, &expected);
}

#[test]
fn ten_steps_agree_with_pytorch() {
    let fixture: Json = serde_json::from_str(include_str!("../fixtures/pep.json")).unwrap();
    let constant = |name: &str| fixture["settings"][name].as_f64().unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    for case in cases {
        let mode = serde_json::from_value(case["mode"].clone()).unwrap();
        let settings = PepSettings {
            mode,
            granularity: serde_json::from_value(case["granularity"].clone()).unwrap(),
            start: constant("start") as f32,
            threshold_lr: constant("threshold_lr"),
            threshold_weight_decay: constant("threshold_weight_decay"),
            row_weight_decay: constant("row_weight_decay"),
            ..PepSettings::default()
        };
        let row_lr = constant(match mode {
            Mode::Lazy => "row_lr",
            Mode::Faithful => "faithful_row_lr",
        });
        check(case, &settings, row_lr as f32, &fixture["start_rows"]);
    }
}
