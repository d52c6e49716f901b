//! Batches: every row once, in an order that seed and epoch fix.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod rows;

use std::path::Path;

use slimbed_data::pack::{Arity, Schema};
use slimbed_data::{
    BLOCK_ROWS, Batch, BatchOptions, Dataset, FieldInfo, Meta, Order, Split, SplitInfo,
};
use slimbed_rng::Seed;
use tempfile::{TempDir, tempdir};

/// Five whole blocks and a short one.
const N: usize = 5 * BLOCK_ROWS + 123;

const SEQUENTIAL: BatchOptions = BatchOptions {
    batch_size: 512,
    order: Order::Sequential,
    start_batch: 0,
    prefetch: 2,
};

fn shuffled(seed: u64, epoch: u64, window_blocks: usize) -> BatchOptions {
    let order = Order::Shuffled {
        seed: Seed::new(seed),
        epoch,
        window_blocks,
    };
    BatchOptions {
        order,
        ..SEQUENTIAL
    }
}

fn schema() -> Schema {
    rows::schema(2, &[(300, Arity::Single), (50, Arity::Multi)])
}

/// A data set whose training split has `n` rows and a bag field.
fn folder(n: usize) -> TempDir {
    let folder = tempdir().unwrap();
    let splits = Split::ALL.map(|split| {
        let n = if split == Split::Train { n } else { 3 };
        let all = rows::random(&schema(), n, split as u64);
        let path = folder.path().join(format!("{}.pack", split.name()));
        rows::write(&path, &schema(), &all, 1000);
        SplitInfo {
            name: split.name().into(),
            n_rows: n as u64,
            n_positives: all.labels.iter().sum::<f32>() as u64,
        }
    });
    let field = |(name, n_rows): (&str, u32)| FieldInfo {
        name: name.into(),
        n_rows,
        n_oov: 0,
    };
    let meta = Meta {
        format_version: 1,
        name: "rows".into(),
        recipe: String::new(),
        seed: 0,
        dense: vec!["row".into(), "x".into()],
        scales: vec![],
        fields: [("single", 300), ("bag", 50)].map(field).into(),
        splits,
        n_bad_rows: 0,
        inputs: vec![],
    };
    let text = serde_json::to_string(&meta).unwrap();
    std::fs::write(folder.path().join("meta.json"), text).unwrap();
    folder
}

fn batches(folder: &Path, options: BatchOptions) -> Vec<Batch> {
    let dataset = Dataset::open(folder).unwrap();
    let batches = dataset.batches(Split::Train, options).unwrap();
    batches.map(Result::unwrap).collect()
}

/// All rows behind each other.
fn joined(batches: &[Batch]) -> Batch {
    let mut all = Batch::empty(&schema());
    for batch in batches {
        all.extend(batch, 0..batch.n);
    }
    all
}

/// The rows in the order of their number, their first dense feature.
fn sorted(rows: &Batch) -> Batch {
    let mut order: Vec<usize> = (0..rows.n).collect();
    order.sort_by_key(|&i| rows.dense[2 * i] as u32);
    let mut all = Batch::empty(&schema());
    order.into_iter().for_each(|i| all.extend(rows, i..i + 1));
    all
}

/// Checks sizes and content of a pass, and gives its rows.
fn check(folder: &Path, n: usize, options: BatchOptions) -> Batch {
    let batches = batches(folder, options);
    assert_eq!(batches.len(), n.div_ceil(options.batch_size));
    for (i, batch) in batches.iter().enumerate() {
        let left = n - i * options.batch_size;
        assert_eq!(batch.n, options.batch_size.min(left), "batch {i}");
    }
    let rows = joined(&batches);
    let expected = rows::random(&schema(), n, Split::Train as u64);
    let in_order = match options.order {
        Order::Sequential => rows.clone(),
        Order::Shuffled { .. } => sorted(&rows),
    };
    assert!(in_order == expected, "{options:?}");
    rows
}

#[test]
fn every_row_comes_once_in_batches_of_any_size() {
    for n in [1, 100, N] {
        let folder = folder(n);
        for order in [SEQUENTIAL.order, shuffled(1, 0, 2).order] {
            for batch_size in [1, 7, 512, BLOCK_ROWS, 10_000, N + 1] {
                let options = BatchOptions {
                    batch_size,
                    order,
                    ..SEQUENTIAL
                };
                check(folder.path(), n, options);
            }
        }
    }
}

