//! The tables' part of a training step: each fast kernel and its naive twin.
//!
//! Shape: batches of 2048 samples × 26 single-valued fields, dim 16, with the rows of Criteo-Kaggle's
//! fields (33.8 M) and the same capped at 290,000 a field (2.0 M). Ids follow a continuous Zipf law with
//! exponent 1.1 and are scattered over the rows; 16 batches take turns. The elements of the throughput
//! are ids. Fast kernels run on one thread and on two, the twins (one row after the other, without
//! prefetch, in new memory where a beginner would take some) on one.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use slimbed_embedding::{
    Bags, BatchIndex, EmbeddingLayer, FieldSpec, IdBatch, PlainEmbedding, Pooling, RowInit,
    RowSettings, SparseOptimizer, SparseRule, StepSize, Table, TableView, expand, gather, lookup,
    reduce,
};
use slimbed_rng::{Permutation, Seed};

const KAGGLE: [usize; N_FIELDS] = [
    1460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5683, 8_351_593, 3194, 27,
    14_992, 5_461_306, 10, 5652, 2173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572,
];
const N_FIELDS: usize = 26;
const BATCH: usize = 2048;
const DIM: usize = 16;
const N_BATCHES: usize = 16;
const N_VALUES: usize = BATCH * N_FIELDS * DIM;
const SEED: Seed = Seed::new(20_261_121);
const POOLING: [Pooling; N_FIELDS] = [Pooling::Sum; N_FIELDS];

const RULES: [(&str, SparseRule); 4] = [
    ("sgd", SparseRule::Sgd),
    ("row-wise adagrad", SparseRule::ROW_WISE_ADAGRAD),
    ("adagrad", SparseRule::ADAGRAD),
    ("lazy adam", SparseRule::LAZY_ADAM),
];

criterion_group!(benches, bench_small, bench_kaggle);
criterion_main!(benches);

fn bench_small(c: &mut Criterion) {
    bench_all(c, "2.0M rows", KAGGLE.map(|n_rows| n_rows.min(290_000)));
}

fn bench_kaggle(c: &mut Criterion) {
    bench_all(c, "33.8M rows", KAGGLE);
}

fn bench_all(c: &mut Criterion, name: &str, n_rows: [usize; N_FIELDS]) {
    let mut group = c.benchmark_group(format!(
        "embedding/{name} x {DIM}, {BATCH} x {N_FIELDS} ids"
    ));
    group.sample_size(50);
    group.throughput(Throughput::Elements((BATCH * N_FIELDS) as u64));
    let batches = batches(&n_rows);
    let mut tables = n_rows.map(table);
    bench_reading(&mut group, &tables, &batches);
    bench_batches(&mut group, &batches);
    bench_rules(&mut group, &mut tables, &batches);
    drop(tables);
    bench_layer(&mut group, &n_rows, &batches);
    group.finish();
}

/// Lookups of pooled rows, and the gather of unique ones.
fn bench_reading(group: &mut Group<'_>, tables: &[Table], batches: &[Batch]) {
    let views: Vec<_> = tables.iter().map(view).collect();
    let mut out = vec![0.0; N_VALUES];
    bench(group, "lookup/naive", 1, batches, |batch| {
        naive::lookup(tables, &batch.ids, &mut out);
    });
    bench_fast(group, "lookup", batches, |batch| {
        lookup(&views, &batch.id_batch(), DIM, &mut out).is_ok()
    });
    bench(group, "gather/naive", 1, batches, |batch| {
        naive::gather(tables, &batch.index, &mut out);
    });
    bench_fast(group, "gather", batches, |batch| {
        let out = &mut out[..batch.index.n_unique() * DIM];
        gather(&views, &batch.index, DIM, out).is_ok()
    });
}

