//! A file of every version of the format is opened for ever, and gives the rows it was written with.
//!
//! `SLIMBED_WRITE_SAMPLE=v2 cargo test -p slimbed-compact --test versions` writes the file of version 2 anew, and
//! the first inputs of the fuzz target. That is for the time before the release of a version: a file that has
//! been read by others does not change any more, and a new version gets a file of its own.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod forms;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use forms::every_form;
use serde_json::json;
use slimbed_compact::{
    Artefact, Bags, DenseTensor, FieldTable, Isa, Output, Pooling, Scratch, Sharing, Structure,
    Table, write,
};

/// A file with its version.
#[derive(Clone, Copy)]
struct Sample {
    name: &'static str,
    version: u32,
}

const SAMPLES: [Sample; 2] = [
    Sample {
        name: "v1",
        version: 1,
    },
    Sample {
        name: "v2",
        version: 2,
    },
];

/// The kept values of each row, by field and row number.
type Expected = BTreeMap<(String, u32), Vec<(usize, f32)>>;

impl Sample {
    /// The forms that the file was written with: the first one has what there was then, each later one what
    /// was new.
    fn forms(self) -> Vec<FieldTable<'static>> {
        let of_version = |form: &FieldTable<'_>| self.version == if is_later(form) { 2 } else { 1 };
        every_form().into_iter().filter(of_version).collect()
    }

    fn path(self, extension: &str) -> PathBuf {
        in_package(&format!("tests/data/{}.{extension}", self.name))
    }

    fn open(self) -> Artefact {
        static WRITE: Once = Once::new();
        if std::env::var_os("SLIMBED_WRITE_SAMPLE").is_some_and(|name| name == self.name) {
            WRITE.call_once(|| self.write_anew());
        }
        Artefact::open(&self.path("safetensors")).unwrap()
    }

    fn heading(self) -> String {
        let name = self.name;
        format!(
            "# Rows of {name}.safetensors, `field, row: column=value …`; what is not here is 0.\n"
        )
    }

    fn write_anew(self) {
        let path = self.path("safetensors");
        let (model, training) = (json!({"kind": "dlrm"}), json!({"seed": 1}));
        write(&path, &self.forms(), &dense(), model, training).unwrap();
        let rows = decoded(&Artefact::open(&path).unwrap());
        let mut text = self.heading();
        for ((field, row), values) in rows {
            write!(text, "{field}, {row}:").unwrap();
            for (column, value) in values {
                write!(text, " {column}={value}").unwrap();
            }
            text.push('\n');
        }
        fs::write(self.path("txt"), text).unwrap();
        for field in self.forms() {
            let name = format!("fuzz/corpus/{}.safetensors", field.name.replace(' ', "-"));
            write(&in_package(&name), &[field], &[], json!({}), json!({})).unwrap();
        }
    }

    fn expected(self) -> Expected {
        let text = fs::read_to_string(self.path("txt")).unwrap();
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
}

/// Whether a form is not in the first file.
fn is_later(form: &FieldTable<'_>) -> bool {
    let mut parts = form.parts.iter();
    let has_steps = parts.any(|part| part.encoding.structure == Structure::Steps);
    has_steps || form.sharing == Sharing::Cutoff
}

fn dense() -> [DenseTensor<'static>; 1] {
    [DenseTensor {
        name: "top.0.weight",
        shape: &[1, 3],
        values: &[0.5, -2.0, 8.0],
    }]
}

fn in_package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
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

#[test]
fn a_file_of_each_version_opens_and_gives_its_rows() {
    for sample in SAMPLES {
        let artefact = sample.open();
        artefact.verify().unwrap();
        assert_eq!(artefact.manifest().format_version, sample.version);
        assert_eq!(artefact.manifest().model, json!({"kind": "dlrm"}));
        assert_eq!(artefact.manifest().training, json!({"seed": 1}));
        let weights = (&[1, 3][..], &[0.5, -2.0, 8.0][..]);
        assert_eq!(artefact.dense("top.0.weight").unwrap(), weights);
        assert_eq!(artefact.manifest().fields.len(), sample.forms().len());
        assert_eq!(decoded(&artefact), sample.expected());
    }
}

#[test]
fn their_kernels_give_the_same_rows() {
    for sample in SAMPLES {
        let (artefact, expected) = (sample.open(), sample.expected());
        for (f, field) in artefact.manifest().fields.iter().enumerate() {
            for isa in Isa::available() {
                let table = artefact.table(f).unwrap().with_isa(isa);
                check_kernels(&table, &field.name, &expected);
            }
        }
    }
}

fn check_kernels(table: &Table<'_>, name: &str, expected: &Expected) {
    let ids: Vec<u32> = (0..table.n_rows() as u32).collect();
    let mut out = vec![9.0; ids.len() * table.dim()];
    let (values, mut scratch) = (Output::rows(&mut out, table.dim()), Scratch::default());
    table
        .lookup(&Bags::single(&ids), values, &mut scratch)
        .unwrap();
    for (id, row) in ids.iter().zip(out.chunks(table.dim())) {
        let mut wanted = vec![0.0; table.dim()];
        let kept = expected.get(&(name.to_owned(), *id)).into_iter().flatten();
        kept.for_each(|&(column, x)| wanted[column] = x);
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
        assert!(row.iter().zip(&wanted).all(near), "{name} {id}");
    }
}

#[test]
fn they_hold_every_form() {
    let mut n_means = 0;
    for sample in SAMPLES {
        let artefact = sample.open();
        for (entry, form) in artefact.manifest().fields.iter().zip(sample.forms()) {
            let found = (entry.name.as_str(), entry.sharing);
            assert_eq!(found, (form.name, form.sharing));
            assert_eq!((entry.pooling, entry.n_rows), (form.pooling, form.n_rows));
            let found: Vec<_> = entry.parts.iter().map(|part| part.encoding()).collect();
            let wanted: Vec<_> = form.parts.iter().map(|part| part.encoding).collect();
            assert_eq!(found, wanted, "{}", form.name);
            n_means += usize::from(entry.pooling == Pooling::Mean);
        }
    }
    assert!(n_means > 0);
}
