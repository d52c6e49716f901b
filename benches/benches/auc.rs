//! Exact AUC: the radix sort against a comparison sort, and against all pairs on a small sample.
//!
//! Shape: logits `N(-1.5, 1)` in f32 with labels drawn from them (about 22 % positive), as in
//! `compare/auc.py`, which times scikit-learn. All threads of rayon's pool; the comparison sort runs
//! on one and on all.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;
use slimbed_eval::{BinnedAuc, auc, sigmoid};
use slimbed_rng::Seed;

const SIZES: [usize; 2] = [1_000_000, 10_000_000];

/// Pairs grow with the square: one million samples would take minutes.
const SIZE_FOR_PAIRS: usize = 10_000;

criterion_group!(benches, bench_sorts, bench_pairs);
criterion_main!(benches);

fn bench_sorts(c: &mut Criterion) {
    let mut group = c.benchmark_group("auc");
    group.sample_size(10);
    for n in SIZES {
        let (scores, labels) = samples(n);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("radix", n), |b| {
            b.iter(|| auc(black_box(&scores), &labels));
        });
        group.bench_function(BenchmarkId::new("binned", n), |b| {
            b.iter(|| {
                let mut binned = BinnedAuc::default();
                binned.update(black_box(&scores), &labels)?;
                binned.estimate()
            });
        });
        group.bench_function(BenchmarkId::new("sort_unstable", n), |b| {
            let sort = |samples: &mut Vec<Sample>| samples.sort_unstable_by(by_score);
            b.iter(|| auc_by_sorting(black_box(&scores), &labels, sort));
        });
        group.bench_function(BenchmarkId::new("par_sort_unstable", n), |b| {
            let sort = |samples: &mut Vec<Sample>| samples.par_sort_unstable_by(by_score);
            b.iter(|| auc_by_sorting(black_box(&scores), &labels, sort));
        });
    }
    group.finish();
}

fn bench_pairs(c: &mut Criterion) {
    let mut group = c.benchmark_group("auc");
    group.sample_size(10);
    group.throughput(Throughput::Elements(SIZE_FOR_PAIRS as u64));
    let (scores, labels) = samples(SIZE_FOR_PAIRS);
    group.bench_function(BenchmarkId::new("radix", SIZE_FOR_PAIRS), |b| {
        b.iter(|| auc(black_box(&scores), &labels));
    });
    group.bench_function(BenchmarkId::new("pairs", SIZE_FOR_PAIRS), |b| {
        b.iter(|| auc_by_pairs(black_box(&scores), &labels));
    });
    group.finish();
}

fn samples(n: usize) -> (Vec<f32>, Vec<u8>) {
    let mut stream = Seed::new(20_261_121).stream("bench/auc", 0);
    let mut scores = vec![0.0; n];
    stream.fill_normal(&mut scores, 1.0);
    scores.iter_mut().for_each(|z| *z -= 1.5);
    let draw = |&z: &f32| u8::from(stream.uniform_f64() < sigmoid(z));
    let labels = scores.iter().map(draw).collect();
    (scores, labels)
}

type Sample = (f32, u8);

fn by_score(a: &Sample, b: &Sample) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0)
}

/// The usual way: samples sorted by score, then the doubled wins counted tie by tie.
fn auc_by_sorting(scores: &[f32], labels: &[u8], sort: impl Fn(&mut Vec<Sample>)) -> f64 {
    let mut samples: Vec<Sample> = scores.iter().copied().zip(labels.iter().copied()).collect();
    sort(&mut samples);
    let (mut n_below, mut n_positives, mut doubled) = (0u64, 0u64, 0u128);
    for tie in samples.chunk_by(|a, b| a.0 == b.0) {
        let positives = tie.iter().map(|s| u64::from(s.1)).sum::<u64>();
        let negatives = tie.len() as u64 - positives;
        doubled += u128::from(positives) * u128::from(2 * n_below + negatives);
        n_positives += positives;
        n_below += negatives;
    }
    doubled as f64 / (2 * u128::from(n_positives) * u128::from(n_below)) as f64
}

/// The definition: every pair compared.
fn auc_by_pairs(scores: &[f32], labels: &[u8]) -> f64 {
    let of = |class: u8| {
        let samples = scores.iter().zip(labels).filter(move |s| *s.1 == class);
        samples.map(|s| *s.0).collect::<Vec<f32>>()
    };
    let (positives, negatives) = (of(1), of(0));
    let wins = |p: f32| {
        let doubled = |&q: &f32| 2 * u64::from(q < p) + u64::from(q == p);
        negatives.iter().map(doubled).sum::<u64>()
    };
    let doubled: u64 = positives.iter().map(|&p| wins(p)).sum();
    doubled as f64 / (2 * positives.len() * negatives.len()) as f64
}
