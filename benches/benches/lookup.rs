//! Lookups in stored tables, in every encoding: the kernels and their naive twin.
//!
//! Shape: one table of 1 M rows, dim 16 and 64, in huge pages; batches of 2048 bags of 1 and of 20 ids,
//! summed. Ids follow a continuous Zipf law with exponent 1.05 and are scattered over the rows; 64 batches
//! take turns. The elements of the throughput are rows looked up. Both the kernels and the twin, which decodes
//! row after row, take one thread.
//!
//! The rows are whole (`dense`, `dense-lines`), keep a quarter of their values on average at their start
//! (`prefix`, and `steps` where rows get shorter and shorter), or 5 % (`bitmap`) or 1 % (all `present`, `positions`) anywhere. The shipped ratios, with rows
//! sized by frequency and tables larger than the cache, come from `cargo xtask bench lookup`.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use slimbed_compact::{
    Artefact, Bags, Encoding, FieldTable, LookupError, Output, Pooling, Rows, RowsStored, Scratch,
    Structure, Table, Values, naive, write,
};
use slimbed_rng::{Permutation, Seed, Stream};

const N_ROWS: usize = 1_000_000;
const BATCH: usize = 2048;
const N_BATCHES: usize = 64;
const SEED: Seed = Seed::new(20_261_121);

/// Which values of a row are kept.
#[derive(Clone, Copy)]
enum Kept {
    All,
    /// The first ones, up to half of them.
    First,
    /// The first ones, fewer and fewer from row to row: a quarter of all.
    Falling,
    /// Each with this chance.
    Share(f64),
}

/// What is stored how.
const FORMS: [(Kept, RowsStored, Structure); 9] = [
    (Kept::All, RowsStored::All, Structure::Dense),
    (Kept::All, RowsStored::All, Structure::DenseLines),
    (Kept::Falling, RowsStored::All, Structure::Steps),
    (Kept::First, RowsStored::All, Structure::Prefix),
    (Kept::Share(0.05), RowsStored::All, Structure::Bitmap),
    (Kept::Share(0.01), RowsStored::Present, Structure::Dense),
    (Kept::Share(0.01), RowsStored::Present, Structure::Prefix),
    (Kept::Share(0.01), RowsStored::Present, Structure::Bitmap),
    (Kept::Share(0.01), RowsStored::All, Structure::Positions),
];

criterion_group!(benches, bench_16, bench_64);
criterion_main!(benches);

fn bench_16(c: &mut Criterion) {
    bench_dim(c, 16);
}

fn bench_64(c: &mut Criterion) {
    bench_dim(c, 64);
}

fn bench_dim(c: &mut Criterion, dim: usize) {
    let streams = [1, 20].map(Ids::draw);
    let mut group = c.benchmark_group(format!("lookup/1M rows x {dim}, {BATCH} bags, 1 thread"));
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(800));
    for (kept, rows, structure) in FORMS {
        let exact = kept.rows(dim);
        for values in Values::ALL {
            let encoding = Encoding {
                rows,
                structure,
                values,
                n_head: 0,
            };
            // Not every encoding suits every dim: f32 rows have no use for `dense-lines`.
            let Ok(artefact) = stored(&exact, dim, encoding) else {
                continue;
            };
            let table = artefact.table(0).expect("the file is whole");
            streams
                .iter()
                .for_each(|ids| bench_table(&mut group, &encoding.name(), &table, ids));
        }
    }
    group.finish();
}

fn bench_table(group: &mut Group<'_>, name: &str, table: &Table<'_>, ids: &Ids) {
    group.throughput(Throughput::Elements((BATCH * ids.bag) as u64));
    let name = format!("{name}, bags of {}", ids.bag);
    bench(group, &format!("{name}/naive"), table, ids, naive::lookup);
    bench(group, &format!("{name}/fast"), table, ids, Table::lookup);
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Times `lookup` on the batches in turn.
fn bench<'t>(
    group: &mut Group<'_>,
    name: &str,
    table: &Table<'t>,
    ids: &Ids,
    lookup: impl Fn(&Table<'t>, &Bags<'_>, Output<'_>, &mut Scratch) -> Result<(), LookupError>,
) {
    let dim = table.dim();
    let (mut out, mut scratch) = (vec![0.0; BATCH * dim], Scratch::default());
    let mut turns = ids.batches.iter().cycle();
    group.bench_function(name, |b| {
        b.iter(|| {
            let bags = turns.next().map(|batch| ids.bags(batch));
            let bags = bags.expect("there are batches");
            let result = lookup(table, &bags, Output::rows(&mut out, dim), &mut scratch);
            result.expect("the call is right");
            black_box(&out);
        });
    });
}

/// Batches of ids.
struct Ids {
    bag: usize,
    batches: Vec<Vec<u32>>,
    offsets: Vec<u32>,
}

impl Ids {
    /// Draws ranks by the inverse of `∫ x^(−1.05) dx` and scatters them.
    fn draw(bag: usize) -> Self {
        const EXPONENT: f64 = 1.0 - 1.05;
        let scattered = Permutation::new(N_ROWS as u64, SEED, "bench/rows", 0);
        let mut stream = SEED.stream("bench/ids", bag as u64);
        let span = (N_ROWS as f64 + 1.0).powf(EXPONENT) - 1.0;
        let mut draw = || {
            let rank = (span * stream.uniform_f64() + 1.0).powf(1.0 / EXPONENT) as u64 - 1;
            scattered.apply(rank.min(N_ROWS as u64 - 1)) as u32
        };
        let mut batch = || (0..BATCH * bag).map(|_| draw()).collect();
        Self {
            bag,
            batches: (0..N_BATCHES).map(|_| batch()).collect(),
            offsets: (0..=BATCH).map(|b| (b * bag) as u32).collect(),
        }
    }

    fn bags<'a>(&'a self, batch: &'a [u32]) -> Bags<'a> {
        match self.bag {
            1 => Bags::single(batch),
            _ => Bags::new(batch, &self.offsets),
        }
    }
}

impl Kept {
    /// The rows of a table, `[N_ROWS, dim]`.
    fn rows(self, dim: usize) -> Vec<f32> {
        let mut stream = SEED.stream("bench/rows", dim as u64);
        let mut rows = vec![0.0; N_ROWS * dim];
        for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
            self.fill(i, row, &mut stream);
        }
        rows
    }

    fn fill(self, i: usize, row: &mut [f32], stream: &mut Stream) {
        let n = match self {
            // Rank k of n keeps min(1, n / 16k) of a row; that makes 1/16 + ln(16)/16 of all.
            Self::Falling => row.len().min(row.len() * N_ROWS / (16 * (i + 1))),
            Self::First => stream.below(row.len() as u64 / 2 + 1) as usize,
            Self::All | Self::Share(_) => row.len(),
        };
        let share = if let Self::Share(share) = self {
            share
        } else {
            1.0
        };
        for x in &mut row[..n] {
            if share >= 1.0 || stream.uniform_f64() < share {
                *x = 2.0 * stream.uniform() - 1.0;
            }
        }
    }
}

/// A table as it is shipped, loaded into huge pages.
fn stored(
    values: &[f32],
    dim: usize,
    encoding: Encoding,
) -> Result<Artefact, slimbed_compact::ArtefactError> {
    let folder = tempfile::tempdir().expect("the system has a folder for such files");
    let path = folder.path().join("table.safetensors");
    let rows = Rows::new(values, dim).expect("whole rows");
    let field = FieldTable::new("table", rows, encoding, Pooling::Sum);
    write(&path, &[field], &[], Value::Null, Value::Null)?;
    Artefact::load(&path)
}