/// What needs no table: the index, and both ways between unique rows and embeddings.
fn bench_batches(group: &mut Group<'_>, batches: &[Batch]) {
    bench(group, "index/naive", 1, batches, |batch| {
        naive::index(&batch.ids)
    });
    let mut index = BatchIndex::default();
    bench_fast(group, "index", batches, |batch| {
        index.rebuild(&batch.id_batch(), &POOLING).is_ok()
    });
    let mut rows = normals(N_VALUES);
    let mut embeddings = normals(N_VALUES);
    bench(group, "expand/naive", 1, batches, |batch| {
        naive::expand(&rows, &batch.ids, &batch.index, &mut embeddings);
    });
    bench_fast(group, "expand", batches, |batch| {
        let rows = &rows[..batch.index.n_unique() * DIM];
        expand(rows, &batch.index, DIM, &mut embeddings).is_ok()
    });
    bench(group, "reduce/naive", 1, batches, |batch| {
        naive::reduce(&embeddings, &batch.ids, &batch.index, &mut rows);
    });
    bench_fast(group, "reduce", batches, |batch| {
        let rows = &mut rows[..batch.index.n_unique() * DIM];
        reduce(&embeddings, &batch.index, DIM, rows).is_ok()
    });
}

fn bench_rules(group: &mut Group<'_>, tables: &mut [Table], batches: &[Batch]) {
    let gradients = normals(N_VALUES);
    for (name, rule) in RULES {
        let mut state = naive::State::new(rule, tables);
        bench(group, &format!("step, {name}/naive"), 1, batches, |batch| {
            state.step(tables, &batch.index, &gradients);
        });
        drop(state);
        let shapes = tables.iter().map(|table| (table.n_rows(), DIM));
        let Ok(mut optimizer) = SparseOptimizer::new(rule, 0.0, shapes) else {
            continue;
        };
        bench_fast(group, &format!("step, {name}"), batches, |batch| {
            let gradients = &gradients[..batch.index.n_unique() * DIM];
            let index = &batch.index;
            optimizer.step(tables, index, gradients, LR, 1.0).is_ok()
        });
    }
}

/// Forward, backward and step of the plain layer together.
fn bench_layer(group: &mut Group<'_>, n_rows: &[usize], batches: &[Batch]) {
    let gradient = normals(N_VALUES);
    let mut embeddings = vec![0.0; N_VALUES];
    let spec = |(f, &n_rows)| FieldSpec {
        name: format!("C{f}"),
        n_rows,
        pooling: Pooling::Sum,
    };
    let specs: Vec<_> = n_rows.iter().enumerate().map(spec).collect();
    for (name, rule) in RULES {
        let settings = RowSettings {
            dim: DIM,
            init: RowInit::UniformByRows,
            seed: SEED,
            rule,
            weight_decay: 0.0,
        };
        let layer = PlainEmbedding::new(&specs, &settings);
        let mut layer = layer.expect("the machine has the memory");
        bench_fast(group, &format!("layer, {name}"), batches, |batch| {
            let forward = layer.forward(&batch.id_batch(), &mut embeddings);
            let backward = forward.and_then(|()| layer.backward(&gradient));
            backward.and_then(|()| layer.step(StepSize::of(LR))).is_ok()
        });
    }
}

const LR: f32 = 1e-3;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn bench_fast(
    group: &mut Group<'_>,
    name: &str,
    batches: &[Batch],
    mut work: impl FnMut(&Batch) -> bool + Send,
) {
    for threads in [1, 2] {
        bench(group, &format!("{name}/fast"), threads, batches, |batch| {
            assert!(work(batch), "the call is right");
        });
    }
}

/// Times `work` on the batches in turn, in a pool of `threads`.
fn bench<R: Send>(
    group: &mut Group<'_>,
    name: &str,
    threads: usize,
    batches: &[Batch],
    mut work: impl FnMut(&Batch) -> R + Send,
) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.expect("the system gives threads");
    // Memory that is touched for the first time costs more than the work on it.
    pool.install(|| batches.iter().for_each(|batch| drop(work(batch))));
    let mut turns = batches.iter().cycle();
    group.bench_function(format!("{name}/{threads} threads"), |b| {
        pool.install(|| b.iter(|| turns.next().map(|batch| black_box(work(batch)))));
    });
}

