//! DLRM against PyTorch: logits, loss, every gradient, and the parameters after three SGD steps.
//!
//! The numbers come from `fixtures/make_dlrm.py`; the steps are taken by the production [`Learner`].
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use serde_json::Value;
use slimbed_data::{Batch, FieldIds};
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, PlainEmbedding, Pooling, RowInit, SparseRule, StateTensor,
    StateValues,
};
use slimbed_nn::{DenseOptimizer, DenseRule, Mode, NamedTensor, WeightDecay, bce_with_logits};
use slimbed_rng::Seed;
use slimbed_train::{Learner, ModelConfig, ModelSpec, Rates, dense_tensor, id_batch};

const TOLERANCE: f32 = 1e-5;

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

fn learner(fixture: &Value) -> Learner {
    let dim = fixture["dim"].as_u64().unwrap() as usize;
    let rows = integers(&fixture["rows"]);
    let config = ModelConfig {
        dim,
        bottom: vec![8],
        top: vec![8],
        ..ModelConfig::default()
    };
    let model = ModelSpec::new(&config, 3, rows.len())
        .build(Seed::new(1), &Device::Cpu)
        .unwrap();
    let (dense, tables) = weights(&fixture["start"]);
    model.params().import(&dense).unwrap();
    let fields: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(f, &n)| FieldSpec {
            name: format!("f{f}"),
            n_rows: n as usize,
            pooling: Pooling::Sum,
        })
        .collect();
    let init = RowInit::UniformByRows;
    let mut embedding =
        PlainEmbedding::new(&fields, dim, init, Seed::new(1), SparseRule::Sgd, 0.0).unwrap();
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
    let optimizer = DenseOptimizer::new(model.params(), DenseRule::Sgd, WeightDecay::None).unwrap();
    Learner {
        model,
        embedding: Box::new(embedding),
        optimizer,
        device: Device::Cpu,
        seed: Seed::new(1),
        clip_norm: 0.0,
    }
}

/// Logits, loss and gradients of the first step.
fn first_step(learner: &mut Learner, batch: &Batch) -> (Tensor, Tensor, GradStore) {
    let embeddings = learner
        .embedding
        .forward(&id_batch(batch), &Device::Cpu)
        .unwrap();
    let dense = dense_tensor(batch, &Device::Cpu).unwrap();
    let labels = Tensor::from_slice(&batch.labels, batch.n, &Device::Cpu).unwrap();
    let logits = learner
        .model
        .forward(&dense, &embeddings, Mode::Eval)
        .unwrap();
    let loss = bce_with_logits(&logits, &labels).unwrap();
    let grads = loss.backward().unwrap();
    (logits, loss, grads)
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

#[test]
fn logits_loss_and_every_gradient_agree() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let mut learner = learner(&fixture);
    let (logits, loss, grads) = first_step(&mut learner, &batch);
    assert_close(
        "logits",
        &logits.to_vec1().unwrap(),
        &floats(&fixture["logits"]),
    );
    assert_close(
        "loss",
        &[loss.to_scalar().unwrap()],
        &floats(&fixture["losses"])[..1],
    );
    let (expected, _) = weights(&fixture["gradients"]);
    assert_eq!(expected.len(), learner.model.params().iter().len());
    for (name, var) in learner.model.params().iter() {
        let found = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap();
        let expected = expected.iter().find(|tensor| tensor.name == name).unwrap();
        assert_close(name, &found.to_vec1().unwrap(), &expected.values);
    }
}

#[test]
fn the_gradients_of_the_tables_agree() {
    // With SGD at learning rate 1 a table moves by its gradient.
    let fixture = fixture();
    let mut learner = learner(&fixture);
    let rates = Rates {
        dense: 1.0,
        embedding: 1.0,
    };
    learner.step(&batch(&fixture), 0, rates).unwrap();
    let (_, starts) = weights(&fixture["start"]);
    let (_, gradients) = weights(&fixture["gradients"]);
    for (f, table) in learner.embedding.tables().iter().enumerate() {
        let moved: Vec<f32> = starts[f]
            .iter()
            .zip(table.values)
            .map(|(a, b)| a - b)
            .collect();
        assert_close(&format!("table {f}"), &moved, &gradients[f]);
    }
}

#[test]
fn losses_and_parameters_after_three_steps_agree() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let mut learner = learner(&fixture);
    let lr = fixture["lr"].as_f64().unwrap();
    let losses: Vec<f32> = (0..3)
        .map(|step| {
            let rates = Rates {
                dense: lr,
                embedding: lr,
            };
            learner.step(&batch, step, rates).unwrap().loss as f32
        })
        .collect();
    assert_close("losses", &losses, &floats(&fixture["losses"]));
    let (dense, tables) = weights(&fixture["end"]);
    for tensor in learner.model.params().export().unwrap() {
        let expected = dense.iter().find(|e| e.name == tensor.name).unwrap();
        assert_close(&tensor.name, &tensor.values, &expected.values);
    }
    for (f, table) in learner.embedding.tables().iter().enumerate() {
        assert_close(&format!("table {f}"), table.values, &tables[f]);
    }
}

#[test]
fn every_trainable_tensor_receives_a_gradient() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let mut learner = learner(&fixture);
    let (_, _, mut grads) = first_step(&mut learner, &batch);
    for (name, var) in learner.model.params().iter() {
        let gradient = grads.get(var.as_tensor());
        let norm = gradient.map(|g| {
            g.sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
        });
        assert!(
            norm.is_some_and(|norm| norm > 0.0),
            "{name} received {norm:?}"
        );
    }
    assert!(learner.embedding.take_gradients(&mut grads).unwrap() > 0.0);
}

#[test]
fn gradients_of_the_whole_model_are_finite_differences() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let mut learner = learner(&fixture);
    let (_, _, grads) = first_step(&mut learner, &batch);
    let start = learner.model.params().export().unwrap();
    for (i, tensor) in start.iter().enumerate() {
        let (_, var) = learner.model.params().iter().nth(i).unwrap();
        let gradient = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap();
        let gradient: Vec<f32> = gradient.to_vec1().unwrap();
        for j in [0, tensor.values.len() / 2, tensor.values.len() - 1] {
            let mut loss_at = |shift: f32| {
                let mut moved = start.clone();
                moved[i].values[j] += shift;
                learner.model.params().import(&moved).unwrap();
                let (_, loss, _) = first_step(&mut learner, &batch);
                f64::from(loss.to_scalar::<f32>().unwrap())
            };
            let numeric = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
            let difference = (numeric - f64::from(gradient[j])).abs();
            assert!(
                difference < 2e-3,
                "{}[{j}]: {numeric} != {}",
                tensor.name,
                gradient[j]
            );
        }
    }
}
