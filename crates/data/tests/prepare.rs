//! What `prepare` writes is what a naive reading of the same lines gives, for any form of the input.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod toy;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use slimbed_data::{
    BatchOptions, DataError, Dataset, MISSING, Order, Pass, PrepareOptions, Progress, Split,
    Splitter, prepare,
};
use tempfile::tempdir;
use toy::{FILE_ORDER, RANDOM, SEED};

/// Label, price, shift and the ids of site and age.
type Row = (f32, f32, f32, u32, u32);

/// The rows of each split and the vocabulary's counts of each field.
#[derive(Debug, PartialEq)]
struct Prepared {
    rows: [Vec<Row>; 3],
    counts: [Vec<u64>; 2],
}

fn number(cell: &str) -> f64 {
    if cell.is_empty() {
        0.0
    } else {
        cell.parse().unwrap()
    }
}

/// The category of a cell, empty ones included.
fn key(cell: &str, read: impl Fn(&str) -> u64) -> u64 {
    if cell.is_empty() { MISSING } else { read(cell) }
}

fn keys(line: &str) -> [u64; 2] {
    let cells: Vec<&str> = line.split('\t').collect();
    let age = |cell: &str| match number(cell) {
        v if v > 2.0 => v.ln().powi(2) as u64,
        v => (v.floor() as i64 - 2) as u64,
    };
    let site = |cell: &str| u64::from_str_radix(cell, 16).unwrap();
    [key(cells[0], site), key(cells[5], age)]
}

/// The keys of a field from id 1 on, and the counts from row 0 on.
fn ranked(train: &[[u64; 2]], field: usize, min_count: u64) -> (Vec<u64>, Vec<u64>) {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for keys in train {
        *counts.entry(keys[field]).or_default() += 1;
    }
    let mut kept: Vec<_> = counts.into_iter().filter(|kv| kv.1 >= min_count).collect();
    kept.sort_by_key(|&(key, count)| (Reverse(count), key));
    let oov = train.len() as u64 - kept.iter().map(|kv| kv.1).sum::<u64>();
    let all = std::iter::once(oov).chain(kept.iter().map(|kv| kv.1));
    (kept.iter().map(|kv| kv.0).collect(), all.collect())
}

fn naive(lines: &[String], splits: &[Split], min_count: u64) -> Prepared {
    let pairs = lines.iter().zip(splits);
    let is_train = pairs.clone().filter(|(_, split)| **split == Split::Train);
    let train: Vec<_> = is_train.map(|(line, _)| keys(line)).collect();
    let fields = [0, 1].map(|field| ranked(&train, field, min_count));
    let id = |field: usize, key: u64| {
        let place = fields[field].0.iter().position(|&other| other == key);
        place.map_or(0, |place| place as u32 + 1)
    };
    let mut rows = [vec![], vec![], vec![]];
    for (line, &split) in pairs {
        let cells: Vec<&str> = line.split('\t').collect();
        let [site, age] = keys(line);
        rows[split as usize].push((
            number(cells[1]) as f32,
            number(cells[2]).max(0.0).ln_1p() as f32,
            number(cells[4]) as f32,
            id(0, site),
            id(1, age),
        ));
    }
    let counts = fields.map(|field| field.1);
    Prepared { rows, counts }
}

/// What was prepared, read back in order.
fn read(folder: &Path) -> Prepared {
    let dataset = Dataset::open(folder).unwrap();
    let options = BatchOptions {
        batch_size: 13,
        order: Order::Sequential,
        start_batch: 0,
        prefetch: 2,
    };
    let rows = Split::ALL.map(|split| {
        let mut rows: Vec<Row> = Vec::new();
        for batch in dataset.batches(split, options).unwrap() {
            let b = batch.unwrap();
            let ids = |field: usize, i: usize| b.fields[field].ids[i];
            rows.extend((0..b.n).map(|i| {
                let (price, shift) = (b.dense[2 * i], b.dense[2 * i + 1]);
                (b.labels[i], price, shift, ids(0, i), ids(1, i))
            }));
        }
        rows
    });
    let vocabulary = dataset.vocabulary().unwrap();
    let counts = [0, 1].map(|field| vocabulary.fields()[field].counts().to_vec());
    Prepared { rows, counts }
}

