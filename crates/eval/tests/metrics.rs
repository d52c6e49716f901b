//! The metrics against scikit-learn, against their definitions, and against themselves on other
//! numbers of threads.

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use slimbed_eval::{BinnedAuc, Metrics, Ranking, auc, expected_calibration_error, gauc, sigmoid};
use slimbed_rng::Seed;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    logits: Vec<f32>,
    labels: Vec<u8>,
    auc: f64,
    pr_auc: f64,
    logloss: f64,
    calibration: f64,
}

/// Both sides sum a few hundred f64 terms, in different orders.
const TOLERANCE: f64 = 1e-13;

#[test]
fn equals_scikit_learn() {
    let golden: Golden = serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap();
    assert_eq!(golden.cases.len(), 8);
    for case in golden.cases {
        let found = Metrics::from_logits(&case.logits, &case.labels).unwrap();
        for (name, found, expected) in [
            ("auc", found.auc, case.auc),
            ("pr_auc", found.pr_auc, case.pr_auc),
            ("logloss", found.logloss, case.logloss),
            ("calibration", found.calibration, case.calibration),
        ] {
            let gap = (found - expected).abs();
            assert!(
                gap <= TOLERANCE * expected.max(1.0),
                "{}: {name} {found} {expected}",
                case.name
            );
        }
    }
}

/// Twice the wins plus the ties, by comparing every pair.
fn naive_auc(scores: &[f32], labels: &[u8]) -> f64 {
    let of = |class: u8| {
        let pairs = scores.iter().zip(labels);
        pairs.filter(move |p| *p.1 == class).map(|p| *p.0)
    };
    let mut doubled = 0u64;
    for positive in of(1) {
        for negative in of(0) {
            doubled += 2 * u64::from(negative < positive) + u64::from(negative == positive);
        }
    }
    doubled as f64 / (2 * of(1).count() * of(0).count()) as f64
}

/// The rank-sum form on samples sorted by comparison; ranks of ties are averaged (kept doubled).
fn sorting_auc(scores: &[f32], labels: &[u8]) -> f64 {
    let mut samples: Vec<(f32, u8)> = scores
        .iter()
        .map(|z| z + 0.0)
        .zip(labels.to_vec())
        .collect();
    samples.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n_positives = labels.iter().filter(|&&label| label == 1).count() as u128;
    let n_negatives = labels.len() as u128 - n_positives;
    let (mut rank, mut doubled_ranks) = (0, 0);
    for tie in samples.chunk_by(|a, b| a.0 == b.0) {
        let n = tie.len() as u128;
        let n_positives = tie.iter().filter(|s| s.1 == 1).count() as u128;
        doubled_ranks += n_positives * (2 * rank + n + 1);
        rank += n;
    }
    let doubled_wins = doubled_ranks - n_positives * (n_positives + 1);
    doubled_wins as f64 / (2 * n_positives * n_negatives) as f64
}

/// Precision at each positive's score, averaged, by counting.
fn naive_pr_auc(scores: &[f32], labels: &[u8]) -> f64 {
    let samples = || scores.iter().zip(labels);
    let precision = |threshold: f32| {
        let called = samples().filter(|s| *s.0 >= threshold);
        let n_true = called.clone().filter(|s| *s.1 == 1).count();
        n_true as f64 / called.count() as f64
    };
    let at_positives: Vec<f64> = samples()
        .filter(|s| *s.1 == 1)
        .map(|s| precision(*s.0))
        .collect();
    at_positives.iter().sum::<f64>() / at_positives.len() as f64
}

/// Scores with many ties, both zeros, both infinities, subnormals and far values.
fn any_score() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => (-4i8..=4).prop_map(|i| f32::from(i) * 0.5),
        2 => -20f32..20.0,
        1 => prop::sample::select(vec![
            0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, -1e-45, 1e-45, f32::MAX, f32::MIN,
        ]),
    ]
}

fn any_samples(n: usize) -> impl Strategy<Value = (Vec<f32>, Vec<u8>)> {
    let samples = vec((any_score(), 0u8..=1), 0..n);
    // One sample of each class always; the rest may be as skewed as it likes.
    let classes = (any_score(), any_score());
    (samples, classes).prop_map(|(mut samples, (a, b))| {
        samples.extend([(a, 0), (b, 1)]);
        samples.into_iter().unzip()
    })
}

