//! Ten steps against PyTorch.

use serde_json::Value;
use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule, StepSize,
};
use slimbed_mlet::MletEmbedding;
use slimbed_rng::Seed;
use smallvec::smallvec;

const N: usize = 4;
const DIM: usize = 2;

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|x| x.as_f64().unwrap() as f32).collect()
}

/// The layer of `make_mlet.py`: a field of 6 rows with k = 4, and one of 3 rows without W2.
fn layer(fixture: &Value, rule: SparseRule, optimizer: &str) -> MletEmbedding {
    let field = |name: &str, n_rows, pooling| FieldSpec {
        name: name.into(),
        n_rows,
        pooling,
    };
    let fields = [field("a", 6, Pooling::Sum), field("b", 3, Pooling::Sum)];
    let rows = RowSettings {
        dim: DIM,
        init: RowInit::UniformByRows,
        seed: Seed::new(1),
        rule,
        weight_decay: 0.0,
    };
    let settings = format!(r#"{{"inner_dim": 4, "optimizer": "{optimizer}"}}"#);
    let settings = serde_json::from_str(&settings).unwrap();
    let mut layer = MletEmbedding::new(&fields, &rows, &settings).unwrap();
    let tables = layer.rows_mut().tables_mut();
    tables[0]
        .values_mut()
        .copy_from_slice(&floats(&fixture["start"]["w1"]));
    tables[1]
        .values_mut()
        .copy_from_slice(&floats(&fixture["start"]["table"]));
    layer
        .projection_mut(0)
        .copy_from_slice(&floats(&fixture["start"]["w2"]));
    layer
}

fn train(layer: &mut MletEmbedding, fixture: &Value, lr: f32) {
    let weights = floats(&fixture["weights"]);
    for step in fixture["steps"].as_array().unwrap() {
        let ids = |key: &str| -> Vec<u32> {
            let ids = step[key].as_array().unwrap().iter();
            ids.map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let (a, offsets, b) = (ids("a"), ids("offsets"), ids("b"));
        let bags = Bags {
            ids: &a,
            offsets: Some(&offsets),
        };
        let single = Bags {
            ids: &b,
            offsets: None,
        };
        let batch = IdBatch {
            n: N,
            fields: smallvec![bags, single],
        };
        let mut embeddings = vec![0.0; N * 2 * DIM];
        layer.forward(&batch, &mut embeddings).unwrap();
        // L = ½ Σ c·E².
        let gradient = embeddings.iter().zip(&weights).map(|(e, c)| c * e);
        layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
        layer.step(StepSize::of(lr)).unwrap();
    }
}

/// Relative to each value, or to a step of Adam where the value is smaller: it was reached by such steps.
fn check(found: &[f32], expected: &Value, what: &str, lr: f32) {
    let expected = floats(expected);
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= 1e-5 * expected.abs().max(lr),
            "{what}[{i}]: {found} != {expected}"
        );
    }
}

#[test]
fn ten_steps_agree_with_pytorch() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/mlet.json")).unwrap();
    let lr = fixture["lr"].as_f64().unwrap() as f32;
    let cases = [
        ("sgd", SparseRule::Sgd),
        ("adagrad", SparseRule::ADAGRAD),
        ("adam", SparseRule::LAZY_ADAM),
    ];
    for (name, rule) in cases {
        let mut layer = layer(&fixture, rule, name);
        train(&mut layer, &fixture, lr);
        let end = &fixture["end"][name];
        check(layer.rows().tables()[0].values(), &end["w1"], name, lr);
        check(layer.projection(0).unwrap(), &end["w2"], name, lr);
        check(layer.rows().tables()[1].values(), &end["table"], name, lr);
        let mut folded = vec![0.0; 6 * DIM];
        layer.write_rows(0, 0, &mut folded);
        check(&folded, &end["folded"], name, lr);
    }
}
