//! What layers take of memory, from their making to the tables that are left: each measured in a process of
//! its own, on Linux.
//!
//! `cargo test -p slimbed-train --test memory -- --nocapture` prints the figures.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::any::Any;
use std::process::Command;

use slimbed_amtl::{AmtlEmbedding, AmtlSettings};
use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Mask, MaskedEmbedding, PlainEmbedding, Pooling,
    RowInit, RowSettings, SparseRule, StepSize, TrainedRows,
};
use slimbed_mlet::{MletEmbedding, MletSettings};
use slimbed_pep::{Granularity, Mode, PepEmbedding, PepSettings};
use slimbed_rng::Seed;

/// Names the case in the process that measures itself.
const CASE: &str = "SLIMBED_MEMORY_CASE";

const N_ROWS: usize = 300_000;
const DIM: usize = 16;
const N_VALUES: usize = N_ROWS * DIM;
/// Inner dim of MLET.
const INNER_DIM: usize = 64;
const BATCH: usize = 512;

/// What a layer may take besides a twentieth of what it stores: buffers of a batch, code, threads.
const SLACK: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Plain,
    Masked,
    Pep(Mode, Granularity),
    Amtl,
    Mlet,
}

/// All of them with the bytes they have to store: rows, state of the row-wise Adagrad and of weight decay (12
/// bytes a row), and what the method adds.
fn cases() -> Vec<(Case, usize)> {
    use Granularity::*;
    let rows = 4 * N_VALUES + 12 * N_ROWS;
    let bits = N_VALUES / 8;
    let mut cases = vec![
        (Case::Plain, rows),
        (Case::Masked, rows + bits),
        (Case::Amtl, rows + 8 * N_ROWS),
        (Case::Mlet, 4 * N_ROWS * INNER_DIM + 12 * N_ROWS),
    ];
    for granularity in [Global, Dimension, Field, FieldDimension, Id, IdDimension] {
        // Logits, both moments, the last step; in the end the mask.
        let logits = match granularity {
            Id => 16 * N_ROWS,
            IdDimension => 12 * N_VALUES + 4 * N_ROWS,
            _ => 0,
        };
        cases.push((Case::Pep(Mode::Lazy, granularity), rows + logits + bits));
    }
    // Adam's moments in place of the other optimiser's state.
    let faithful = 12 * N_VALUES + bits;
    let of = |granularity| Case::Pep(Mode::Faithful, granularity);
    cases.push((of(Global), faithful));
    cases.push((of(IdDimension), faithful + 12 * N_VALUES));
    cases
}

fn fields() -> [FieldSpec; 1] {
    [FieldSpec {
        name: "C1".into(),
        n_rows: N_ROWS,
        pooling: Pooling::Sum,
    }]
}

fn layer(case: Case, counts: &[u64]) -> Box<dyn EmbeddingLayer> {
    let settings = RowSettings {
        dim: DIM,
        init: RowInit::UniformByRows,
        seed: Seed::new(1),
        rule: SparseRule::ROW_WISE_ADAGRAD,
        weight_decay: 0.01,
    };
    let rows = || TrainedRows::new(&fields(), &settings).unwrap();
    match case {
        Case::Plain => Box::new(PlainEmbedding::of(rows())),
        Case::Masked => {
            let half = |_, row: usize, keep: &mut [bool]| keep[row % DIM..].fill(true);
            let mask = Mask::from_rows(&[N_ROWS], DIM, half);
            Box::new(MaskedEmbedding::new(rows(), mask).unwrap())
        }
        Case::Pep(mode, granularity) => {
            let settings = PepSettings {
                mode,
                granularity,
                start: -9.0,
                ..PepSettings::default()
            };
            Box::new(PepEmbedding::new(rows(), &settings).unwrap())
        }
        Case::Amtl => {
            let settings = AmtlSettings::default();
            Box::new(AmtlEmbedding::new(rows(), &[counts], &settings, Seed::new(2)).unwrap())
        }
        Case::Mlet => {
            let mlet = MletSettings {
                inner_dim: INNER_DIM,
                ..MletSettings::default()
            };
            Box::new(MletEmbedding::new(&fields(), &settings, &mlet).unwrap())
        }
    }
}