/// The ids of a batch, field by field, and their index.
struct Batch {
    ids: Vec<Vec<u32>>,
    index: BatchIndex,
}

impl Batch {
    fn new(ids: Vec<Vec<u32>>) -> Self {
        let mut batch = Self {
            ids,
            index: BatchIndex::default(),
        };
        let index = BatchIndex::new(&batch.id_batch(), &POOLING);
        batch.index = index.expect("one id a sample");
        batch
    }

    fn id_batch(&self) -> IdBatch<'_> {
        let fields = self.ids.iter().map(|ids| Bags { ids, offsets: None });
        IdBatch {
            n: BATCH,
            fields: fields.collect(),
        }
    }
}

fn batches(n_rows: &[usize]) -> Vec<Batch> {
    let batch = |b| {
        let ids = n_rows.iter().enumerate();
        Batch::new(ids.map(|(f, &n_rows)| ids_of_field(f, n_rows, b)).collect())
    };
    (0..N_BATCHES).map(batch).collect()
}

/// Draws ranks by the inverse of `∫ x^(−1.1) dx` and scatters them.
fn ids_of_field(f: usize, n_rows: usize, b: usize) -> Vec<u32> {
    const EXPONENT: f64 = 1.0 - 1.1;
    let scattered = Permutation::new(n_rows as u64, SEED, "bench/rows", f as u64);
    let mut stream = SEED.stream("bench/ids", (b * N_FIELDS + f) as u64);
    let span = (n_rows as f64 + 1.0).powf(EXPONENT) - 1.0;
    let mut draw = || {
        let rank = (span * stream.uniform_f64() + 1.0).powf(1.0 / EXPONENT) as u64 - 1;
        scattered.apply(rank.min(n_rows as u64 - 1)) as u32
    };
    (0..BATCH).map(|_| draw()).collect()
}

fn table(n_rows: usize) -> Table {
    let mut table = Table::zeros(n_rows, DIM).expect("the machine has the memory");
    RowInit::UniformByRows.fill(&mut table, SEED, "bench");
    table
}

fn view(table: &Table) -> TableView<'_> {
    TableView {
        values: table.values(),
        dim: DIM,
        pooling: Pooling::Sum,
    }
}

fn normals(n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    SEED.stream("bench/normals", n as u64)
        .fill_normal(&mut values, 1e-3);
    values
}

/// The same, straight from the definitions.
mod naive {
    use std::collections::BTreeMap;

    use slimbed_embedding::{BatchIndex, SparseRule, Table};

    use super::{DIM, LR, N_FIELDS};

    pub fn lookup(tables: &[Table], ids: &[Vec<u32>], out: &mut [f32]) {
        for (b, out) in out.chunks_exact_mut(N_FIELDS * DIM).enumerate() {
            for (f, out) in out.chunks_exact_mut(DIM).enumerate() {
                out.copy_from_slice(tables[f].row(ids[f][b]));
            }
        }
    }

    pub fn gather(tables: &[Table], index: &BatchIndex, out: &mut [f32]) {
        let mut out = out.chunks_exact_mut(DIM);
        for (f, table) in tables.iter().enumerate() {
            for (&row, out) in index.rows(f).iter().zip(&mut out) {
                out.copy_from_slice(table.row(row));
            }
        }
    }

    /// The places of each unique row.
    pub fn index(ids: &[Vec<u32>]) -> Vec<BTreeMap<u32, Vec<u32>>> {
        let field = |ids: &Vec<u32>| {
            let mut places = BTreeMap::<u32, Vec<u32>>::new();
            for (&id, place) in ids.iter().zip(0..) {
                places.entry(id).or_default().push(place);
            }
            places
        };
        ids.iter().map(field).collect()
    }

