//! How sizes move: growth, the penalty, the target, and fitting to a budget.

use slimbed_amtl::{AmtlEmbedding, AmtlSettings, Sizes, ZeroSize};
use slimbed_embedding::{EmbeddingLayer, SparseRule, StepSize};

use crate::common::{DIM, N_ROWS, batch, change, ids, layer};

const N: usize = 200;
const N_VALUES: u64 = ((N_ROWS[0] + N_ROWS[1] + N_ROWS[2]) * DIM) as u64;

/// Steps of the branches alone, under a gradient of `−pull` times each unmasked value.
fn pull(layer: &mut AmtlEmbedding, n_steps: u64, pull: f32) {
    for number in 0..n_steps {
        let ids = ids(number, N);
        let mut embeddings = vec![0.0; N * N_ROWS.len() * DIM];
        layer.forward(&batch(&ids, N), &mut embeddings).unwrap();
        embeddings.fill(-pull);
        layer.backward(&embeddings).unwrap();
        layer.step(StepSize::of(0.0)).unwrap();
    }
}

/// A layer whose rows are all ones, so that a gradient of −1 asks for every value.
fn of_ones(settings: &AmtlSettings) -> AmtlEmbedding {
    let mut layer = layer(settings, SparseRule::Sgd);
    change(&mut layer, |name, values| {
        if name.ends_with("/rows") {
            values.fill(1.0);
        }
    });
    layer
}

fn quick() -> AmtlSettings {
    AmtlSettings {
        hidden: vec![8],
        lr: 0.02,
        ..AmtlSettings::default()
    }
}

#[test]
fn masked_values_can_make_a_row_grow_again() {
    let mut layer = of_ones(&quick());
    change(&mut layer, |name, weights| {
        // The biases of the last layer end each branch: the smallest size is ahead.
        let is_own = name == "amtl-weights";
        let half = weights.len() / 2;
        for branch in weights.chunks_exact_mut(half).filter(|_| is_own) {
            let biases = branch.len() - DIM;
            branch[biases..].fill(0.0);
            branch[biases] = 0.5;
        }
    });
    assert_eq!(layer.kept_values(), N_VALUES / DIM as u64);
    pull(&mut layer, 60, 0.01);
    assert_eq!(layer.kept_values(), N_VALUES);
}

#[test]
fn sizes_fall_with_the_penalty() {
    let kept = [0.0, 0.3, 3.0, 30.0].map(|penalty| {
        let settings = AmtlSettings { penalty, ..quick() };
        let mut layer = of_ones(&settings);
        pull(&mut layer, 100, 0.01);
        layer.kept_values()
    });
    assert_eq!(kept[0], N_VALUES);
    assert!(kept.is_sorted_by(|a, b| a >= b), "{kept:?}");
    assert!(kept[3] < N_VALUES / 2, "{kept:?}");
}

#[test]
fn the_controller_reaches_the_target() {
    for target in [0.3, 0.6] {
        let settings = AmtlSettings {
            target_ratio: target,
            control_rate: 0.01,
            ..quick()
        };
        let mut layer = of_ones(&settings);
        let mut path = Vec::new();
        for _ in 0..40 {
            pull(&mut layer, 50, 0.001);
            path.push((
                layer.kept_values() as f64 / N_VALUES as f64,
                layer.figures()[3].1,
            ));
        }
        for (kept, _) in &path[35..] {
            assert!((kept / target - 1.0).abs() < 0.05, "{target}: {path:?}");
        }
    }
}

#[test]
fn sizes_are_fitted_to_any_budget_they_can_meet() {
    let settings = AmtlSettings {
        zero_size: ZeroSize::Allowed,
        penalty: 0.5,
        ..quick()
    };
    let mut layer = of_ones(&settings);
    pull(&mut layer, 30, 0.01);
    for budget in [N_VALUES / 2, N_VALUES / 7, N_VALUES - 30] {
        let found = layer.fit(budget).unwrap();
        assert_eq!(found, layer.kept_values());
        assert!(
            found <= budget && found + 10 > budget,
            "{found} of {budget}"
        );
    }
    assert_eq!(layer.fit(N_VALUES).unwrap(), N_VALUES);
    assert_eq!(layer.fit(0).unwrap(), 0);
    let held = layer.sizes(1);
    layer.hold_sizes();
    pull(&mut layer, 5, 1.0);
    assert_eq!(layer.sizes(1), held, "held sizes do not move");
}

#[test]
fn budgets_that_cannot_be_met_are_refused() {
    let mut learned = layer(&quick(), SparseRule::Sgd);
    let before = learned.sizes(1);
    let error = learned.fit(10).unwrap_err().to_string();
    assert!(
        error.contains("smallest size of every row, found 10"),
        "{error}"
    );
    assert_eq!(learned.sizes(1), before);
    assert!(learned.set_target(N_VALUES + 1).is_err());
    learned.set_target(N_VALUES / 2).unwrap();
    let settings = AmtlSettings {
        sizes: Sizes::Full,
        ..quick()
    };
    let mut full = layer(&settings, SparseRule::Sgd);
    assert_eq!(full.fit(N_VALUES).unwrap(), N_VALUES);
    assert!(full.fit(N_VALUES - 1).is_err());
}