#[test]
fn the_order_depends_on_seed_and_epoch_and_on_nothing_else() {
    let folder = folder(N);
    let sequential = check(folder.path(), N, SEQUENTIAL);
    for window_blocks in [1, 2, 4, 100] {
        let rows = |seed, epoch| check(folder.path(), N, shuffled(seed, epoch, window_blocks));
        let first = rows(1, 0);
        assert!(first == rows(1, 0), "the same pass differs");
        assert!(first != rows(1, 1), "epochs do not differ");
        assert!(first != rows(2, 0), "seeds do not differ");
        assert!(first != sequential, "nothing is shuffled");
        for prefetch in [0, 1, 64] {
            let options = shuffled(1, 0, window_blocks);
            let other = check(
                folder.path(),
                N,
                BatchOptions {
                    prefetch,
                    ..options
                },
            );
            assert!(first == other, "prefetch {prefetch}");
        }
    }
}

#[test]
fn blocks_and_the_rows_in_them_are_shuffled() {
    let folder = folder(N);
    let rows = check(folder.path(), N, shuffled(3, 0, 1));
    let numbers: Vec<usize> = (0..N).map(|i| rows.dense[2 * i] as usize).collect();
    let mut blocks: Vec<usize> = numbers.iter().map(|row| row / BLOCK_ROWS).collect();
    blocks.dedup();
    assert_eq!(blocks.len(), 6);
    assert!(!blocks.is_sorted());
    let n_neighbours = numbers.windows(2).filter(|w| w[1] == w[0] + 1).count();
    assert!(
        n_neighbours < N / 100,
        "{n_neighbours} rows follow the one before"
    );
}

#[test]
fn a_pass_can_start_at_any_batch() {
    let folder = folder(N);
    for options in [SEQUENTIAL, shuffled(1, 0, 2), shuffled(1, 3, 1)] {
        for batch_size in [512, 1000, 9000] {
            let options = BatchOptions {
                batch_size,
                ..options
            };
            let all = batches(folder.path(), options);
            for k in 0..=all.len() + 1 {
                let start_batch = k as u64;
                let options = BatchOptions {
                    start_batch,
                    ..options
                };
                let rest = batches(folder.path(), options);
                assert!(rest == all[k.min(all.len())..], "{options:?}");
            }
        }
    }
    let far = BatchOptions {
        start_batch: u64::MAX,
        ..SEQUENTIAL
    };
    assert!(batches(folder.path(), far).is_empty());
}

#[test]
fn a_pass_can_be_dropped_at_any_time() {
    let folder = folder(N);
    let dataset = Dataset::open(folder.path()).unwrap();
    for n_taken in [0, 1, 5, 1000] {
        let options = BatchOptions {
            batch_size: 7,
            ..shuffled(1, 0, 2)
        };
        let mut batches = dataset.batches(Split::Train, options).unwrap();
        assert_eq!(batches.by_ref().take(n_taken).count(), n_taken);
    }
    let mut batches = dataset.batches(Split::Test, SEQUENTIAL).unwrap();
    assert_eq!(batches.next().unwrap().unwrap().n, 3);
    assert!(batches.next().is_none() && batches.next().is_none());
}

#[test]
fn a_damaged_block_is_an_error_of_the_pass() {
    let folder = folder(N);
    let whole = batches(folder.path(), SEQUENTIAL);
    let path = folder.path().join("train.pack");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    let mut results = dataset.batches(Split::Train, SEQUENTIAL).unwrap();
    let n_good = 2 * BLOCK_ROWS / 512;
    for expected in &whole[..n_good] {
        assert!(results.next().unwrap().unwrap() == *expected);
    }
    let text = results.next().unwrap().unwrap_err().to_string();
    assert!(text.contains("train.pack: block 2: expected"), "{text}");
    assert!(results.next().is_none());
    for window_blocks in [1, 3] {
        let mut results = dataset
            .batches(Split::Train, shuffled(1, 0, window_blocks))
            .unwrap();
        assert!(results.any(|result| result.is_err()));
    }
}