/// Steps that touch every row; a faithful one does so by itself.
fn train(case: Case, layer: &mut dyn EmbeddingLayer) {
    let n_steps = match case {
        Case::Pep(Mode::Faithful, _) => 3,
        _ => N_ROWS.div_ceil(BATCH),
    };
    let mut embeddings = vec![0.0; BATCH * DIM];
    for step in 0..n_steps {
        let ids: Vec<u32> = (0..BATCH)
            .map(|i| ((step * BATCH + i) % N_ROWS) as u32)
            .collect();
        let bags = Bags {
            ids: &ids,
            offsets: None,
        };
        let batch = IdBatch {
            n: BATCH,
            fields: [bags].into_iter().collect(),
        };
        layer.forward(&batch, &mut embeddings).unwrap();
        layer.backward(&embeddings).unwrap();
        layer.gradient_norm_squared().unwrap();
        layer.step(StepSize::of(0.01)).unwrap();
        layer.lookup(&batch, &mut embeddings).unwrap();
    }
}

/// Everything that a run does with a layer behind its steps.
fn finish(mut layer: Box<dyn EmbeddingLayer>) {
    layer.settle();
    assert!(layer.figures().iter().all(|(_, x)| x.is_finite()));
    let n_tensors = layer.state().len();
    let half = N_VALUES as u64 / 2;
    let any: &mut dyn Any = layer.as_mut();
    let mask = any.downcast_ref::<PepEmbedding>().map(|pep| pep.mask(half));
    assert!(mask.as_ref().is_none_or(|mask| mask.n_kept() == half));
    if let Some(amtl) = any.downcast_mut::<AmtlEmbedding>() {
        assert!(amtl.fit(half).unwrap() <= half);
    }
    let tables = layer.into_tables();
    assert_eq!(
        (n_tensors > 0, tables[0].parts[0].values().len()),
        (true, N_VALUES)
    );
}

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// Takes a layer from its making to its tables, and prints what it took at most.
fn measure(case: Case) {
    // Not the layer's: every run has them.
    let counts: Vec<u64> = (0..N_ROWS as u64).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
    pool.build().unwrap().install(|| {
        let before = status("VmRSS:");
        let mut layer = layer(case, &counts);
        train(case, layer.as_mut());
        let trained = status("VmHWM:") - before;
        finish(layer);
        println!("peak {trained} {}", status("VmHWM:") - before);
    });
}

/// The most bytes in training, and to the end, in a process of its own.
fn peaks(case: usize) -> [u64; 2] {
    let program = std::env::current_exe().unwrap();
    let done = Command::new(program)
        .args(["--nocapture", "--exact", "layers_take_what_they_store"])
        .env(CASE, case.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split("peak ").nth(1));
    let mut numbers = line.expect(&text).split(' ').map(|n| n.parse().unwrap());
    [(); 2].map(|()| numbers.next().unwrap())
}

#[test]
fn layers_take_what_they_store() {
    if cfg!(not(target_os = "linux")) {
        println!("skipped: resident memory is read from /proc");
        return;
    }
    if let Some(case) = std::env::var_os(CASE) {
        let case: usize = case.to_str().unwrap().parse().unwrap();
        return measure(cases()[case].0);
    }
    for (i, (case, stored)) in cases().into_iter().enumerate() {
        let ([trained, whole], stored) = (peaks(i), stored as u64);
        let ratio = |bytes: u64| bytes as f64 / stored as f64;
        println!(
            "{case:?}: {:.1} MB to store, {:.3} times that in training, {:.3} to the end",
            stored as f64 / 1e6,
            ratio(trained),
            ratio(whole)
        );
        assert!(
            whole <= stored + stored / 20 + SLACK,
            "{case:?}: {whole} for {stored}"
        );
        // Else rows were not touched.
        assert!(
            trained >= stored - stored / 20,
            "{case:?}: {trained} for {stored}"
        );
    }
}