proptest! {
    #[test]
    fn auc_equals_the_definition((scores, labels) in any_samples(120)) {
        let expected = naive_auc(&scores, &labels);
        prop_assert_eq!(auc(&scores, &labels).unwrap(), expected);
        prop_assert_eq!(sorting_auc(&scores, &labels), expected);
        let as_floats: Vec<f32> = labels.iter().map(|&y| f32::from(y)).collect();
        prop_assert_eq!(auc(&scores, &as_floats).unwrap(), expected);
    }

    #[test]
    fn swapping_the_classes_gives_the_complement((scores, labels) in any_samples(120)) {
        let swapped: Vec<u8> = labels.iter().map(|y| 1 - y).collect();
        let sum = auc(&scores, &labels).unwrap() + auc(&scores, &swapped).unwrap();
        prop_assert!((sum - 1.0).abs() < 1e-15);
    }

    #[test]
    fn pr_auc_equals_the_definition((scores, labels) in any_samples(80)) {
        let found = Ranking::new(&scores, &labels).unwrap().pr_auc();
        prop_assert!((found - naive_pr_auc(&scores, &labels)).abs() < 1e-13);
    }

    #[test]
    fn the_binned_auc_keeps_its_bound(
        (scores, labels) in any_samples(200),
        n_bins in prop_oneof![1usize..50, Just(1 << 16)],
    ) {
        let mut binned = BinnedAuc::new(n_bins).unwrap();
        binned.update(&scores, &labels).unwrap();
        let found = binned.estimate().unwrap();
        let error = (found.auc - auc(&scores, &labels).unwrap()).abs();
        prop_assert!(error <= found.bound, "{} {}", error, found.bound);
    }

    #[test]
    fn merging_equals_one_stream((scores, labels) in any_samples(200), cut in 0.0..1.0f64) {
        let middle = (scores.len() as f64 * cut) as usize;
        let count = |from: usize, to: usize| {
            let mut binned = BinnedAuc::new(64).unwrap();
            binned.update(&scores[from..to], &labels[from..to]).unwrap();
            binned
        };
        let mut merged = count(0, middle);
        merged.merge(&count(middle, scores.len())).unwrap();
        let whole = count(0, scores.len());
        prop_assert_eq!(merged.estimate().unwrap(), whole.estimate().unwrap());
    }

    #[test]
    fn one_bin_of_calibration_is_the_mean_gap((scores, labels) in any_samples(80)) {
        let found = expected_calibration_error(&scores, &labels, 1).unwrap();
        let pairs = scores.iter().zip(&labels);
        let gap: f64 = pairs.map(|(&z, &y)| sigmoid(z) - f64::from(y)).sum();
        prop_assert!((found - gap.abs() / scores.len() as f64).abs() < 1e-12);
    }
}

#[test]
fn calibration_bins_hold_equal_counts() {
    // Probabilities 1/4, 1/2, 1/2, 3/4. The tie begins at rank 1 of 4, so all of it is in the first of
    // two bins.
    let logits = [-(3f32.ln()), 0.0, 0.0, 3f32.ln()];
    let labels = [0u8, 1, 0, 1];
    let found = expected_calibration_error(&logits, &labels, 2).unwrap();
    let expected = ((0.25f64 + 0.5 + 0.5 - 1.0).abs() + (0.75f64 - 1.0).abs()) / 4.0;
    assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    assert!(expected_calibration_error(&logits, &labels, 0).is_err());
}

/// Click-like samples, enough for several pieces of every parallel step.
fn many_samples() -> (Vec<f32>, Vec<u8>) {
    let mut stream = Seed::new(11).stream("samples", 0);
    let logits: Vec<f32> = (0..300_000)
        .map(|i| {
            let z = stream.normal() as f32 - 1.0;
            if i % 3 == 0 {
                (z * 8.0).round() / 8.0
            } else {
                z
            }
        })
        .collect();
    let draw = |&z: &f32| u8::from(stream.uniform_f64() < sigmoid(z));
    let labels = logits.iter().map(draw).collect();
    (logits, labels)
}

#[test]
fn radix_equals_comparison_on_many_samples() {
    let (logits, labels) = many_samples();
    assert_eq!(
        auc(&logits, &labels).unwrap(),
        sorting_auc(&logits, &labels)
    );
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let (logits, labels) = many_samples();
    let groups: Vec<u32> = (0..logits.len() as u32).map(|i| i % 1013).collect();
    let on = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        pool.build().unwrap().install(|| {
            let metrics = Metrics::from_logits(&logits, &labels).unwrap();
            (metrics, gauc(&logits, &labels, &groups).unwrap())
        })
    };
    let one = on(1);
    assert_eq!(on(2), one);
    assert_eq!(on(7), one);
}
