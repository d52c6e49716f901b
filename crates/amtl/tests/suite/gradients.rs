//! The gradient of the rows, through soft and hard masks.

use slimbed_amtl::{AmtlEmbedding, AmtlSettings, Estimator};
use slimbed_embedding::{EmbeddingLayer, SparseRule, StateValues, StepSize};

use crate::common::{DIM, N_ROWS, batch, copy, ids, layer, scatter};

const N: usize = 30;

/// `Σ c·E` with fixed `c`.
fn weights() -> Vec<f32> {
    let n = N * N_ROWS.len() * DIM;
    (0..n).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn loss(layer: &mut AmtlEmbedding) -> f64 {
    let ids = ids(0, N);
    let mut out = vec![0.0; N * N_ROWS.len() * DIM];
    layer.forward(&batch(&ids, N), &mut out).unwrap();
    let terms = out.iter().zip(weights());
    terms.map(|(&x, c)| f64::from(x) * f64::from(c)).sum()
}

fn check(settings: &AmtlSettings) {
    let mut layer = layer(settings, SparseRule::Sgd);
    scatter(&mut layer);
    let before = copy(&layer);
    loss(&mut layer);
    layer.backward(&weights()).unwrap();
    layer.step(StepSize::of(1.0)).unwrap();
    let after = layer.rows().tables()[0].values().to_vec();
    before.restore(&mut layer);
    let rows = layer.rows().tables()[0].values().to_vec();
    let mut n_moved = 0;
    for i in 0..rows.len() {
        let mut at = |x: f32| {
            let mut changed = rows.clone();
            changed[i] = x;
            let mut tensors = before.tensors();
            let table = tensors.iter_mut().find(|t| t.name == "C0/rows").unwrap();
            table.values = StateValues::F32(&changed);
            layer.restore(&tensors).unwrap();
            loss(&mut layer)
        };
        let slope = (at(rows[i] + 0.01) - at(rows[i] - 0.01)) / 0.02;
        let found = f64::from(rows[i] - after[i]);
        assert!((found - slope).abs() < 1e-3, "{i}: {found} != {slope}");
        n_moved += usize::from(slope != 0.0);
    }
    assert!(n_moved > 20, "{n_moved} of {}", rows.len());
}

#[test]
fn rows_get_the_gradient_of_finite_differences() {
    check(&AmtlSettings::default());
    check(&AmtlSettings {
        estimator: Estimator::Soft,
        ..AmtlSettings::default()
    });
}

#[test]
fn a_second_way_back_from_a_batch_gives_the_same() {
    let norm = |n_times: usize| {
        let mut layer = layer(&AmtlSettings::default(), SparseRule::Sgd);
        loss(&mut layer);
        (0..n_times).for_each(|_| layer.backward(&weights()).unwrap());
        let norm = layer.gradient_norm_squared().unwrap();
        layer.step(StepSize::of(0.1)).unwrap();
        (norm, copy(&layer))
    };
    let ((once, state), (twice, again)) = (norm(1), norm(2));
    assert_eq!(once, twice);
    assert_eq!(state.tensors(), again.tensors());
}