fn check(lines: &[String], rule: &str, min_count: u64) {
    let folder = tempdir().unwrap();
    let recipe = toy::recipe(rule, min_count);
    let inputs = toy::write(folder.path(), &[("a.txt", lines.join("\n").as_bytes())]);
    let out = folder.path().join("out");
    let n = lines.len() as u64;
    let splits = Splitter::new(&recipe.split, SEED, n).unwrap().splits(0..n);
    let expected = naive(lines, &splits, min_count);
    let positives = |rows: &Vec<Row>| rows.iter().filter(|row| row.0 == 1.0).count();
    let lacks_rows = expected.rows.iter().any(Vec::is_empty);
    let one_class = |rows: &Vec<Row>| [0, rows.len()].contains(&positives(rows));
    match toy::run(&recipe, &inputs, &out, 0) {
        Ok(report) => {
            assert_eq!(read(&out), expected);
            for (info, rows) in report.meta.splits.iter().zip(&expected.rows) {
                let found = (info.n_rows as usize, info.n_positives as usize);
                assert_eq!(found, (rows.len(), positives(rows)), "{}", info.name);
            }
        }
        Err(DataError::EmptySplit { .. }) => assert!(lacks_rows),
        Err(DataError::OneClass { .. }) => assert!(expected.rows.iter().any(one_class)),
        Err(other) => panic!("{other}"),
    }
}

/// A line with rare and frequent ids, empty cells and negative numbers.
fn line() -> impl Strategy<Value = String> {
    let site = prop_oneof![
        Just(String::new()),
        (0u32..4).prop_map(|id| format!("{id:08x}")),
        (0u32..60).prop_map(|id| format!("{:X}", id * 70_000_000)),
    ];
    let amount = prop_oneof![
        Just(String::new()),
        (-50i64..50).prop_map(|n| n.to_string()),
        (-1e3f64..1e10).prop_map(|n| n.to_string()),
    ];
    let cells = (site, 0..2, amount.clone(), amount.clone(), amount);
    cells.prop_map(|(site, label, price, shift, age)| {
        format!("{site}\t{label}\t{price}\tno number\t{shift}\t{age}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn prepare_is_a_naive_reading(
        lines in prop::collection::vec(line(), 1..200),
        min_count in 1u64..=4,
    ) {
        check(&lines, RANDOM, min_count);
        check(&lines, FILE_ORDER, min_count);
    }
}

/// More than two chunks of 4 MB; the last line has no line end.
fn large() -> Vec<String> {
    let line = |i: u32| {
        let (site, age) = (i.wrapping_mul(2_654_435_761) >> 18, i % 97);
        let (label, price, padding) = (u32::from(i % 5 == 3), i % 31, "x".repeat(280));
        format!("{site:x}\t{label}\t{price}\t{padding}\t-{age}\t{age}")
    };
    (0..30_000).map(line).collect()
}

/// Names and bytes of input files.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// The bytes of every file made, by name; `meta.json` without its list of inputs.
fn outputs(rule: &str, files: Files<'_>, n_threads: usize) -> BTreeMap<String, Vec<u8>> {
    let folder = tempdir().unwrap();
    let inputs = toy::write(folder.path(), files);
    let out = folder.path().join("out");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
    let prepared = || toy::run(&toy::recipe(rule, 2), &inputs, &out, 0).unwrap();
    let n_inputs = pool.build().unwrap().install(prepared).meta.inputs.len();
    assert_eq!(n_inputs, files.len());
    let entries = std::fs::read_dir(&out).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), bytes)
    });
    let mut all: BTreeMap<_, _> = entries.collect();
    let mut meta: serde_json::Value = serde_json::from_slice(&all["meta.json"]).unwrap();
    assert!(meta.as_object_mut().unwrap().remove("inputs").is_some());
    all.insert("meta.json".into(), meta.to_string().into_bytes());
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_form_of_the_input_and_the_threads_do_not_matter() {
    let lines = large();
    let text = lines.join("\n").into_bytes();
    let (first, second) = text.split_at(lines[..12_345].join("\n").len() + 1);
    let members = [gzip(&text[..5_000_001]), gzip(&text[5_000_001..])].concat();
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    let crlf = lines.join("\r\n").into_bytes();
    let forms: [(&str, Files); 6] = [
        ("gzip", &[("a.gz", &gzip(&text))]),
        ("gzip of two members", &[("a.gz", &members)]),
        ("zstd", &[("a.zst", &zstd)]),
        ("CRLF", &[("a.txt", &crlf)]),
        ("two files", &[("a.txt", first), ("b.txt", second)]),
        ("two files, one gzip", &[("a", first), ("b", &gzip(second))]),
    ];
    for rule in [RANDOM, FILE_ORDER] {
        let expected = outputs(rule, &[("a.txt", &text)], 1);
        assert_eq!(expected.len(), 5);
        assert!(expected == outputs(rule, &[("a.txt", &text)], 3), "threads");
        for (form, files) in forms {
            assert!(expected == outputs(rule, files, 2), "{form}");
        }
    }
}

