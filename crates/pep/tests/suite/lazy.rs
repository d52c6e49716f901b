//! Where the lazy mode and the faithful one agree, and where they differ.

use slimbed_embedding::{EmbeddingLayer, SparseRule, StepSize};
use slimbed_pep::{Mode, PepEmbedding, PepSettings};
use slimbed_rng::Seed;

use super::cases::{forward, rows_of};

const N_ROWS: usize = 40;
const DIM: usize = 4;
/// Rows from here on are never looked up.
const UNSEEN: usize = 32;
const N_STEPS: u64 = 2000;

/// The authors' settings; rows small enough for thresholds to reach them.
fn layer(mode: Mode, start: f32) -> PepEmbedding {
    let settings = PepSettings {
        mode,
        start,
        threshold_lr: 1e-3,
        ..PepSettings::default()
    };
    let rows = rows_of(&[N_ROWS], DIM, SparseRule::LAZY_ADAM, 0.0);
    PepEmbedding::new(rows, &settings).unwrap()
}

/// Pulls all looked-up values towards fixed ones; row 0 on every step, rows up to 8 often, the
/// others seldom.
fn train(layer: &mut PepEmbedding) {
    let mut stream = Seed::new(3).stream("test/lazy", 0);
    for step in 0..N_STEPS {
        let mut ids = vec![0];
        ids.extend((0..6).map(|_| 1 + stream.below(7) as u32));
        ids.push(8 + stream.below(UNSEEN as u64 - 8) as u32);
        let out = forward(layer, &[(ids.clone(), None)]);
        let target = |i: usize| ((ids[i / DIM] as f32 + i as f32) * 1.3).sin();
        let noise = |i: usize| ((step as f32 + i as f32) * 7.7).sin();
        let gradient = out.iter().enumerate();
        let gradient = gradient.map(|(i, e)| (e - target(i) + noise(i)) * 1e-2);
        layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
        layer.step(StepSize::of(1e-3)).unwrap();
    }
}

fn logit(layer: &PepEmbedding, row: usize, column: usize) -> f64 {
    let mut tau = [0.0; DIM];
    layer.write_thresholds(0, row, &mut tau);
    let tau = f64::from(tau[column]);
    (tau / (1.0 - tau)).ln()
}

/// The largest difference of the logits of some rows.
fn apart(a: &PepEmbedding, b: &PepEmbedding, rows: std::ops::Range<usize>) -> f64 {
    let places = rows.flat_map(|row| (0..DIM).map(move |j| (row, j)));
    let apart = places.map(|(row, j)| (logit(a, row, j) - logit(b, row, j)).abs());
    apart.fold(0.0, f64::max)
}

fn largest(layer: &PepEmbedding, rows: std::ops::Range<usize>) -> f32 {
    let values = layer.rows().tables()[0].values();
    let values = &values[rows.start * DIM..rows.end * DIM];
    values.iter().fold(0.0, |a, v| a.max(v.abs()))
}

#[test]
fn thresholds_agree_and_unseen_rows_do_not() {
    // From −15 the data hardly pulls at the logits. From −6 it pulls as much as weight decay does, and the
    // path goes up by 2: idle rows then keep their distance from it, where dense Adam would hold them back.
    for (start, always, looked_up) in [(-15.0, 1e-5, 3e-5), (-6.0, 2e-3, 0.3)] {
        let (mut lazy, mut faithful) = (layer(Mode::Lazy, start), layer(Mode::Faithful, start));
        train(&mut lazy);
        train(&mut faithful);
        assert!(apart(&lazy, &faithful, 0..1) < always);
        assert!(apart(&lazy, &faithful, 1..UNSEEN) < looked_up);
        assert_eq!(apart(&lazy, &faithful, UNSEEN..N_ROWS), 0.0);
        // Coupled decay inside Adam has taken the rows without a gradient to nothing.
        assert!(largest(&faithful, UNSEEN..N_ROWS) < 1e-3);
        assert!(largest(&lazy, UNSEEN..N_ROWS) > 0.3);
    }
}
