//! A file of the first version is opened for ever, and gives the rows it was written with.
//!
//! `SLIMBED_WRITE_V1=1 cargo test -p slimbed-compact --test v1` writes the file anew, and with it the first
//! inputs of the fuzz target. That was for the time before the first release: a file of version 1 that has
//! been read by others does not change any more, and a new version gets a file of its own.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod forms;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use forms::every_form;
use serde_json::json;
use slimbed_compact::{
    Artefact, Bags, DenseTensor, FieldTable, Isa, Output, Pooling, Scratch, Sharing, Structure,
    write,
};

const HEADING: &str =
    "# Rows of v1.safetensors, `field, row: column=value …`; what is not here is 0.\n";

/// The kept values of each row, by field and row number.
type Expected = BTreeMap<(String, u32), Vec<(usize, f32)>>;

/// The forms that the file was written with: later ones are not in it.
fn first_forms() -> Vec<FieldTable<'static>> {
    let later = |form: &FieldTable<'_>| {
        let mut parts = form.parts.iter();
        let has_steps = parts.any(|part| part.encoding.structure == Structure::Steps);
        has_steps || form.sharing == Sharing::Cutoff
    };
    every_form()
        .into_iter()
        .filter(|form| !later(form))
        .collect()
}

fn in_package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn open() -> Artefact {
    if std::env::var_os("SLIMBED_WRITE_V1").is_some() {
        write_anew();
    }
    Artefact::open(&in_package("tests/data/v1.safetensors")).unwrap()
}

fn write_anew() {
    let dense = [DenseTensor {
        name: "top.0.weight",
        shape: &[1, 3],
        values: &[0.5, -2.0, 8.0],
    }];
    let path = in_package("tests/data/v1.safetensors");
    let (model, training) = (json!({"kind": "dlrm"}), json!({"seed": 1}));
    write(&path, &first_forms(), &dense, model, training).unwrap();
    let rows = decoded(&Artefact::open(&path).unwrap());
    let mut text = HEADING.to_owned();
    for ((field, row), values) in rows {
        write!(text, "{field}, {row}:").unwrap();
        for (column, value) in values {
            write!(text, " {column}={value}").unwrap();
        }
        text.push('\n');
    }
    fs::write(in_package("tests/data/v1.txt"), text).unwrap();
    for field in every_form() {
        let name = format!("fuzz/corpus/{}.safetensors", field.name.replace(' ', "-"));
        write(&in_package(&name), &[field], &[], json!({}), json!({})).unwrap();
    }
}

fn decoded(artefact: &Artefact) -> Expected {
    let mut all = Expected::new();
    for (f, field) in artefact.manifest().fields.iter().enumerate() {
        let table = artefact.table(f).unwrap();
        let (mut row, mut scratch) = (vec![0.0; table.dim()], Scratch::default());
        for id in 0..table.n_rows() as u32 {
            table.row(id, &mut row, &mut scratch).unwrap();
            let values = row.iter().copied().enumerate().filter(|(_, x)| *x != 0.0);
            let values: Vec<_> = values.collect();
            if !values.is_empty() {
                all.insert((field.name.clone(), id), values);
            }
        }
    }
    all
}

fn expected() -> Expected {
    let text = fs::read_to_string(in_package("tests/data/v1.txt")).unwrap();
    let line = |line: &str| {
        let (place, values) = line.split_once(':').unwrap();
        let (field, row) = place.split_once(", ").unwrap();
        let value = |value: &str| {
            let (column, value) = value.split_once('=').unwrap();
            (column.parse().unwrap(), value.parse().unwrap())
        };
        let values = values.split_whitespace().map(value).collect();
        ((field.to_owned(), row.parse().unwrap()), values)
    };
    text.lines().skip(1).map(line).collect()
}

#[test]
fn a_file_of_the_first_version_opens_and_gives_its_rows() {
    let artefact = open();
    artefact.verify().unwrap();
    assert_eq!(artefact.manifest().format_version, 1);
    assert_eq!(artefact.manifest().model, json!({"kind": "dlrm"}));
    assert_eq!(artefact.manifest().training, json!({"seed": 1}));
    let weights = (&[1, 3][..], &[0.5, -2.0, 8.0][..]);
    assert_eq!(artefact.dense("top.0.weight").unwrap(), weights);
    assert_eq!(artefact.manifest().fields.len(), first_forms().len());
    assert_eq!(decoded(&artefact), expected());
}

#[test]
fn its_kernels_give_the_same_rows() {
    let (artefact, expected) = (open(), expected());
    for (f, field) in artefact.manifest().fields.iter().enumerate() {
        let table = artefact.table(f).unwrap();
        let ids: Vec<u32> = (0..table.n_rows() as u32).collect();
        for isa in Isa::available() {
            let mut out = vec![9.0; ids.len() * table.dim()];
            let (values, mut scratch) = (Output::rows(&mut out, table.dim()), Scratch::default());
            let table = table.clone().with_isa(isa);
            table
                .lookup(&Bags::single(&ids), values, &mut scratch)
                .unwrap();
            for (id, row) in ids.iter().zip(out.chunks(table.dim())) {
                let mut wanted = vec![0.0; table.dim()];
                let kept = expected.get(&(field.name.clone(), *id));
                kept.into_iter()
                    .flatten()
                    .for_each(|&(column, x)| wanted[column] = x);
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
                assert!(
                    row.iter().zip(&wanted).all(near),
                    "{} {id} {isa:?}",
                    field.name
                );
            }
        }
    }
}

#[test]
fn it_holds_every_form() {
    let artefact = open();
    for (entry, form) in artefact.manifest().fields.iter().zip(first_forms()) {
        assert_eq!(
            (entry.name.as_str(), entry.sharing),
            (form.name, form.sharing)
        );
        assert_eq!((entry.pooling, entry.n_rows), (form.pooling, form.n_rows));
        let found: Vec<_> = entry.parts.iter().map(|part| part.encoding()).collect();
        let wanted: Vec<_> = form.parts.iter().map(|part| part.encoding).collect();
        assert_eq!(found, wanted, "{}", form.name);
    }
    let means = artefact
        .manifest()
        .fields
        .iter()
        .filter(|f| f.pooling == Pooling::Mean);
    assert!(means.count() > 0);
}
