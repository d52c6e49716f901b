//! Round trips and damaged files.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use slimbed_compact::{
    Artefact, ArtefactError, Combine, DenseTensor, Encoding, FieldTable, PartTable, Pooling,
    Projection, Rows, RowsStored, Scratch, Sharing, Structure, Values, write,
};

const ROWS: [f32; 6] = [1.0, -2.0, 3.5, f32::MIN_POSITIVE, -0.0, 7.0];

struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

/// A file with every kind of tensor.
fn sample() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let exact = Encoding::EXACT_DENSE;
    let rows = |values, dim| Rows::new(values, dim).unwrap();
    let sparse = [0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 5.0, 6.0];
    let stored = |structure, rows_stored, values| Encoding {
        rows: rows_stored,
        structure,
        values,
        n_head: 0,
    };
    use RowsStored::{All, Present};
    use Structure::{Bitmap, DenseLines, Positions, Prefix};
    let bitmap = Encoding {
        n_head: 1,
        ..stored(Bitmap, Present, Values::F32)
    };
    let positions = stored(Positions, All, Values::Int4);
    let prefix = stored(Prefix, All, Values::F16);
    let lines = stored(DenseLines, All, Values::Int8);
    let fields = [
        FieldTable::new("C1", rows(&ROWS, 2), exact, Pooling::Sum),
        FieldTable::new("C2", rows(&ROWS[..2], 2), exact, Pooling::Mean),
        FieldTable::new("empty", rows(&[], 2), exact, Pooling::Sum),
        FieldTable::new("bitmap", rows(&sparse, 2), bitmap, Pooling::Sum),
        FieldTable::new("positions", rows(&sparse, 2), positions, Pooling::Sum),
        FieldTable {
            projection: Some(Projection {
                matrix: &ROWS,
                dim: 3,
            }),
            ..FieldTable::new("prefix", rows(&sparse, 2), prefix, Pooling::Sum)
        },
        FieldTable {
            n_rows: 9,
            sharing: Sharing::QuotientRemainder {
                divisor: 4,
                combine: Combine::Sum,
            },
            parts: [&ROWS[..], &sparse]
                .map(|values| PartTable {
                    rows: rows(values, 2),
                    encoding: lines,
                })
                .to_vec(),
            ..FieldTable::new("shared", rows(&ROWS, 2), lines, Pooling::Sum)
        },
    ];
    let dense = [DenseTensor {
        name: "top.0.weight",
        shape: &[1, 3],
        values: &ROWS[..3],
    }];
    write(
        &path,
        &fields,
        &dense,
        json!({"kind": "dlrm"}),
        json!({"seed": 3}),
    )
    .unwrap();
    Written { _dir: dir, path }
}

fn row(artefact: &Artefact, f: usize, id: u32) -> Vec<f32> {
    let table = artefact.table(f).unwrap();
    let mut row = vec![0.0; table.dim()];
    table.row(id, &mut row, &mut Scratch::default()).unwrap();
    row
}

#[test]
fn what_is_written_is_read_back() {
    let sample = sample();
    for artefact in [Artefact::open(&sample.path), Artefact::load(&sample.path)] {
        let artefact = artefact.unwrap();
        artefact.verify().unwrap();
        assert_eq!(row(&artefact, 0, 1), ROWS[2..4]);
        assert_eq!(row(&artefact, 3, 0), [0.0, 0.0]);
        assert_eq!(row(&artefact, 3, 3), [5.0, 6.0]);
        assert_eq!(row(&artefact, 5, 3), [5.0, -10.0, 17.5 + 42.0]);
        assert_eq!(artefact.table(2).unwrap().n_rows(), 0);
        assert_eq!(
            artefact.dense("top.0.weight").unwrap(),
            (&[1, 3][..], &ROWS[..3])
        );
        assert_eq!(artefact.dense_names(), ["top.0.weight"]);
        assert_eq!(
            artefact.n_bytes(),
            fs::metadata(&sample.path).unwrap().len()
        );
        let manifest = artefact.manifest();
        assert_eq!(manifest.fields[1].pooling, Pooling::Mean);
        assert_eq!(manifest.training["seed"], 3);
        let (bitmap, shared) = (&manifest.fields[3].parts[0], &manifest.fields[6]);
        assert_eq!((bitmap.n_rows, bitmap.n_stored, bitmap.n_kept), (4, 3, 3));
        assert_eq!((shared.n_rows, shared.dim), (9, 2));
        assert_eq!(artefact.field_bytes(0), 24);
        let tensors: u64 = artefact.tensors().iter().map(|t| t.n_bytes).sum();
        let fields: u64 = (0..7).map(|f| artefact.field_bytes(f)).sum();
        assert_eq!(tensors, fields + 12);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(
        fs::read(sample().path).unwrap(),
        fs::read(sample().path).unwrap()
    );
}

#[test]
fn every_cut_and_every_flipped_bit_is_found_without_a_panic() {
    let sample = sample();
    let good = fs::read(&sample.path).unwrap();
    let replace = |bytes: &[u8]| {
        // Some file systems wait for the disk when a file is emptied and filled again.
        fs::remove_file(&sample.path).unwrap();
        fs::write(&sample.path, bytes).unwrap();
    };
    let reject = |bytes: &[u8], what: &str| {
        replace(bytes);
        let result = Artefact::open(&sample.path).and_then(|artefact| artefact.verify());
        assert!(result.is_err(), "{what} went unnoticed");
    };
    for end in 0..good.len() {
        reject(&good[..end], &format!("a cut at {end}"));
    }
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize + 8;
    for i in header..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        reject(&bad, &format!("a flipped bit in byte {i}"));
    }
    // A flipped header bit may hit a free text (a name in the training record), so only panics and
    // out-of-bounds reads are excluded there.
    for i in 0..header {
        let mut bad = good.clone();
        bad[i] ^= 0x10;
        replace(&bad);
        let _ = Artefact::open(&sample.path).and_then(|artefact| artefact.verify());
    }
}

