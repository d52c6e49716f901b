//! DLRM against PyTorch: logits, loss, every gradient, and the parameters after three SGD steps.
//!
//! The numbers come from `fixtures/make_dlrm.py`; the steps are taken by the production [`Learner`], with
//! the fused kernels and with candle's graph.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use serde_json::Value;
use slimbed_data::{Batch, FieldIds};
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, PlainEmbedding, Pooling, RowInit, RowSettings, SparseRule,
    StateTensor, StateValues,
};
use slimbed_fused::{DenseRule, Mode, NamedTensor, WeightDecay};
use slimbed_rng::Seed;
use slimbed_train::{
    DenseNetwork, Engine, EngineKind, Learner, ModelConfig, Ones, Rates, id_batch, inputs,
};

const TOLERANCE: f32 = 1e-5;
const ENGINES: [EngineKind; 2] = [EngineKind::Fused, EngineKind::Graph];

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/dlrm.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    match value.as_array() {
        Some(items) => items.iter().flat_map(floats).collect(),
        None => vec![value.as_f64().unwrap() as f32],
    }
}

fn integers(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as u32)
        .collect()
}

fn batch(fixture: &Value) -> Batch {
    let ids = fixture["ids"].as_array().unwrap();
    let offsets = fixture["offsets"].as_array().unwrap();
    let fields = ids.iter().zip(offsets).map(|(ids, offsets)| FieldIds {
        ids: integers(ids),
        offsets: (!offsets.is_null()).then(|| integers(offsets)),
    });
    let labels = floats(&fixture["labels"]);
    Batch {
        n: labels.len(),
        dense: floats(&fixture["dense"]),
        fields: fields.collect(),
        labels,
    }
}

/// The fixture's weights under our names: dense parameters as they are, tables apart.
fn weights(tensors: &Value) -> (Vec<NamedTensor>, Vec<Vec<f32>>) {
    let (mut dense, mut tables) = (Vec::new(), Vec::new());
    for (name, tensor) in tensors.as_object().unwrap() {
        let values = floats(&tensor["values"]);
        if name.starts_with("tables.") {
            tables.push(values);
        } else {
            let shape = integers(&tensor["shape"])
                .into_iter()
                .map(|n| n as usize)
                .collect();
            dense.push(NamedTensor {
                name: name.clone(),
                shape,
                values,
            });
        }
    }
    (dense, tables)
}

fn dense(fixture: &Value, kind: EngineKind) -> Box<dyn DenseNetwork> {
    let config = ModelConfig {
        dim: fixture["dim"].as_u64().unwrap() as usize,
        bottom: vec![8],
        top: vec![8],
        ..ModelConfig::default()
    };
    let n_fields = integers(&fixture["rows"]).len();
    let network = config.spec(3, n_fields).network().unwrap();
    let engine = Engine {
        kind,
        ..Engine::new(&Device::Cpu)
    };
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let mut dense = engine.build(network, Seed::new(1), rule, decay).unwrap();
    dense.import(&weights(&fixture["start"]).0).unwrap();
    dense
}

fn embedding(fixture: &Value) -> PlainEmbedding {
    let dim = fixture["dim"].as_u64().unwrap() as usize;
    let fields: Vec<_> = integers(&fixture["rows"])
        .iter()
        .enumerate()
        .map(|(f, &n)| FieldSpec {
            name: format!("f{f}"),
            n_rows: n as usize,
            pooling: Pooling::Sum,
        })
        .collect();
    let init = RowInit::UniformByRows;
    let mut embedding = PlainEmbedding::new(
        &fields,
        &RowSettings {
            dim,
            init,
            seed: Seed::new(1),
            rule: SparseRule::Sgd,
            weight_decay: 0.0,
        },
    )
    .unwrap();
    let (_, tables) = weights(&fixture["start"]);
    let clock = [0u32; 3];
    let mut state = vec![StateTensor {
        name: "clock".into(),
        n_rows: 1,
        dim: 3,
        values: StateValues::U32(&clock),
    }];
    state.extend(tables.iter().enumerate().map(|(f, values)| StateTensor {
        name: format!("f{f}/rows"),
        n_rows: values.len() / dim,
        dim,
        values: StateValues::F32(values),
    }));
    embedding.restore(&state).unwrap();
    embedding
}

fn learner(fixture: &Value, kind: EngineKind) -> Learner {
    let embedding = Box::new(embedding(fixture));
    Learner::new(dense(fixture, kind), embedding, Seed::new(1), 0.0)
}

