//! The optimiser: hand-worked rows, catching up, state.

use slimbed_embedding::{Bags, BatchIndex, IdBatch, Pooling, SparseOptimizer, SparseRule, Table};

const RULES: [SparseRule; 4] = [
    SparseRule::Sgd,
    SparseRule::ADAGRAD,
    SparseRule::ROW_WISE_ADAGRAD,
    SparseRule::LAZY_ADAM,
];

/// One table of 4 rows, one field; each step touches the given rows with gradient `sin(row + step)`.
struct Bench {
    tables: Vec<Table>,
    optimizer: SparseOptimizer,
    step: usize,
}

impl Bench {
    fn new(rule: SparseRule, weight_decay: f32) -> Self {
        let mut table = Table::zeros(4, 2).unwrap();
        table
            .values_mut()
            .copy_from_slice(&[1.0, -1.0, 0.5, 0.25, 2.0, -2.0, 0.1, 0.2]);
        let optimizer = SparseOptimizer::new(rule, weight_decay, std::iter::once((4, 2))).unwrap();
        Self {
            tables: vec![table],
            optimizer,
            step: 0,
        }
    }

    fn touch(&mut self, ids: &[u32], lr: f32) {
        let batch = IdBatch {
            n: ids.len(),
            fields: smallvec::smallvec![Bags { ids, offsets: None }],
        };
        let index = BatchIndex::new(&batch, &[Pooling::Sum]).unwrap();
        let gradients: Vec<f32> = index
            .rows(0)
            .iter()
            .flat_map(|&row| [0, 1].map(|j| gradient(row, self.step, j)))
            .collect();
        self.optimizer
            .step(&mut self.tables, &index, &gradients, lr, 1.0)
            .unwrap();
        self.step += 1;
    }

    fn values(&mut self) -> Vec<f32> {
        self.optimizer.settle(&mut self.tables);
        self.tables[0].values().to_vec()
    }
}

fn gradient(row: u32, step: usize, j: usize) -> f32 {
    (row as f32 + 0.3 * step as f32 + j as f32).sin()
}

#[test]
fn untouched_rows_stay_without_weight_decay() {
    for rule in RULES {
        let mut bench = Bench::new(rule, 0.0);
        let start = bench.values();
        bench.touch(&[1, 3], 0.1);
        let end = bench.values();
        assert_eq!((&start[0..2], &start[4..6]), (&end[0..2], &end[4..6]));
        assert!(start[2] != end[2] && start[6] != end[6]);
    }
}

#[test]
fn formulas_in_f64_for_a_row_touched_on_every_step() {
    for rule in RULES {
        let mut bench = Bench::new(rule, 0.0);
        (0..5).for_each(|_| bench.touch(&[2], 0.05));
        let found = bench.values();
        let expected = reference(rule, [2.0, -2.0], 2, &[0, 1, 2, 3, 4], 5);
        for j in 0..2 {
            assert!(
                (f64::from(found[4 + j]) - expected[j]).abs() < 1e-5,
                "{rule:?}"
            );
        }
    }
}

#[test]
fn adam_catches_its_moments_up() {
    let mut bench = Bench::new(SparseRule::LAZY_ADAM, 0.0);
    for ids in [&[0u32][..], &[1], &[1], &[0], &[1], &[0]] {
        bench.touch(ids, 0.05);
    }
    let expected = reference(SparseRule::LAZY_ADAM, [1.0, -1.0], 0, &[0, 3, 5], 6);
    let found = bench.values();
    assert!(
        (f64::from(found[0]) - expected[0]).abs() < 1e-5,
        "{} {}",
        found[0],
        expected[0]
    );
}

/// The rule in f64 over `n_steps`, the row being touched on the steps in `touched` only.
fn reference(
    rule: SparseRule,
    mut w: [f64; 2],
    row: u32,
    touched: &[usize],
    n_steps: usize,
) -> [f64; 2] {
    let (mut a, mut m, mut v) = ([0f64; 2], [0f64; 2], [0f64; 2]);
    let lr = 0.05;
    for step in 0..n_steps {
        let on = touched.contains(&step);
        let g = [0, 1].map(|j| {
            if on {
                f64::from(gradient(row, step, j))
            } else {
                0.0
            }
        });
        let mean = (g[0] * g[0] + g[1] * g[1]) / 2.0;
        let t = step as i32 + 1;
        for j in 0..2 {
            m[j] = 0.9 * m[j] + 0.1 * g[j];
            v[j] = 0.999 * v[j] + 0.001 * g[j] * g[j];
            let moved = match rule {
                SparseRule::Sgd => g[j],
                SparseRule::Adagrad { .. } => {
                    a[j] += g[j] * g[j];
                    g[j] / (a[j].sqrt() + 1e-10)
                }
                SparseRule::RowWiseAdagrad { .. } => {
                    a[j] += mean;
                    g[j] / (a[j].sqrt() + 1e-10)
                }
                SparseRule::LazyAdam { .. } => {
                    let (m, v) = (
                        m[j] / (1.0 - 0.9f64.powi(t)),
                        v[j] / (1.0 - 0.999f64.powi(t)),
                    );
                    m / (v.sqrt() + 1e-8)
                }
            };
            w[j] -= if on { lr * moved } else { 0.0 };
        }
    }
    w
}

#[test]
fn lazy_weight_decay_equals_decay_on_every_step() {
    let rates = [0.1f32, 0.2, 0.05, 0.3];
    let mut bench = Bench::new(SparseRule::Sgd, 0.5);
    for (i, &lr) in rates.iter().enumerate() {
        bench.touch(if i == 2 { &[0] } else { &[1] }, lr);
    }
    let decay: f64 = rates.iter().map(|&lr| 1.0 - 0.5 * f64::from(lr)).product();
    let values = bench.values();
    assert!(
        (f64::from(values[4]) - 2.0 * decay).abs() < 1e-6,
        "never touched"
    );
    let mut w = 1.0;
    for (i, &lr) in rates.iter().enumerate() {
        w *= 1.0 - 0.5 * f64::from(lr);
        w -= if i == 2 {
            f64::from(lr * gradient(0, 2, 0))
        } else {
            0.0
        };
    }
    assert!((f64::from(values[0]) - w).abs() < 1e-6, "touched once");
    assert_eq!(values, bench.values(), "settling twice owes nothing");
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    let names = ["C1".to_owned()];
    for rule in RULES {
        let mut whole = Bench::new(rule, 0.01);
        whole.touch(&[0, 2], 0.1);
        whole.touch(&[2, 3], 0.1);
        let mut resumed = Bench::new(rule, 0.01);
        resumed.tables[0]
            .values_mut()
            .copy_from_slice(whole.tables[0].values());
        resumed.step = 2;
        resumed
            .optimizer
            .restore(&names, &whole.optimizer.state(&names))
            .unwrap();
        for bench in [&mut whole, &mut resumed] {
            bench.touch(&[0, 3], 0.2);
        }
        assert_eq!(whole.values(), resumed.values(), "{rule:?}");
    }
}

#[test]
fn a_state_of_another_shape_is_refused() {
    let mut bench = Bench::new(SparseRule::ADAGRAD, 0.0);
    let other = SparseOptimizer::new(SparseRule::ADAGRAD, 0.0, std::iter::once((3, 2))).unwrap();
    let names = ["C1".to_owned()];
    let error = bench
        .optimizer
        .restore(&names, &other.state(&names))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("C1/sum") && error.contains("(3, 2)"),
        "{error}"
    );
}
