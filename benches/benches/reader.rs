//! Raw rows parsed, by format: the same table as lines between tabs, as CSV without and with quotes around
//! every cell, and as libFFM.
//!
//! Shape: 60,000 rows of a label, 13 small integers and 26 categories of 8 hexadecimal digits, as Criteo
//! has them. Files are plain and in the system's cache; all threads of rayon's pool; throughput in bytes
//! of the file.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slimbed_data::{Recipe, RowReader};
use slimbed_rng::Seed;

const N_ROWS: usize = 60_000;
const N_DENSE: usize = 13;
const N_FIELDS: usize = 26;

criterion_group!(benches, bench_formats);
criterion_main!(benches);

fn bench_formats(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = rows();
    let mut group = c.benchmark_group("reader");
    group.sample_size(10);
    for (name, recipe, text) in [
        ("tsv", tsv_recipe(), separated(&rows, "\t", "")),
        ("csv", csv_recipe(), with_header(separated(&rows, ",", ""))),
        (
            "csv, quoted",
            csv_recipe(),
            with_header(separated(&rows, ",", "\"")),
        ),
        ("libffm", ffm_recipe(), features(&rows)),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &text).expect("room for the file");
        let recipe = Recipe::parse(&recipe, Path::new("bench.toml")).expect("a good recipe");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| assert_eq!(parse(&recipe, &path), N_ROWS));
        });
    }
    group.finish();
}

/// Reads a file to its end; its rows.
fn parse(recipe: &Recipe, path: &Path) -> usize {
    let inputs: [PathBuf; 1] = [path.to_owned()];
    let mut reader = RowReader::open(recipe, &inputs, 0).expect("a file that is there");
    let mut n_rows = 0;
    while let Some(group) = reader.next_group().expect("good rows") {
        n_rows += group.iter().map(|rows| rows.lines.len()).sum::<usize>();
        black_box(group);
    }
    n_rows
}

/// The cells of each row.
fn rows() -> Vec<Vec<String>> {
    let mut stream = Seed::new(20_261_122).stream("bench/reader", 0);
    let row = |_| {
        let mut cells = vec![stream.below(2).to_string()];
        cells.extend((0..N_DENSE).map(|_| stream.below(1000).to_string()));
        cells.extend((0..N_FIELDS).map(|_| format!("{:08x}", stream.below(1 << 32))));
        cells
    };
    (0..N_ROWS).map(row).collect()
}

fn separated(rows: &[Vec<String>], separator: &str, quote: &str) -> String {
    let cell = |cell: &String| format!("{quote}{cell}{quote}");
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().map(cell).collect();
        cells.join(separator) + "\n"
    };
    rows.iter().map(line).collect()
}

fn with_header(rows: String) -> String {
    let dense = (1..=N_DENSE).map(|i| format!("I{i}"));
    let names: Vec<_> = dense
        .chain((1..=N_FIELDS).map(|i| format!("C{i}")))
        .collect();
    format!("label,{}\n{rows}", names.join(","))
}

fn features(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| {
        let feature = |(f, cell): (usize, &String)| match f < N_DENSE {
            true => format!("{f}:0:{cell}"),
            false => format!("{f}:{}:1", u32::from_str_radix(cell, 16).expect("digits")),
        };
        let features: Vec<_> = row[1..].iter().enumerate().map(feature).collect();
        format!("{} {}\n", row[0], features.join(" "))
    };
    rows.iter().map(line).collect()
}

const SPLIT: &str =
    "[split]\nkind = \"random\"\nshares = { train = 8, validation = 1, test = 1 }\n";

fn tsv_recipe() -> String {
    format!(
        "name = \"bench\"\nformat = \"tsv\"\nn_columns = 40\n[label]\ncolumn = 1\n\
         [[dense]]\ncolumns = \"2-14\"\nnames = \"I1-I13\"\ntransform = \"log1p\"\n\
         [[fields]]\ncolumns = \"15-40\"\nnames = \"C1-C26\"\nkind = \"hex\"\n{SPLIT}"
    )
}

fn csv_recipe() -> String {
    format!(
        "name = \"bench\"\nformat = \"csv\"\n[label]\ncolumn = \"label\"\n\
         [[dense]]\nnames = \"I1-I13\"\ntransform = \"log1p\"\n\
         [[fields]]\nnames = \"C1-C26\"\nkind = \"hex\"\n{SPLIT}"
    )
}

fn ffm_recipe() -> String {
    format!(
        "name = \"bench\"\nformat = \"libffm\"\n[label]\n\
         [[dense]]\nnumbers = \"0-12\"\nnames = \"I1-I13\"\ntransform = \"log1p\"\n\
         [[fields]]\nnumbers = \"13-38\"\nnames = \"C1-C26\"\n{SPLIT}"
    )
}