/// Logits and loss of the first step; the gradients stay in the learner.
fn first_step(learner: &mut Learner, batch: &Batch) -> (Vec<f32>, f64) {
    let width = learner.embedding.n_fields() * learner.embedding.dim();
    let mut embeddings = vec![0.0; batch.n * width];
    learner
        .embedding
        .forward(&id_batch(batch), &mut embeddings)
        .unwrap();
    let mut ones = Ones::default();
    let inputs = inputs(batch, &embeddings, &mut ones);
    let mut logits = vec![0.0; batch.n];
    learner.dense.logits(inputs, &mut logits).unwrap();
    let mut gradient = vec![0.0; embeddings.len()];
    let dense = &mut learner.dense;
    let loss = dense.loss(inputs, &batch.labels, Mode::Eval, &mut gradient);
    learner.embedding.backward(&gradient).unwrap();
    (logits, loss.unwrap())
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f - e).abs())
        .fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "{what}: differs by {worst}");
}

/// The rows of every field.
fn all_rows(learner: &Learner) -> Vec<Vec<f32>> {
    let embedding = &learner.embedding;
    let rows = |f| {
        let mut rows = vec![0.0; embedding.n_rows(f) * embedding.dim()];
        embedding.write_rows(f, 0, &mut rows);
        rows
    };
    (0..embedding.n_fields()).map(rows).collect()
}

#[test]
fn logits_loss_and_every_gradient_agree() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let (expected, _) = weights(&fixture["gradients"]);
    for kind in ENGINES {
        let mut learner = learner(&fixture, kind);
        let (logits, loss) = first_step(&mut learner, &batch);
        assert_close("logits", &logits, &floats(&fixture["logits"]));
        assert_close("loss", &[loss as f32], &floats(&fixture["losses"])[..1]);
        let gradients = learner.dense.gradients().unwrap();
        assert_eq!(gradients.len(), expected.len());
        for gradient in gradients {
            let expected = expected.iter().find(|e| e.name == gradient.name).unwrap();
            assert_close(&gradient.name, &gradient.values, &expected.values);
        }
    }
}

#[test]
fn the_gradients_of_the_tables_agree() {
    // With SGD at learning rate 1 a table moves by its gradient.
    let fixture = fixture();
    let (_, starts) = weights(&fixture["start"]);
    let (_, gradients) = weights(&fixture["gradients"]);
    for kind in ENGINES {
        let mut learner = learner(&fixture, kind);
        let rates = Rates {
            dense: 1.0,
            embedding: 1.0,
            factor: 1.0,
        };
        learner.step(&batch(&fixture), 0, rates).unwrap();
        for (f, table) in all_rows(&learner).iter().enumerate() {
            let moved = starts[f].iter().zip(table).map(|(a, b)| a - b);
            let moved: Vec<f32> = moved.collect();
            assert_close(&format!("table {f}"), &moved, &gradients[f]);
        }
    }
}

#[test]
fn losses_and_parameters_after_three_steps_agree() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let lr = fixture["lr"].as_f64().unwrap();
    let rates = Rates {
        dense: lr,
        embedding: lr,
        factor: 1.0,
    };
    let (dense, tables) = weights(&fixture["end"]);
    for kind in ENGINES {
        let mut learner = learner(&fixture, kind);
        let step = |step| learner.step(&batch, step, rates).unwrap().loss as f32;
        let losses: Vec<f32> = (0..3).map(step).collect();
        assert_close("losses", &losses, &floats(&fixture["losses"]));
        for tensor in learner.dense.export().unwrap() {
            let expected = dense.iter().find(|e| e.name == tensor.name).unwrap();
            assert_close(&tensor.name, &tensor.values, &expected.values);
        }
        for (f, table) in all_rows(&learner).iter().enumerate() {
            assert_close(&format!("table {f}"), table, &tables[f]);
        }
    }
}

#[test]
fn every_trainable_tensor_receives_a_gradient() {
    let fixture = fixture();
    let batch = batch(&fixture);
    for kind in ENGINES {
        let mut learner = learner(&fixture, kind);
        first_step(&mut learner, &batch);
        for gradient in learner.dense.gradients().unwrap() {
            let norm: f32 = gradient.values.iter().map(|g| g * g).sum();
            assert!(norm > 0.0, "{} received {norm}", gradient.name);
        }
        assert!(learner.embedding.gradient_norm_squared().unwrap() > 0.0);
    }
}

#[test]
fn gradients_of_the_whole_model_are_finite_differences() {
    let fixture = fixture();
    let batch = batch(&fixture);
    for kind in ENGINES {
        let mut learner = learner(&fixture, kind);
        first_step(&mut learner, &batch);
        let start = learner.dense.export().unwrap();
        let gradients = learner.dense.gradients().unwrap();
        for (i, tensor) in start.iter().enumerate() {
            for j in [0, tensor.values.len() / 2, tensor.values.len() - 1] {
                let mut loss_at = |shift: f32| {
                    let mut moved = start.clone();
                    moved[i].values[j] += shift;
                    learner.dense.import(&moved).unwrap();
                    first_step(&mut learner, &batch).1
                };
                let numeric = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
                let analytic = f64::from(gradients[i].values[j]);
                let difference = (numeric - analytic).abs();
                assert!(
                    difference < 2e-3,
                    "{}[{j}]: {numeric} != {analytic}",
                    tensor.name
                );
            }
        }
    }
}