/// A safetensors file with the given header.
fn hostile(header: &str, data: &[u8]) -> Result<Artefact, ArtefactError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.safetensors");
    // Spaces up to a multiple of 8, as every writer pads it, so that the values are aligned.
    let header = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    fs::write(&path, bytes).unwrap();
    Artefact::open(&path)
}

#[test]
fn hostile_headers_give_errors() {
    let manifest = |rows: u64| {
        let part = json!({"n_rows": rows, "dim": 2, "rows": "all", "n_stored": rows,
            "n_head": 0,
            "structure": "dense", "values": "f32", "unit_log2": 0, "n_kept": 4, "n_empty": 0});
        let field = json!({"name": "C1", "n_rows": rows, "dim": 2, "pooling": "sum",
            "sharing": {"kind": "none"}, "parts": [part], "projected": false});
        let manifest = json!({"format_version": 1, "fields": [field], "model": {}, "training": {},
            "checksums": {}});
        manifest.to_string()
    };
    let header = |manifest: &str, dtype: &str, shape: [u64; 2], end: u64| {
        json!({"__metadata__": {"slimbed": manifest},
            "table.C1": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}})
        .to_string()
    };
    let check = |header: &str, expected: &str| {
        let error = hostile(header, &[0; 16]).unwrap_err();
        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(text.contains(expected), "{text}");
    };
    hostile(&header(&manifest(2), "F32", [2, 2], 16), &[0; 16]).unwrap();
    check(
        &header(&manifest(2), "F32", [u64::MAX, u64::MAX], 16),
        "not a valid safetensors",
    );
    check(
        &header(&manifest(2), "F32", [1 << 40, 2], 1 << 43),
        "not a valid safetensors",
    );
    check(
        &header(&manifest(3), "F32", [2, 2], 16),
        "expected F32 of shape [3, 2], found F32 of shape [2, 2]",
    );
    check(
        &header(&manifest(2), "I32", [2, 2], 16),
        "expected F32 of shape [2, 2], found I32",
    );
    check(
        &header("{}", "F32", [2, 2], 16),
        "expected 1 to 2, found null",
    );
    check(
        &header("{\"format_version\":99}", "F32", [2, 2], 16),
        "expected 1 to 2, found 99",
    );
    check(
        &header("{\"format_version\":1}", "F32", [2, 2], 16),
        "manifest of version 1",
    );
    check(&header("not json", "F32", [2, 2], 16), "expected JSON");
    let foreign = r#"{"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}"#;
    check(foreign, "expected an artefact's JSON, found nothing");
}

#[test]
fn a_missing_file_is_named() {
    let error = Artefact::open("no/such/file".as_ref()).unwrap_err();
    assert!(error.to_string().contains("no/such/file"));
}

#[test]
fn sizes_and_names_are_checked_before_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    let error = Rows::new(&ROWS[..3], 2).unwrap_err();
    assert!(error.to_string().contains("whole rows"), "{error}");
    let rows = Rows::new(&ROWS, 2).unwrap();
    let field = FieldTable::new("C1", rows, Encoding::EXACT_DENSE, Pooling::Sum);
    let refuse = |fields: &[FieldTable<'_>], expected: &str| {
        let error = write(&path, fields, &[], json!({}), json!({})).unwrap_err();
        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(text.contains(expected), "{text}");
    };
    refuse(&[field.clone(), field.clone()], "one tensor of that name");
    let sharing = Sharing::QuotientRemainder {
        divisor: 2,
        combine: Combine::Sum,
    };
    refuse(
        &[FieldTable { sharing, ..field }],
        "expected 2 parts, found 1",
    );
    let rows = Rows::new(&[1.0, f32::NAN], 2).unwrap();
    let encoding = Encoding {
        values: Values::Int8,
        ..Encoding::EXACT_DENSE
    };
    refuse(
        &[FieldTable::new("C1", rows, encoding, Pooling::Sum)],
        "NotFinite { row: 0, column: 1, value: NaN }",
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
