//! A step against its naive twin: one row at a time, in the order of the formulas.

use proptest::prelude::*;
use slimbed_embedding::{BatchIndex, SparseOptimizer, SparseRule, Table};

use crate::cases::{Batch, any_batch, any_dim, large_batch, normals};

const LR: f32 = 0.05;
const SCALE: f32 = 0.75;
const DECAY: f32 = 0.1;

/// The state of one row.
#[derive(Clone, Default)]
struct Row {
    sum: Vec<f32>,
    moments: [Vec<f32>; 2],
    n_idle: i32,
}

/// A table's rows with their states; every step visits all of them.
struct Naive {
    rule: SparseRule,
    weight_decay: f32,
    tables: Vec<Vec<Vec<f32>>>,
    rows: Vec<Vec<Row>>,
    step: i32,
}

impl Naive {
    fn new(rule: SparseRule, weight_decay: f32, tables: &[Table], dim: usize) -> Self {
        let zeros = vec![0.0; dim];
        let row = Row {
            sum: zeros.clone(),
            moments: [zeros.clone(), zeros],
            n_idle: 0,
        };
        let copy = |table: &Table| {
            table
                .values()
                .chunks_exact(dim)
                .map(<[f32]>::to_vec)
                .collect()
        };
        Self {
            rule,
            weight_decay,
            tables: tables.iter().map(copy).collect(),
            rows: tables
                .iter()
                .map(|table| vec![row.clone(); table.n_rows()])
                .collect(),
            step: 0,
        }
    }

    fn step(&mut self, index: &BatchIndex, gradients: &[f32], dim: usize) {
        self.step += 1;
        for (f, (table, states)) in self.tables.iter_mut().zip(&mut self.rows).enumerate() {
            for (row, (w, state)) in table.iter_mut().zip(states).enumerate() {
                w.iter_mut()
                    .for_each(|w| *w *= 1.0 - LR * self.weight_decay);
                let Ok(u) = index.rows(f).binary_search(&(row as u32)) else {
                    state.n_idle += 1;
                    continue;
                };
                let gradient = &gradients[(index.span(f).start + u) * dim..][..dim];
                let gradient: Vec<f32> = gradient.iter().map(|g| SCALE * g).collect();
                update(self.rule, self.step, w, &gradient, state);
                state.n_idle = 0;
            }
        }
    }
}

fn update(rule: SparseRule, step: i32, w: &mut [f32], gradient: &[f32], state: &mut Row) {
    let mean = gradient.iter().map(|g| g * g).sum::<f32>() / gradient.len() as f32;
    for (j, (w, &g)) in w.iter_mut().zip(gradient).enumerate() {
        match rule {
            SparseRule::Adagrad { eps } => {
                state.sum[j] += g * g;
                *w -= LR * g / (state.sum[j].sqrt() + eps);
            }
            SparseRule::RowWiseAdagrad { eps } => {
                state.sum[j] += mean;
                *w -= LR * g / (state.sum[j].sqrt() + eps);
            }
            SparseRule::LazyAdam { beta1, beta2, eps } => {
                let [m, v] = state.moments.each_mut().map(|x| &mut x[j]);
                *m = *m * beta1.powi(state.n_idle + 1) + (1.0 - beta1) * g;
                *v = *v * beta2.powi(state.n_idle + 1) + (1.0 - beta2) * g * g;
                let (m, v) = (*m / (1.0 - beta1.powi(step)), *v / (1.0 - beta2.powi(step)));
                *w -= LR * m / (v.sqrt() + eps);
            }
            _ => *w -= LR * g,
        }
    }
}

fn any_rule() -> impl Strategy<Value = SparseRule> {
    prop_oneof![
        Just(SparseRule::Sgd),
        Just(SparseRule::ADAGRAD),
        Just(SparseRule::ROW_WISE_ADAGRAD),
        Just(SparseRule::LAZY_ADAM),
    ]
}

/// Three steps on `batches` in turn; both ways end at the same rows.
fn check(rule: SparseRule, weight_decay: f32, batches: [&Batch; 3], dim: usize) {
    let mut tables = batches[0].tables(dim);
    let shapes = tables.iter().map(|table| (table.n_rows(), dim));
    let mut optimizer = SparseOptimizer::new(rule, weight_decay, shapes).unwrap();
    let mut naive = Naive::new(rule, weight_decay, &tables, dim);
    for (i, batch) in batches.into_iter().enumerate() {
        let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
        let gradients = normals(index.n_unique() * dim, 50 + i as u64);
        naive.step(&index, &gradients, dim);
        optimizer
            .step(&mut tables, &index, &gradients, LR, SCALE)
            .unwrap();
    }
    optimizer.settle(&mut tables);
    for (table, naive) in tables.iter().zip(&naive.tables) {
        for (found, expected) in table.values().iter().zip(naive.iter().flatten()) {
            assert!(
                (found - expected).abs() < 2e-5,
                "{rule:?}: {found} {expected}"
            );
        }
    }
}

proptest! {
    #[test]
    fn steps_equal_their_twin(
        rule in any_rule(),
        decays in any::<bool>(),
        dim in any_dim(),
        batch in any_batch(),
        shift in 1..9u32,
    ) {
        // The second step touches other rows, so that some sit out and catch up.
        let mut other = batch.clone();
        for field in &mut other.fields {
            field.ids.iter_mut().for_each(|id| *id = (*id + shift) % 9);
        }
        let weight_decay = if decays { DECAY } else { 0.0 };
        check(rule, weight_decay, [&batch, &other, &batch], dim);
    }
}

#[test]
fn large_steps_equal_their_twin() {
    let (first, second) = (large_batch(1), large_batch(2));
    for rule in [SparseRule::ROW_WISE_ADAGRAD, SparseRule::LAZY_ADAM] {
        check(rule, DECAY, [&first, &second, &first], 8);
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let batch = large_batch(1);
    let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
    let gradients = normals(index.n_unique() * 8, 1);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut tables = batch.tables(8);
            let shapes = tables.iter().map(|table| (table.n_rows(), 8));
            let mut optimizer = SparseOptimizer::new(SparseRule::LAZY_ADAM, DECAY, shapes).unwrap();
            for _ in 0..2 {
                optimizer
                    .step(&mut tables, &index, &gradients, LR, SCALE)
                    .unwrap();
            }
            tables
                .iter()
                .flat_map(|table| table.values().to_vec())
                .collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

#[test]
fn misfits_are_errors_and_change_nothing() {
    let batch = large_batch(1);
    let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
    let mut tables = batch.tables(4);
    let before = tables[3].values().to_vec();
    let shapes = tables.iter().map(|table| (table.n_rows(), 4));
    let mut optimizer = SparseOptimizer::new(SparseRule::Sgd, 0.0, shapes).unwrap();
    let gradients = vec![1.0; index.n_unique() * 4];
    let short = optimizer.step(&mut tables, &index, &gradients[1..], LR, SCALE);
    assert!(
        short
            .unwrap_err()
            .to_string()
            .contains("gradients of unique rows")
    );
    let fewer = optimizer.step(&mut tables[1..], &index, &gradients, LR, SCALE);
    assert!(fewer.unwrap_err().to_string().contains("5 tables"));
    assert_eq!(tables[3].values(), before);
    optimizer
        .step(&mut tables, &index, &gradients, LR, SCALE)
        .unwrap();
    assert_ne!(tables[3].values(), before);
}
