//! Gradients against differences, and a case by hand.

use slimbed_embedding::{EmbeddingLayer, SparseRule, StepSize};
use slimbed_pep::{Granularity, Mode, PepEmbedding, PepSettings};

use super::cases::{ALL, Ids, Saved, busy, forward, ids, noise, rows, rows_of};

/// So large that Adam's first step of a logit is its gradient, to 1e-4.
const PLAIN: f64 = 1e4;

fn settings(granularity: Granularity) -> PepSettings {
    PepSettings {
        threshold_lr: PLAIN,
        eps: PLAIN,
        threshold_weight_decay: 0.0,
        ..busy(granularity, Mode::Lazy)
    }
}

fn layer(granularity: Granularity) -> PepEmbedding {
    PepEmbedding::new(rows(SparseRule::Sgd, 0.0), &settings(granularity)).unwrap()
}

/// `Σ c · E` of a layer of this state.
fn loss(granularity: Granularity, state: &Saved, ids: &[Ids]) -> f64 {
    let mut layer = layer(granularity);
    state.restore(&mut layer).unwrap();
    let out = forward(&mut layer, ids);
    let c = noise(9, out.len(), 1.0);
    let terms = out.iter().zip(c);
    terms.map(|(&e, c)| f64::from(e) * f64::from(c)).sum()
}

/// Every `stride`-th value of a tensor: what one step took off against the slope of the loss.
fn check(granularity: Granularity, name: &str, stride: usize, size: f32) {
    let ids = ids(3, 40);
    let mut layer = layer(granularity);
    let mut before = Saved::of(&layer);
    let out = forward(&mut layer, &ids);
    layer.backward(&noise(9, out.len(), 1.0)).unwrap();
    layer.step(StepSize::of(1.0)).unwrap();
    let after = Saved::of(&layer).floats(name).clone();
    let start = before.floats(name).clone();
    let mut n_moved = 0;
    for i in (0..start.len()).step_by(stride) {
        let mut slope = 0.0;
        for sign in [-1.0, 1.0] {
            before.floats(name)[i] = start[i] + sign * size;
            slope += f64::from(sign) * loss(granularity, &before, &ids);
        }
        before.floats(name)[i] = start[i];
        slope /= 2.0 * f64::from(size);
        let gradient = f64::from(start[i] - after[i]);
        n_moved += usize::from(gradient != 0.0);
        let error = (gradient - slope).abs();
        assert!(
            error < 2e-3 * slope.abs().max(0.5),
            "{granularity:?} {name} {i}: {gradient} {slope}"
        );
    }
    assert!(n_moved > 0, "{granularity:?} {name}: no gradient at all");
}

#[test]
fn gradients_of_rows_are_the_slopes_of_the_loss() {
    for granularity in ALL {
        for (name, stride) in [("C0/rows", 17), ("C1/rows", 1), ("C2/rows", 61)] {
            check(granularity, name, stride, 1e-3);
        }
    }
}

#[test]
fn gradients_of_logits_are_the_slopes_of_the_loss() {
    use Granularity::{Dimension, Field, FieldDimension, Global, Id, IdDimension};
    for granularity in [Global, Dimension, Field, FieldDimension] {
        check(granularity, "thresholds", 1, 1e-3);
    }
    for granularity in [Id, IdDimension] {
        for (name, stride) in [
            ("C0/thresholds", 7),
            ("C1/thresholds", 1),
            ("C2/thresholds", 29),
        ] {
            check(granularity, name, stride, 2e-3);
        }
    }
}

/// Three rows of 2 with threshold 1/2; row 0 twice in the batch, row 2 never.
#[test]
fn a_hand_worked_step() {
    let start = 0.0;
    let settings = PepSettings {
        start,
        ..settings(Granularity::IdDimension)
    };
    let mut rows = rows_of(&[3], 2, SparseRule::Sgd, 0.0);
    let values = [0.75, -1.0, 0.5, -2.5, 0.625, 0.0];
    rows.tables_mut()[0].values_mut().copy_from_slice(&values);
    let mut layer = PepEmbedding::new(rows, &settings).unwrap();
    let out = forward(&mut layer, &[(vec![1, 0, 0], None)]);
    assert_eq!(out, [0.0, -2.0, 0.25, -0.5, 0.25, -0.5]);
    layer.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, -1.0]).unwrap();
    // Of v: row 0 (8, 3), row 1 (0, 2). Of s, −1/4 · sign: row 0 (−2, 3/4), row 1 (0, 1/2).
    let squares = 64.0 + 9.0 + 4.0 + 4.0 + 0.5625 + 0.25;
    assert_eq!(layer.gradient_norm_squared().unwrap(), squares);
    layer.step(StepSize::of(0.125)).unwrap();
    let expected = [-0.25, -1.375, 0.5, -2.75, 0.625, 0.0];
    assert_eq!(layer.rows().tables()[0].values(), expected);
    let logits = Saved::of(&layer).floats("C0/thresholds").clone();
    for (found, expected) in logits.iter().zip([2.0, -0.75, 0.0, -0.5, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-3, "{found} != {expected}");
    }
    let mut tau = [0.0; 2];
    layer.write_thresholds(0, 2, &mut tau);
    assert_eq!(tau, [0.5; 2], "a row that was never looked up");
}
