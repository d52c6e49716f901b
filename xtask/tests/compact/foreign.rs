//! Safetensors files that somebody else wrote.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use slimbed_compact::{Artefact, Pooling};
use tempfile::TempDir;

use super::{result, rows, xtask};

/// A safetensors file, written by hand: name, type, shape and bytes of each tensor.
pub fn safetensors(path: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert((*name).to_owned(), entry);
        data.extend_from_slice(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], &header, &data].concat()).unwrap();
}

pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The upper halves of f32.
pub fn bf16s(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|x| (x.to_bits() >> 16) as u16);
    halves.flat_map(u16::to_le_bytes).collect()
}

pub const NAMES: &str = r#"[[field]]
name = "C1"
tensor = "emb_l.0.weight"
pooling = "mean"
[[field]]
name = "C2"
tensor = "emb_l.1.weight"
[[weight]]
name = "top.0.weight"
tensor = "top_l.0.weight"
"#;

pub const C1: [f32; 6] = [0.5, -0.25, 0.125, 3.0, -0.01, 0.0];
pub const C2: [f32; 4] = [1.5, -2.0, 0.25, 0.0];

/// A folder with two tables and two weights of somebody else.
pub fn theirs() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    safetensors(
        &path.join("theirs.safetensors"),
        &[
            ("emb_l.0.weight", "F32", &[3, 2], f32s(&C1)),
            ("emb_l.1.weight", "BF16", &[2, 2], bf16s(&C2)),
            ("top_l.0.weight", "F32", &[1, 2], f32s(&[7.0, 8.0])),
            ("bot_l.0.bias", "I64", &[1], vec![0; 8]),
        ],
    );
    fs::write(path.join("names.toml"), NAMES).unwrap();
    (folder, path)
}

pub const THEIRS: [&str; 4] = ["compact", "theirs.safetensors", "--names", "names.toml"];

#[test]
fn a_file_that_somebody_else_trained_is_compacted() {
    let (_folder, path) = theirs();
    let exact = ["--values", "f32", "--out", "exact.safetensors"];
    let report = result(&path, &[&THEIRS[..], &exact].concat());
    let out = path.join("exact.safetensors");
    assert_eq!((rows(&out, 0), rows(&out, 1)), (C1.to_vec(), C2.to_vec()));
    let artefact = Artefact::open(&out).unwrap();
    let weight = artefact.dense("top.0.weight").unwrap();
    assert_eq!(weight, (&[1, 2][..], &[7.0, 8.0][..]));
    let pooling: Vec<_> = artefact
        .manifest()
        .fields
        .iter()
        .map(|f| f.pooling)
        .collect();
    assert_eq!(pooling, [Pooling::Mean, Pooling::Sum]);
    assert!(report["card"]["quality"].is_null());
    assert_eq!(report["card"]["dense_bytes"], 4 * (6 + 4 + 2));
    let text = xtask(
        &path,
        &[&THEIRS[..], &["--out", "int8.safetensors"]].concat(),
    );
    let (text, notes) = (
        text.stdout,
        String::from_utf8_lossy(&text.stderr).into_owned(),
    );
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("No metrics: they take a model"), "{text}");
    assert!(text.contains("C1: 3 x 2, 83.3% kept, bound"), "{text}");
    assert!(notes.contains("1 tensors of theirs.safetensors"), "{notes}");
}

#[test]
fn values_of_a_foreign_file_are_dropped_by_threshold_or_mask() {
    let (_folder, path) = theirs();
    let drop = |arguments: &[&str]| {
        let exact = ["--values", "f32", "--out", "dropped.safetensors"];
        result(&path, &[&THEIRS[..], arguments, &exact].concat());
        let out = path.join("dropped.safetensors");
        (rows(&out, 0), rows(&out, 1))
    };
    let (c1, c2) = drop(&["--threshold", "0.25"]);
    assert_eq!(c1, [0.5, -0.25, 0.0, 3.0, 0.0, 0.0]);
    assert_eq!(c2, C2);
    let (c1, c2) = drop(&["--sparsity", "0.5"]);
    assert_eq!(c1, [0.5, 0.0, 0.0, 3.0, 0.0, 0.0]);
    assert_eq!(c2, [1.5, -2.0, 0.25, 0.0]);
    safetensors(
        &path.join("masks.safetensors"),
        &[
            ("C1", "U8", &[3, 2], vec![1, 0, 2, 0, 1, 1]),
            ("C2", "BOOL", &[2, 2], vec![0, 1, 0, 1]),
        ],
    );
    let (c1, c2) = drop(&["--masks", "masks.safetensors"]);
    assert_eq!(c1, [0.5, 0.0, 0.125, 0.0, -0.01, 0.0]);
    assert_eq!(c2, [0.0, -2.0, 0.0, 0.0]);
}
