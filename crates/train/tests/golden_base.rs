//! The base models against PyTorch: logits, loss, every gradient, and everything after three SGD steps.
//!
//! The numbers come from `fixtures/make_base.py`; the steps are taken by the production [`Learner`], with the
//! fused kernels and with candle's graph.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use serde_json::Value;
use slimbed_base_models::DcnStructure;
use slimbed_data::{Batch, FieldIds};
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, PlainEmbedding, Pooling, RowInit, RowSettings, SparseRule,
};
use slimbed_fused::{DenseRule, NamedTensor, WeightDecay};
use slimbed_rng::Seed;
use slimbed_train::{Engine, EngineKind, Learner, ModelConfig, ModelKind, Rates};

const TOLERANCE: f32 = 1e-5;
const ENGINES: [EngineKind; 2] = [EngineKind::Fused, EngineKind::Graph];

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/base.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    match value.as_array() {
        Some(items) => items.iter().flat_map(floats).collect(),
        None => vec![value.as_f64().unwrap() as f32],
    }
}

fn sizes(value: &Value) -> Vec<usize> {
    let sizes = value.as_array().unwrap().iter();
    sizes.map(|v| v.as_u64().unwrap() as usize).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    sizes(value).into_iter().map(|id| id as u32).collect()
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn batch(fixture: &Value) -> Batch {
    let fields = fixture["ids"].as_array().unwrap();
    let offsets = fixture["offsets"].as_array().unwrap();
    let fields = fields
        .iter()
        .zip(offsets)
        .map(|(values, offsets)| FieldIds {
            ids: ids(values),
            offsets: (!offsets.is_null()).then(|| ids(offsets)),
        });
    let labels = floats(&fixture["labels"]);
    Batch {
        n: labels.len(),
        dense: floats(&fixture["dense"]),
        fields: fields.collect(),
        labels,
    }
}

/// The tensors of a part of the fixture.
#[derive(Debug, Default)]
struct Weights {
    dense: Vec<NamedTensor>,
    tables: Vec<Vec<f32>>,
    first_order: Vec<Vec<f32>>,
}

impl Weights {
    fn of(tensors: &Value) -> Self {
        let mut weights = Self::default();
        // The object is sorted by name, so that tables come in order.
        for (name, tensor) in tensors.as_object().unwrap() {
            let values = floats(&tensor["values"]);
            if name.starts_with("tables.") {
                weights.tables.push(values);
            } else if name.starts_with("first_order.") {
                weights.first_order.push(values);
            } else {
                weights.dense.push(NamedTensor {
                    name: name.clone(),
                    shape: sizes(&tensor["shape"]),
                    values,
                });
            }
        }
        weights
    }

    fn dense(&self, name: &str) -> &[f32] {
        let found = self.dense.iter().find(|tensor| tensor.name == name);
        &found.unwrap().values
    }
}

/// The settings of a model of the fixture.
fn config(fixture: &Value, name: &str) -> ModelConfig {
    let kind = match name.split([' ', '+']).next().unwrap() {
        "lr" => ModelKind::Lr,
        "fm" => ModelKind::Fm,
        "wide-deep" => ModelKind::WideDeep,
        "deepfm" => ModelKind::DeepFm,
        "dcn-v2" => ModelKind::DcnV2,
        "autoint" => ModelKind::AutoInt,
        other => panic!("{other}"),
    };
    let layers = size(&fixture["layers"]);
    ModelConfig {
        kind,
        dim: if kind == ModelKind::Lr {
            1
        } else {
            size(&fixture["dim"])
        },
        top: if name == "autoint" {
            Vec::new()
        } else {
            sizes(&fixture["hidden"])
        },
        cross_layers: layers,
        cross_structure: if name.ends_with("parallel") {
            DcnStructure::Parallel
        } else {
            DcnStructure::Stacked
        },
        attention_layers: layers,
        attention_heads: size(&fixture["heads"]),
        attention_dim: size(&fixture["head_dim"]),
        ..ModelConfig::default()
    }
}

fn layer(fixture: &Value, dim: usize, tables: &[Vec<f32>]) -> PlainEmbedding {
    let rows = sizes(&fixture["rows"]).into_iter().enumerate();
    let fields = rows.map(|(f, n_rows)| FieldSpec {
        name: format!("f{f}"),
        n_rows,
        pooling: Pooling::Sum,
    });
    let settings = RowSettings {
        dim,
        init: RowInit::Zeros,
        seed: Seed::new(1),
        rule: SparseRule::Sgd,
        weight_decay: 0.0,
    };
    let mut layer = PlainEmbedding::new(&fields.collect::<Vec<_>>(), &settings).unwrap();
    for (table, values) in layer.rows_mut().tables_mut().iter_mut().zip(tables) {
        table.values_mut().copy_from_slice(values);
    }
    layer
}

fn learner(fixture: &Value, name: &str, kind: EngineKind) -> Learner {
    let config = config(fixture, name);
    let start = Weights::of(&fixture["models"][name]["start"]);
    let spec = config.spec(2, sizes(&fixture["rows"]).len());
    let engine = Engine {
        kind,
        ..Engine::new(&Device::Cpu)
    };
    let (network, seed) = (spec.network().unwrap(), Seed::new(1));
    let dense = engine.build(network, seed, DenseRule::Sgd, WeightDecay::None);
    let mut dense = dense.unwrap();
    assert_eq!(dense.network().params().len(), start.dense.len(), "{name}");
    dense.import(&start.dense).unwrap();
    let embedding = layer(fixture, config.dim, &start.tables);
    let learner = Learner::new(dense, Box::new(embedding), seed, 0.0);
    if spec.has_first_order() {
        return learner.with_first_order(layer(fixture, 1, &start.first_order));
    }
    assert!(start.first_order.is_empty(), "{name}");
    learner
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let pairs = found.iter().zip(expected);
    let worst = pairs.map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "{what}: differs by {worst}");
}