#[test]
fn a_file_of_many_chunks_is_a_naive_reading() {
    check(&large(), RANDOM, 3);
    check(&large(), FILE_ORDER, 1);
}

#[test]
fn the_vocabulary_counts_training_rows_only() {
    let lines: Vec<String> = (0..40)
        .map(|i| format!("{:x}\t{}\t\t\t\t5", i / 10, i % 2))
        .collect();
    let splitter = Splitter::new(&toy::recipe(FILE_ORDER, 1).split, SEED, 40).unwrap();
    let splits = splitter.splits(0..40);
    let prepared = naive(&lines, &splits, 1);
    assert_eq!(prepared.counts, [vec![0, 10, 10], vec![0, 20]]);
    // Sites 2 and 3 are seen in test and validation only.
    assert!(
        prepared.rows[1]
            .iter()
            .chain(&prepared.rows[2])
            .all(|row| row.3 == 0)
    );
    check(&lines, FILE_ORDER, 1);
}

#[test]
fn inputs_are_described_by_name_size_and_checksum() {
    let folder = tempdir().unwrap();
    let text = large().join("\n").into_bytes();
    let inputs = toy::write(folder.path(), &[("a.gz", &gzip(&text))]);
    let out = folder.path().join("new/out");
    let report = toy::run(&toy::recipe(RANDOM, 1), &inputs, &out, 0).unwrap();
    let stored = std::fs::read(&inputs[0]).unwrap();
    let input = &report.meta.inputs[0];
    let xxh3 = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&stored));
    assert_eq!((&*input.file, input.n_bytes), ("a.gz", stored.len() as u64));
    assert_eq!(input.xxh3, xxh3);
    let dataset = Dataset::open(&out).unwrap();
    assert_eq!(dataset.meta(), &report.meta);
    assert!(dataset.verify(&|_| {}).is_ok());
}

#[test]
fn a_vocabulary_of_another_data_set_is_found() {
    let folder = tempdir().unwrap();
    let inputs = toy::write(folder.path(), &[("a.txt", large().join("\n").as_bytes())]);
    let [first, second] = [1, 50].map(|min_count| {
        let out = folder.path().join(min_count.to_string());
        toy::run(&toy::recipe(RANDOM, min_count), &inputs, &out, 0).unwrap();
        out
    });
    let name = "vocabulary.bin";
    std::fs::copy(first.join(name), second.join(name)).unwrap();
    let error = Dataset::open(&second).unwrap().verify(&|_| {}).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("vocabulary.bin: rows and out-of-"),
        "{error}"
    );
}

#[test]
fn progress_ends_at_the_size_of_the_input() {
    let folder = tempdir().unwrap();
    let lines = large();
    let text = lines.join("\n").into_bytes();
    let inputs = toy::write(folder.path(), &[("a", &text), ("b.gz", &gzip(&text))]);
    let size = |path| std::fs::metadata(path).unwrap().len();
    let n_bytes = inputs.iter().map(size).sum::<u64>();
    let options = PrepareOptions {
        seed: SEED,
        max_bad_rows: 0,
    };
    let last = RefCell::new(Vec::<Progress>::new());
    let tell = |at: Progress| {
        let mut last = last.borrow_mut();
        last.retain(|before| before.pass != at.pass);
        last.push(at);
    };
    let out = folder.path().join("out");
    prepare(&toy::recipe(FILE_ORDER, 1), &inputs, &out, &options, &tell).unwrap();
    let expected = [Pass::Lines, Pass::Vocabulary, Pass::Encode].map(|pass| Progress {
        pass,
        bytes: n_bytes,
        total_bytes: n_bytes,
        lines: 2 * lines.len() as u64,
    });
    assert_eq!(*last.borrow(), expected);
}
