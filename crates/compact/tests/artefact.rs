//! Round trips and damaged files.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use slimbed_compact::{Artefact, ArtefactError, DenseTensor, FieldTable, Pooling, write};

const ROWS: [f32; 6] = [1.0, -2.0, 3.5, f32::MIN_POSITIVE, -0.0, 7.0];

struct Sample {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let fields = [
        FieldTable {
            name: "C1",
            rows: &ROWS,
            dim: 2,
            pooling: Pooling::Sum,
        },
        FieldTable {
            name: "C2",
            rows: &ROWS[..2],
            dim: 2,
            pooling: Pooling::Mean,
        },
        FieldTable {
            name: "empty",
            rows: &[],
            dim: 2,
            pooling: Pooling::Sum,
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
    Sample { _dir: dir, path }
}

#[test]
fn what_is_written_is_read_back() {
    let sample = sample();
    let artefact = Artefact::open(&sample.path).unwrap();
    artefact.verify().unwrap();
    assert_eq!(artefact.rows(0).unwrap(), ROWS);
    assert_eq!(artefact.rows(1).unwrap(), &ROWS[..2]);
    assert!(artefact.rows(2).unwrap().is_empty());
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
    let parts: u64 = artefact.parts().iter().map(|part| part.n_bytes).sum();
    assert_eq!(parts, 6 * 4 + 2 * 4 + 3 * 4);
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
    let reject = |bytes: &[u8], what: &str| {
        fs::write(&sample.path, bytes).unwrap();
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
        fs::write(&sample.path, &bad).unwrap();
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
        let field = json!({"name": "C1", "n_rows": rows, "dim": 2, "pooling": "sum",
            "encoding": "dense", "values": "f32"});
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
        "expected shape [3, 2], found shape [2, 2]",
    );
    check(
        &header(&manifest(2), "I32", [2, 2], 16),
        "expected type F32, found I32",
    );
    check(&header("{}", "F32", [2, 2], 16), "expected 1, found null");
    check(
        &header("{\"format_version\":99}", "F32", [2, 2], 16),
        "expected 1, found 99",
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
    let field = FieldTable {
        name: "C1",
        rows: &ROWS[..3],
        dim: 2,
        pooling: Pooling::Sum,
    };
    let error = write(&path, &[field], &[], json!({}), json!({})).unwrap_err();
    assert!(error.to_string().contains("table.C1"), "{error}");
    let field = FieldTable {
        rows: &ROWS,
        ..field
    };
    let error = write(&path, &[field, field], &[], json!({}), json!({})).unwrap_err();
    assert!(
        error.to_string().contains("one tensor of that name"),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
