//! Facts of the method that are known without a run.

use slimbed_embedding::{EmbeddingLayer, SparseRule, StepSize};
use slimbed_pep::{Granularity, Mode, PepEmbedding, PepSettings};

use super::cases::{ALL, busy, forward, layer, noise, rows_of, train};

fn threshold(layer: &PepEmbedding, row: usize) -> f32 {
    let mut tau = [0.0];
    layer.write_thresholds(0, row, &mut tau);
    tau[0]
}

/// Steps without a data gradient; row 0 is touched on every step, row 1 on some.
fn decay_only(layer: &mut PepEmbedding, n_steps: usize) {
    for step in 0..n_steps {
        forward(layer, &[(vec![0, u32::from(step % 7 == 3)], None)]);
        layer.backward(&[0.0; 2]).unwrap();
        layer.step(StepSize::of(0.1)).unwrap();
    }
}

#[test]
fn weight_decay_alone_raises_thresholds_as_known() {
    for granularity in ALL {
        for mode in [Mode::Lazy, Mode::Faithful] {
            let settings = PepSettings {
                granularity,
                mode,
                threshold_lr: 1e-3,
                ..PepSettings::default()
            };
            let rows = rows_of(&[3], 1, SparseRule::Sgd, 0.0);
            let mut layer = PepEmbedding::new(rows, &settings).unwrap();
            for (n_steps, expected) in [(1000, -14.01), (9000, -5.79)] {
                decay_only(&mut layer, n_steps);
                let tau = f64::from(threshold(&layer, 0));
                let logit = (tau / (1.0 - tau)).ln();
                assert!((logit - expected).abs() < 0.006, "{granularity:?} {logit}");
                // Without a data gradient touched rows are those of the path, to the last bit.
                assert_eq!(threshold(&layer, 0), threshold(&layer, 1), "{mode:?}");
                assert_eq!(threshold(&layer, 0), threshold(&layer, 2), "{mode:?}");
            }
        }
    }
}

#[test]
fn the_lazy_path_is_the_faithful_one_to_the_last_bit() {
    let layer = |mode| {
        let settings = PepSettings {
            mode,
            ..PepSettings::default()
        };
        PepEmbedding::new(rows_of(&[3], 1, SparseRule::Sgd, 0.0), &settings).unwrap()
    };
    let (mut lazy, mut faithful) = (layer(Mode::Lazy), layer(Mode::Faithful));
    decay_only(&mut lazy, 3000);
    decay_only(&mut faithful, 3000);
    assert_eq!(threshold(&lazy, 2), threshold(&faithful, 2));
}

#[test]
fn survivors_shrink_by_the_slope_of_the_sigmoid() {
    let length = |start: f32| {
        let settings = PepSettings {
            start,
            ..PepSettings::default()
        };
        let mut rows = rows_of(&[2], 1, SparseRule::Sgd, 0.0);
        rows.tables_mut()[0]
            .values_mut()
            .copy_from_slice(&[-1.0, 2.0]);
        let layer = PepEmbedding::new(rows, &settings).unwrap();
        let mut out = [0.0; 2];
        layer.write_rows(0, 0, &mut out);
        out.map(|v| f64::from(v.abs()))
    };
    for s in [-3.0f32, -1.0, 0.0, 0.5] {
        let sigma = 1.0 / (1.0 + (-f64::from(s)).exp());
        let size = 1.0 / 64.0;
        let (low, high) = (length(s - size), length(s + size));
        for (low, high) in low.into_iter().zip(high) {
            let slope = (high - low) / (2.0 * f64::from(size));
            assert!((slope + sigma * (1.0 - sigma)).abs() < 2e-5, "{s}: {slope}");
        }
    }
}

#[test]
fn shrunk_rows_stay_under_their_mask() {
    for granularity in ALL {
        let mut layer = layer(&busy(granularity, Mode::Lazy));
        train(&mut layer, 0..10);
        let mask = layer.current_mask();
        assert_eq!(mask.n_kept(), layer.n_kept());
        for f in 0..layer.n_fields() {
            let mut hats = vec![0.0; layer.n_rows(f) * layer.dim()];
            layer.write_rows(f, 0, &mut hats);
            let mut masked = hats.clone();
            mask.apply(f, 0, &mut masked);
            assert_eq!(hats, masked);
            let kept = (0..hats.len()).map(|i| mask.is_kept(f, i / 5, i % 5));
            assert!(kept.eq(hats.iter().map(|&v| v != 0.0)));
        }
        let sparsity = layer.figures()[0].1;
        assert!(
            sparsity > 0.1 && sparsity < 0.9,
            "{granularity:?}: {sparsity}"
        );
    }
}

#[test]
fn pruned_values_get_no_gradient() {
    let rows = rows_of(&[4], 1, SparseRule::Sgd, 0.0);
    let before = rows.tables()[0].values().to_vec();
    let settings = PepSettings {
        start: 3.0,
        threshold_weight_decay: 0.0,
        ..busy(Granularity::Global, Mode::Lazy)
    };
    let mut layer = PepEmbedding::new(rows, &settings).unwrap();
    forward(&mut layer, &[(vec![0, 1, 2, 3], None)]);
    layer.backward(&noise(1, 4, 1.0)).unwrap();
    assert_eq!(layer.gradient_norm_squared().unwrap(), 0.0);
    layer.step(StepSize::of(1.0)).unwrap();
    assert_eq!(layer.rows().tables()[0].values(), before);
}
