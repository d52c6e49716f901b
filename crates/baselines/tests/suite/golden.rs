//! Ten steps against PyTorch.

use serde_json::Value;
use slimbed_baselines::{
    AutoEmbEmbedding, AutoEmbSettings, FieldPlan, MixedDimSettings, SharedEmbedding,
};
use slimbed_embedding::{
    Bags, Combine, EmbeddingLayer, FieldSpec, IdBatch, Pooling, Sharing, SparseRule, StepSize,
    TrainedRows,
};
use smallvec::smallvec;

use crate::cases::{DIM, all_rows, rows};

/// Samples of a batch of the fixture.
const N: usize = 4;

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|x| x.as_f64().unwrap() as f32).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn field() -> FieldSpec {
    FieldSpec {
        name: "a".into(),
        n_rows: 7,
        pooling: Pooling::Sum,
    }
}

fn composed(combine: Combine, start: &Value, rule: SparseRule) -> SharedEmbedding {
    let width = if combine == Combine::Concat {
        DIM / 2
    } else {
        DIM
    };
    let plan = FieldPlan {
        sharing: Sharing::QuotientRemainder {
            divisor: 3,
            combine,
        },
        parts: vec![(3, width), (3, width)],
        is_projected: false,
    };
    let mut layer = SharedEmbedding::new(&[field()], &[plan], &rows(rule)).unwrap();
    for i in 0..2 {
        let table = &mut layer.part_mut(i).unwrap().tables_mut()[0];
        table.values_mut().copy_from_slice(&floats(&start[i]));
    }
    layer
}

fn train(layer: &mut dyn EmbeddingLayer, case: &Value, weights: &[f32], lr: f32) {
    for step in case["steps"].as_array().unwrap() {
        backward(layer, step, weights);
        layer.step(StepSize::of(lr)).unwrap();
    }
}

/// Forward and backward on a step of the fixture; returns the embeddings.
fn backward(layer: &mut dyn EmbeddingLayer, step: &Value, weights: &[f32]) -> Vec<f32> {
    let (ids, offsets) = (ids(&step["ids"]), ids(&step["offsets"]));
    let batch = IdBatch {
        n: N,
        fields: smallvec![Bags {
            ids: &ids,
            offsets: Some(&offsets),
        }],
    };
    let mut embeddings = vec![0.0; N * DIM];
    layer.forward(&batch, &mut embeddings).unwrap();
    // L = ½ Σ c·E².
    let gradient = embeddings.iter().zip(weights).map(|(e, c)| c * e);
    layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
    embeddings
}

#[track_caller]
fn check(found: &[f32], expected: &Value, what: &str) {
    let expected = floats(expected);
    let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let error = (found - expected).abs();
        assert!(error <= 2e-5 * largest, "{what}: {found} != {expected}");
    }
}

#[test]
fn ten_steps_agree_with_pytorch() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/baselines.json")).unwrap();
    let (lr, weights) = (
        fixture["lr"].as_f64().unwrap() as f32,
        floats(&fixture["weights"]),
    );
    let kinds = [
        ("product", Combine::Product),
        ("sum", Combine::Sum),
        ("concat", Combine::Concat),
    ];
    for (name, rule) in [("sgd", SparseRule::Sgd), ("adagrad", SparseRule::ADAGRAD)] {
        for (kind, combine) in kinds {
            let case = &fixture["cases"][kind];
            let mut layer = composed(combine, &case["start"], rule);
            train(&mut layer, case, &weights, lr);
            let end = &case["end"][name];
            for i in 0..2 {
                check(layer.part(i).unwrap().tables()[0].values(), &end[i], kind);
            }
            check(&all_rows(&layer)[0], &end[2], kind);
        }
        let case = &fixture["cases"]["mixed"];
        let settings: MixedDimSettings =
            serde_json::from_str(&format!(r#"{{"optimizer": "{name}"}}"#)).unwrap();
        let plan = FieldPlan {
            sharing: Sharing::None,
            parts: vec![(7, 2)],
            is_projected: true,
        };
        let mut layer = settings.layer(&[field()], &[plan], &rows(rule)).unwrap();
        let table = &mut layer.rows_mut().tables_mut()[0];
        table
            .values_mut()
            .copy_from_slice(&floats(&case["start"][0]));
        layer
            .projection_mut(0)
            .copy_from_slice(&floats(&case["start"][1]));
        train(&mut layer, case, &weights, lr);
        let end = &case["end"][name];
        check(layer.rows().tables()[0].values(), &end[0], "mixed");
        check(layer.projection(0).unwrap(), &end[1], "mixed");
        check(&all_rows(&layer)[0], &end[2], "mixed");
    }
}

#[test]
fn autoemb_agrees_with_pytorch() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/baselines.json")).unwrap();
    let (lr, weights) = (
        fixture["lr"].as_f64().unwrap() as f32,
        floats(&fixture["weights"]),
    );
    let case = &fixture["cases"]["autoemb"];
    let counts: Vec<u64> = ids(&case["counts"]).into_iter().map(u64::from).collect();
    let settings = AutoEmbSettings {
        hidden: 3,
        lr: 0.01,
        ..AutoEmbSettings::default()
    };
    let table = TrainedRows::new(&[field()], &rows(SparseRule::Sgd)).unwrap();
    let mut layer =
        AutoEmbEmbedding::new(table, &[&counts], &settings, slimbed_rng::Seed::new(1)).unwrap();
    let table = &mut layer.rows_mut().tables_mut()[0];
    table
        .values_mut()
        .copy_from_slice(&floats(&case["start"][0]));
    layer
        .weights_mut()
        .copy_from_slice(&floats(&case["start"][1]));
    let embeddings = backward(&mut layer, &case["steps"][0], &weights);
    check(&embeddings, &case["first"][0], "embeddings");
    check(layer.controller_gradient(), &case["first"][1], "gradient");
    train(&mut layer, case, &weights, lr);
    check(layer.rows().tables()[0].values(), &case["end"][0], "rows");
    check(layer.weights_mut(), &case["end"][1], "controller");
}