/// The rows of every field.
fn rows(layer: &dyn EmbeddingLayer) -> Vec<Vec<f32>> {
    let rows = |f| {
        let mut rows = vec![0.0; layer.n_rows(f) * layer.dim()];
        layer.write_rows(f, 0, &mut rows);
        rows
    };
    (0..layer.n_fields()).map(rows).collect()
}

/// Embeddings and first-order weights, all fields one after the other.
fn all_rows(learner: &Learner) -> [Vec<f32>; 2] {
    let weights = learner.first_order.as_ref();
    let weights = weights.map_or(Vec::new(), |layer| rows(layer).concat());
    [rows(learner.embedding.as_ref()).concat(), weights]
}

/// Calls `check` with every model and engine.
fn for_each(check: impl Fn(&str, &Value, Learner, &Batch)) {
    let fixture = fixture();
    let models = fixture["models"].as_object().unwrap();
    assert_eq!(models.len(), 8);
    for (name, model) in models {
        for kind in ENGINES {
            let what = format!("{name} by {kind:?}");
            check(
                &what,
                model,
                learner(&fixture, name, kind),
                &batch(&fixture),
            );
        }
    }
}

/// With SGD at learning rate 1 everything moves by its gradient.
fn moved(before: &[f32], after: &[f32]) -> Vec<f32> {
    before.iter().zip(after).map(|(a, b)| a - b).collect()
}

#[test]
fn logits_loss_and_every_gradient_agree() {
    for_each(|what, model, mut learner, batch| {
        let expected = Weights::of(&model["gradients"]);
        let [rows, weights] = all_rows(&learner);
        let start = learner.dense.export().unwrap();
        let rates = Rates {
            dense: 1.0,
            embedding: 1.0,
            factor: 1.0,
        };
        let mut logits = vec![0.0; batch.n];
        learner.logits(batch, &mut logits).unwrap();
        assert_close(
            &format!("{what}: logits"),
            &logits,
            &floats(&model["logits"]),
        );
        let loss = learner.step(batch, 0, rates).unwrap().loss as f32;
        assert_close(what, &[loss], &floats(&model["losses"])[..1]);
        for (before, after) in start.iter().zip(&learner.dense.export().unwrap()) {
            let name = format!("{what}: {}", after.name);
            let gradient = moved(&before.values, &after.values);
            assert_close(&name, &gradient, expected.dense(&after.name));
        }
        let [rows_after, weights_after] = all_rows(&learner);
        assert_close(what, &moved(&rows, &rows_after), &expected.tables.concat());
        let moved = moved(&weights, &weights_after);
        assert_close(what, &moved, &expected.first_order.concat());
    });
}

#[test]
fn losses_and_parameters_after_three_steps_agree() {
    let lr = fixture()["lr"].as_f64().unwrap();
    let rates = Rates {
        dense: lr,
        embedding: lr,
        factor: 1.0,
    };
    for_each(|what, model, mut learner, batch| {
        let expected = Weights::of(&model["end"]);
        let step = |step| learner.step(batch, step, rates).unwrap().loss as f32;
        let losses: Vec<f32> = (0..3).map(step).collect();
        assert_close(what, &losses, &floats(&model["losses"]));
        for tensor in learner.dense.export().unwrap() {
            let name = format!("{what}: {}", tensor.name);
            assert_close(&name, &tensor.values, expected.dense(&tensor.name));
        }
        let [rows, weights] = all_rows(&learner);
        assert_close(what, &rows, &expected.tables.concat());
        assert_close(what, &weights, &expected.first_order.concat());
    });
}
