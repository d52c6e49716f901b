//! DeepLight's schedule on a layer.

use slimbed_baselines::{DeepLightEmbedding, DeepLightSettings};
use slimbed_embedding::{EmbeddingLayer, PlainEmbedding, SparseRule, TrainedRows};

use crate::cases::{all_rows, fields, rows, train_step};

const STEPS: u64 = 40;

fn layer(n_kept: u64) -> DeepLightEmbedding {
    let settings = DeepLightSettings {
        every: 5,
        ..DeepLightSettings::default()
    };
    let rows = TrainedRows::new(&fields(), &rows(SparseRule::ADAGRAD)).unwrap();
    DeepLightEmbedding::new(rows, settings.schedule(n_kept, STEPS).unwrap())
}

fn n_kept(layer: &dyn EmbeddingLayer) -> usize {
    let rows = all_rows(layer).concat();
    rows.iter().filter(|x| **x != 0.0).count()
}

#[test]
fn values_are_pruned_more_and_more_and_may_grow_back() {
    let mut layer = layer(300);
    let (mut before, mut has_grown) = (usize::MAX, false);
    for step in 0..STEPS {
        train_step(&mut layer, step);
        let n = n_kept(&layer);
        if (step + 1) % 5 == 0 {
            assert!(n <= before, "{n} after {before}");
            before = n;
        } else {
            has_grown |= n > before;
        }
    }
    assert!(has_grown);
    assert!(layer.is_ready());
    layer.settle();
    assert_eq!(n_kept(&layer), 300);
    layer.settle();
    assert_eq!(n_kept(&layer), 300);
    layer.prune(120);
    assert_eq!(n_kept(&layer), 120);
}

#[test]
fn it_is_ready_when_the_sparsity_is_reached() {
    let mut layer = layer(300);
    let ready: Vec<bool> = (0..STEPS)
        .map(|step| {
            train_step(&mut layer, step);
            layer.is_ready()
        })
        .collect();
    let first = ready.iter().position(|ready| *ready).unwrap();
    assert!((15..25).contains(&first), "{first}");
    assert!(ready[first..].iter().all(|ready| *ready));
}

#[test]
fn keeping_all_values_is_the_plain_layer() {
    let mut plain = PlainEmbedding::new(&fields(), &rows(SparseRule::ADAGRAD)).unwrap();
    let mut layer = layer(u64::MAX);
    for step in 0..STEPS {
        assert_eq!(train_step(&mut layer, step), train_step(&mut plain, step));
    }
    assert_eq!(all_rows(&layer), all_rows(&plain));
}

#[test]
fn a_restored_layer_goes_on_with_the_same_bits() {
    let (mut whole, mut resumed) = (layer(200), layer(200));
    (0..13).for_each(|step| drop(train_step(&mut whole, step)));
    resumed.restore(&whole.state()).unwrap();
    for step in 13..STEPS {
        assert_eq!(train_step(&mut whole, step), train_step(&mut resumed, step));
    }
    assert_eq!(all_rows(&whole), all_rows(&resumed));
}
