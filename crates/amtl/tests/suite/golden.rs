//! Ten steps against PyTorch's autograd, `tests/fixtures/make_amtl.py`.

use serde_json::Value as Json;
use slimbed_amtl::{AmtlEmbedding, AmtlSettings, Branches, Estimator, ZeroSize};
use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, SparseRule, StateValues, StepSize,
};

use crate::common::{SEED, copy, rows_of};

fn floats(json: &Json) -> Vec<f32> {
    let values = json.as_array().unwrap().iter();
    values.map(|x| x.as_f64().unwrap() as f32).collect()
}

fn integers(json: &Json) -> Vec<u64> {
    let values = json.as_array().unwrap().iter();
    values.map(|x| x.as_u64().unwrap()).collect()
}

fn settings(fixture: &Json, case: &Json) -> AmtlSettings {
    let case = &case["settings"];
    let is = |name: &str| case[name].as_bool().unwrap();
    let number = |name: &str| case[name].as_f64().unwrap() as f32;
    AmtlSettings {
        hidden: integers(&case["hidden"])
            .iter()
            .map(|&n| n as usize)
            .collect(),
        branches: if case["branches"] == 2 {
            Branches::Twins
        } else {
            Branches::Single
        },
        estimator: if is("soft") {
            Estimator::Soft
        } else {
            Estimator::StraightThrough
        },
        zero_size: if is("zero") {
            ZeroSize::Allowed
        } else {
            ZeroSize::Never
        },
        temperature: number("T"),
        penalty: number("penalty"),
        lr: fixture["own_lr"].as_f64().unwrap(),
        ..AmtlSettings::default()
    }
}

/// The layer of a case with the fixture's rows and weights.
fn layer(fixture: &Json, case: &Json) -> AmtlEmbedding {
    let counts: Vec<_> = [0, 1].map(|f| integers(&fixture["counts"][f])).into();
    let spec = |f: usize| FieldSpec {
        name: format!("C{f}"),
        n_rows: counts[f].len(),
        pooling: [Pooling::Sum, Pooling::Mean][f],
    };
    let rule = match case["settings"]["rule"].as_str().unwrap() {
        "sgd" => SparseRule::Sgd,
        _ => SparseRule::ADAGRAD,
    };
    let rows = rows_of(
        &[spec(0), spec(1)],
        fixture["dim"].as_u64().unwrap() as usize,
        rule,
    );
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    let mut layer = AmtlEmbedding::new(rows, &counts, &settings(fixture, case), SEED).unwrap();
    let start = &case["start"];
    let given = [
        ("C0/rows", floats(&start["rows"][0])),
        ("C1/rows", floats(&start["rows"][1])),
        ("amtl-weights", floats(&start["weights"])),
    ];
    let saved = copy(&layer);
    let mut tensors = saved.tensors();
    for (name, values) in &given {
        let tensor = tensors
            .iter_mut()
            .find(|tensor| tensor.name == *name)
            .unwrap();
        tensor.values = StateValues::F32(values);
    }
    layer.restore(&tensors).unwrap();
    layer
}

/// The loss of a step and the gradient of the embeddings.
fn loss(embeddings: &[f32], direction: &[f32], labels: &[f32]) -> (f64, Vec<f32>) {
    let mut loss = 0.0;
    let mut gradient = Vec::new();
    for (embeddings, &label) in embeddings.chunks(direction.len()).zip(labels) {
        let terms = embeddings.iter().zip(direction);
        let score: f64 = terms.map(|(x, c)| f64::from(x * c)).sum();
        let label = f64::from(label);
        loss += (score.exp().ln_1p() - label * score) / labels.len() as f64;
        let slope = (1.0 / (1.0 + (-score).exp()) - label) / labels.len() as f64;
        gradient.extend(direction.iter().map(|c| (slope * f64::from(*c)) as f32));
    }
    (loss, gradient)
}

/// Relative to each value, or to `step` where the value is smaller: it was reached by steps of about that size.
fn assert_close(what: &str, found: &[f32], expected: &[f32], step: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        assert!(
            (x - y).abs() <= 1e-5 * y.abs().max(step),
            "{what}[{i}]: {x} != {y}"
        );
    }
}

fn check(fixture: &Json, name: &str) {
    let case = &fixture["cases"][name];
    let mut layer = layer(fixture, case);
    let (direction, labels) = (floats(&fixture["direction"]), floats(&fixture["labels"]));
    let n = labels.len();
    let offsets: Vec<u32> = (0..=n as u32).map(|b| 2 * b).collect();
    let lr = fixture["row_lr"].as_f64().unwrap() as f32;
    for (step, batch) in fixture["batches"].as_array().unwrap().iter().enumerate() {
        let ids = [0, 1].map(|f| {
            integers(&batch[f])
                .iter()
                .map(|&id| id as u32)
                .collect::<Vec<_>>()
        });
        let field = |f: usize| Bags {
            ids: &ids[f],
            offsets: (f == 1).then_some(&offsets[..]),
        };
        let batch = IdBatch {
            n,
            fields: [field(0), field(1)].into_iter().collect(),
        };
        let mut embeddings = vec![0.0; n * direction.len()];
        layer.forward(&batch, &mut embeddings).unwrap();
        let (loss, gradient) = loss(&embeddings, &direction, &labels);
        let expected = case["losses"][step].as_f64().unwrap();
        assert!(
            (loss / expected - 1.0).abs() < 1e-5,
            "{name}, step {step}: {loss} != {expected}"
        );
        layer.backward(&gradient).unwrap();
        layer.step(StepSize::of(lr)).unwrap();
    }
    for f in 0..2 {
        let expected = floats(&case["end"]["rows"][f]);
        assert_close(name, layer.rows().tables()[f].values(), &expected, lr);
        let sizes: Vec<_> = layer.sizes(f).into_iter().map(u64::from).collect();
        assert_eq!(sizes, integers(&case["sizes"][f]), "{name}");
    }
    let state = layer.state();
    let weights = state
        .iter()
        .find(|tensor| tensor.name == "amtl-weights")
        .unwrap();
    let StateValues::F32(weights) = weights.values else {
        panic!("weights are floats");
    };
    let expected = floats(&case["end"]["weights"]);
    let own_lr = fixture["own_lr"].as_f64().unwrap() as f32;
    assert_close(name, weights, &expected, own_lr);
}

#[test]
fn ten_steps_agree_with_pytorch() {
    let fixture: Json = serde_json::from_str(include_str!("../fixtures/amtl.json")).unwrap();
    for name in ["twins", "deep", "soft", "single"] {
        check(&fixture, name);
    }
}
