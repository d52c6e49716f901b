//! Steps and checkpoints of a small learner.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use slimbed_data::{Batch, FieldIds};
use slimbed_embedding::{FieldSpec, PlainEmbedding, Pooling, RowInit, RowSettings, SparseRule};
use slimbed_fused::{DenseRule, WeightDecay};
use slimbed_rng::Seed;
use slimbed_train::{
    Config, EarlyStop, Engine, Header, Learner, ModelConfig, Position, Rates, load_checkpoint,
    save_checkpoint,
};

const N_FIELDS: usize = 3;
const N_ROWS: usize = 20;

fn learner(dense: DenseRule, sparse: SparseRule, clip_norm: f64) -> Learner {
    with_decay(dense, sparse, clip_norm, 0.01)
}

fn with_decay(dense: DenseRule, sparse: SparseRule, clip_norm: f64, decay: f32) -> Learner {
    let config = ModelConfig {
        dim: 4,
        bottom: vec![6],
        top: vec![6],
        dropout: 0.3,
        ..ModelConfig::default()
    };
    let seed = Seed::new(5);
    let spec = config.spec(2, N_FIELDS);
    let dense = Engine::new(&Device::Cpu)
        .build(spec.network().unwrap(), seed, dense, WeightDecay::None)
        .unwrap();
    let fields: Vec<_> = (0..N_FIELDS)
        .map(|f| FieldSpec {
            name: format!("C{f}"),
            n_rows: N_ROWS,
            pooling: Pooling::Sum,
        })
        .collect();
    let init = RowInit::Normal { std: 0.5 };
    let embedding = PlainEmbedding::new(
        &fields,
        &RowSettings {
            dim: 4,
            init,
            seed,
            rule: sparse,
            weight_decay: decay,
        },
    )
    .unwrap();
    Learner::new(dense, Box::new(embedding), seed, clip_norm)
}

fn batch(number: u64) -> Batch {
    let mut stream = Seed::new(9).stream("batch", number);
    let n = 16;
    let mut dense = vec![0.0; n * 2];
    stream.fill_uniform(&mut dense, 2.0);
    let mut draw = |below: u64| stream.below(below) as u32;
    Batch {
        n,
        dense,
        labels: (0..n).map(|_| draw(2) as f32).collect(),
        fields: (0..N_FIELDS)
            .map(|_| FieldIds {
                ids: (0..n).map(|_| draw(N_ROWS as u64)).collect(),
                offsets: None,
            })
            .collect(),
    }
}

const RATES: Rates = Rates {
    dense: 0.1,
    embedding: 0.1,
    factor: 1.0,
};

fn train(learner: &mut Learner, steps: std::ops::Range<u64>) -> Vec<f64> {
    let step = |step| learner.step(&batch(step), step, RATES).unwrap().loss;
    steps.map(step).collect()
}

/// Every parameter and every row.
fn weights(learner: &Learner) -> Vec<f32> {
    let dense = learner.dense.export().unwrap();
    let dense = dense.into_iter().flat_map(|tensor| tensor.values);
    dense.chain(all_rows(learner).concat()).collect()
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
fn clipping_bounds_the_length_of_the_whole_step() {
    let length = |clip_norm| {
        let mut learner = with_decay(DenseRule::Sgd, SparseRule::Sgd, clip_norm, 0.0);
        let before = weights(&learner);
        let rates = Rates {
            dense: 1.0,
            embedding: 1.0,
            factor: 1.0,
        };
        let result = learner.step(&batch(0), 0, rates).unwrap();
        let moved = before
            .iter()
            .zip(weights(&learner))
            .map(|(a, b)| f64::from(a - b).powi(2));
        (moved.sum::<f64>().sqrt(), result.gradient_norm)
    };
    let (free, norm) = length(1e9);
    let norm = norm.unwrap();
    assert!(
        norm > 1e-2 && (free / norm - 1.0).abs() < 1e-4,
        "{free} {norm}"
    );
    let (clipped, _) = length(1e-2);
    assert!((clipped / 1e-2 - 1.0).abs() < 1e-3, "{clipped}");
    assert_eq!(length(0.0), (free, None));
}

#[test]
fn a_checkpoint_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ckpt/last.safetensors");
    for (dense, sparse) in [
        (DenseRule::Sgd, SparseRule::Sgd),
        (DenseRule::ADAGRAD, SparseRule::ROW_WISE_ADAGRAD),
        (DenseRule::ADAM, SparseRule::LAZY_ADAM),
    ] {
        let mut whole = learner(dense, sparse, 1.0);
        train(&mut whole, 0..4);
        let position = Position {
            epoch: 0,
            batch: 4,
            step: 4,
        };
        let header = Header::new(&whole, position, &EarlyStop::new(2), &Config::default());
        save_checkpoint(&path, &whole, header.clone()).unwrap();
        let mut resumed = learner(dense, sparse, 1.0);
        train(&mut resumed, 7..9);
        let loaded = load_checkpoint(&path, &mut resumed).unwrap();
        assert_eq!(
            (loaded.position, &loaded.early_stop),
            (position, &header.early_stop)
        );
        assert_eq!(train(&mut whole, 4..8), train(&mut resumed, 4..8));
        assert_eq!(weights(&whole), weights(&resumed));
    }
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_shape_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("last.safetensors");
    let saved = learner(DenseRule::ADAM, SparseRule::LAZY_ADAM, 0.0);
    let header = Header::new(
        &saved,
        Position::default(),
        &EarlyStop::new(0),
        &Config::default(),
    );
    save_checkpoint(&path, &saved, header).unwrap();
    let mut other = learner(DenseRule::ADAM, SparseRule::ADAGRAD, 0.0);
    let error = load_checkpoint(&path, &mut other).unwrap_err();
    assert!(error.to_string().contains("C0/sum"), "{error}");
    let good = std::fs::read(&path).unwrap();
    let mut same = learner(DenseRule::ADAM, SparseRule::LAZY_ADAM, 0.0);
    for end in [0, 7, 100, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..end]).unwrap();
        let error = load_checkpoint(&path, &mut same).unwrap_err();
        assert!(error.to_string().contains("last.safetensors"), "{error}");
    }
}

#[test]
fn a_step_with_a_wild_id_is_an_error_and_changes_nothing() {
    let mut learner = learner(DenseRule::Sgd, SparseRule::Sgd, 0.0);
    let before = weights(&learner);
    let mut bad = batch(0);
    bad.fields[1].ids[3] = N_ROWS as u32;
    let error = learner.step(&bad, 0, RATES).unwrap_err();
    assert!(
        error.to_string().contains("field 1: id 20 at position 3"),
        "{error}"
    );
    assert_eq!(before, weights(&learner));
}