    pub fn expand(rows: &[f32], ids: &[Vec<u32>], index: &BatchIndex, out: &mut [f32]) {
        for (slot, out) in out.chunks_exact_mut(DIM).enumerate() {
            let u = unique_of(slot, ids, index);
            out.copy_from_slice(&rows[u * DIM..][..DIM]);
        }
    }

    pub fn reduce(gradient: &[f32], ids: &[Vec<u32>], index: &BatchIndex, out: &mut [f32]) {
        out[..index.n_unique() * DIM].fill(0.0);
        for (slot, gradient) in gradient.chunks_exact(DIM).enumerate() {
            let u = unique_of(slot, ids, index);
            let sum = &mut out[u * DIM..][..DIM];
            sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
        }
    }

    fn unique_of(slot: usize, ids: &[Vec<u32>], index: &BatchIndex) -> usize {
        let (b, f) = (slot / N_FIELDS, slot % N_FIELDS);
        let u = index.rows(f).partition_point(|&row| row < ids[f][b]);
        index.span(f).start + u
    }

    /// The state of a rule in plain vectors, `width` values a row.
    pub struct State {
        rule: SparseRule,
        width: usize,
        values: Vec<Vec<f32>>,
        last: Vec<Vec<i32>>,
        step: i32,
    }

    impl State {
        pub fn new(rule: SparseRule, tables: &[Table]) -> Self {
            let width = match rule {
                SparseRule::Sgd => 0,
                SparseRule::RowWiseAdagrad { .. } => 1,
                SparseRule::Adagrad { .. } => DIM,
                SparseRule::LazyAdam { .. } => 2 * DIM,
            };
            let sizes = tables.iter().map(Table::n_rows);
            let is_adam = usize::from(width > DIM);
            Self {
                rule,
                width,
                values: sizes
                    .clone()
                    .map(|n_rows| vec![0.0; n_rows * width])
                    .collect(),
                last: sizes.map(|n_rows| vec![0; n_rows * is_adam]).collect(),
                step: 0,
            }
        }

        pub fn step(&mut self, tables: &mut [Table], index: &BatchIndex, gradients: &[f32]) {
            self.step += 1;
            let mut gradients = gradients.chunks_exact(DIM);
            for (f, table) in tables.iter_mut().enumerate() {
                for (&row, gradient) in index.rows(f).iter().zip(&mut gradients) {
                    self.update(f, row, table.row_mut(row), gradient);
                }
            }
        }

        fn update(&mut self, f: usize, row: u32, w: &mut [f32], gradient: &[f32]) {
            let row = row as usize;
            let state = &mut self.values[f][row * self.width..][..self.width];
            match self.rule {
                SparseRule::Sgd => {
                    w.iter_mut().zip(gradient).for_each(|(w, g)| *w -= LR * g);
                }
                SparseRule::RowWiseAdagrad { eps } => {
                    state[0] += gradient.iter().map(|g| g * g).sum::<f32>() / DIM as f32;
                    let rate = LR / (state[0].sqrt() + eps);
                    w.iter_mut().zip(gradient).for_each(|(w, g)| *w -= rate * g);
                }
                SparseRule::Adagrad { eps } => {
                    for ((w, g), a) in w.iter_mut().zip(gradient).zip(state) {
                        *a += g * g;
                        *w -= LR * g / (a.sqrt() + eps);
                    }
                }
                SparseRule::LazyAdam { beta1, beta2, eps } => {
                    let idle = self.step - std::mem::replace(&mut self.last[f][row], self.step);
                    let (m, v) = state.split_at_mut(DIM);
                    for (((w, g), m), v) in w.iter_mut().zip(gradient).zip(m).zip(v) {
                        *m = beta1.powi(idle) * *m + (1.0 - beta1) * g;
                        *v = beta2.powi(idle) * *v + (1.0 - beta2) * g * g;
                        let (m, v) = (
                            *m / (1.0 - beta1.powi(self.step)),
                            *v / (1.0 - beta2.powi(self.step)),
                        );
                        *w -= LR * m / (v.sqrt() + eps);
                    }
                }
            }
        }
    }
}
