//! `compact` through the real binary: of a run, of an artefact, of somebody else's file, and of bad input.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use slimbed_compact::{Artefact, Pooling, Scratch};
use tempfile::TempDir;

/// A finished run, made once.
struct World {
    folder: TempDir,
    report: Value,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let report = result(folder.path(), &train("run"));
        World { folder, report }
    })
}

fn train(name: &str) -> Vec<&str> {
    let mut arguments = vec![
        "train", "--method", "none", "--rows", "20000", "--seed", "3", "--name", name,
    ];
    for setting in [
        "model.bottom=[32]",
        "model.top=[32]",
        "train.schedule=constant",
        "train.validate_every=20",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments
}

fn xtask(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// The JSON of a command that has to succeed.
fn result(folder: &Path, arguments: &[&str]) -> Value {
    let output = xtask(folder, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Expects exit code 2, all of `expected` in the message, and no file at `out.safetensors`.
#[track_caller]
fn check_refused(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let output = xtask(folder, &[arguments, &["--out", "out.safetensors"]].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in expected {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().contains("out."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_run_is_compacted_from_its_exact_rows() {
    let world = world();
    let folder = world.folder.path();
    let card = &world.report["card"];
    let again = result(
        folder,
        &["compact", "runs/run", "--out", "int8.safetensors"],
    );
    // The checkpoint gives the rows that the run has shipped, so the tables are the same.
    for path in ["/bytes_before", "/parts/tables", "/quality"] {
        assert_eq!(again["card"].pointer(path), card.pointer(path), "{path}");
    }
    let arguments = [
        "compact", "runs/run", "--values", "int4", "--prefer", "size",
    ];
    let report = result(
        folder,
        &[&arguments[..], &["--out", "int4.safetensors"]].concat(),
    );
    let bytes = fs::metadata(folder.join("int4.safetensors")).unwrap().len();
    assert_eq!(report["card"]["bytes"], bytes);
    assert!(number(&report["card"]["parts"]["tables"]) < number(&card["parts"]["tables"]));
    let data = world.report["data_dir"].as_str().unwrap();
    let evaluated = result(folder, &["eval", "int4.safetensors", "--data", data]);
    assert_eq!(
        evaluated["metrics"]["auc"],
        report["card"]["quality"]["test"]["auc"]
    );
    let inspected = result(folder, &["inspect", "int4.safetensors", "--verify"]);
    assert_eq!(inspected["artefact_bytes"], bytes);
    let fields = report["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 26);
    for (field, stored) in fields.iter().zip(inspected["fields"].as_array().unwrap()) {
        assert_eq!(field["taken"], stored["encoding"]);
        assert_eq!(field["bytes"], stored["bytes"]);
        let bound = number(&field["bound_value_bytes"]) + number(&field["bound_mask_bytes"]);
        assert!(number(&field["bytes"]) >= bound, "{field}");
        let candidates = field["candidates"].as_array().unwrap();
        let smallest = candidates
            .iter()
            .map(|c| number(&c["bytes"]))
            .fold(f64::MAX, f64::min);
        assert!(number(&field["bytes"]) <= smallest + 32.0, "{field}");
    }
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let hidden = names.filter(|name| name.to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn types_are_selected_within_a_tolerance() {
    let world = world();
    let folder = world.folder.path();
    let tolerances = [("0.01", "t1.safetensors"), ("0.00001", "t2.safetensors")];
    let sizes = tolerances.map(|(tolerance, out)| {
        let arguments = [
            "compact",
            "runs/run",
            "--max-auc-drop",
            tolerance,
            "--out",
            out,
        ];
        let report = result(folder, &arguments);
        let quality = &report["card"]["quality"]["validation"];
        let drop = number(&quality["auc_before"]) - number(&quality["auc"]);
        assert!(drop <= tolerance.parse().unwrap(), "{drop}");
        let selection = &report["selection"];
        assert!((number(&selection["auc"]) - number(&quality["auc"])).abs() < 1e-9);
        let n = number(&selection["n_evaluations"]);
        assert!(n <= 4.0 + 3.0 * (26.0 + 5.0), "{n}");
        number(&report["card"]["bytes"])
    });
    assert!(sizes[0] <= sizes[1], "{sizes:?}");
    check_refused(
        folder,
        &[
            "compact",
            "runs/run",
            "--max-auc-drop",
            "0.000001",
            "--sparsity",
            "1",
        ],
        &["max_auc_drop", "dropped values alone lose more"],
    );
}

#[test]
fn kept_exact_rows_need_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let exact = [
        "--set",
        "export.keep_exact=true",
        "--set",
        "export.max_auc_drop=0.001",
    ];
    let report = result(folder, &[train("kept").as_slice(), &exact].concat());
    let quality = &report["card"]["quality"]["validation"];
    assert!(number(&quality["auc_before"]) - number(&quality["auc"]) <= 0.001);
    let kept = folder.join("runs/kept/export/exact.safetensors");
    assert_eq!(
        report["card"]["bytes_before"],
        fs::metadata(kept).unwrap().len()
    );
    fs::remove_dir_all(folder.join("runs/kept/ckpt")).unwrap();
    let arguments = [
        "compact",
        "runs/kept",
        "--values",
        "f32",
        "--out",
        "f32.safetensors",
    ];
    let f32 = result(folder, &arguments);
    let quality = &f32["card"]["quality"]["test"];
    assert_eq!(quality["auc"], quality["auc_before"], "f32 is exact");
    let inside = [
        "compact",
        "runs/kept",
        "--out",
        "runs/kept/export/exact.safetensors",
    ];
    let output = xtask(folder, &inside);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("expected another file"), "{message}");
}

#[test]
fn an_artefact_is_pruned_to_the_share_asked_for() {
    let world = world();
    let folder = world.folder.path();
    let (file, data) = (
        "runs/run/export/model.safetensors",
        &world.report["data_dir"],
    );
    let base = [
        "compact",
        file,
        "--sparsity",
        "0.9",
        "--data",
        data.as_str().unwrap(),
    ];
    let sum = |report: &Value, of: &dyn Fn(&Value) -> f64| -> f64 {
        report["fields"].as_array().unwrap().iter().map(of).sum()
    };
    let kept = |field: &Value| number(&field["n_kept"]);
    let values = |field: &Value| number(&field["n_rows"]) * number(&field["dim"]);
    let all = result(folder, &[&base[..], &["--out", "all.safetensors"]].concat());
    let n_values = sum(&all, &values);
    assert_eq!(sum(&all, &kept), n_values - (0.9 * n_values).round());
    assert!(number(&all["card"]["bytes"]) < number(&all["card"]["bytes_before"]));
    let quality = &all["card"]["quality"]["test"];
    assert_eq!(quality["auc_before"], world.report["test_auc"]);
    assert_ne!(quality["auc"], quality["auc_before"]);
    let each = ["--each-field", "--out", "each.safetensors"];
    let each = result(folder, &[&base[..], &each].concat());
    for field in each["fields"].as_array().unwrap() {
        assert_eq!(
            kept(field),
            values(field) - (0.9 * values(field)).round(),
            "{field}"
        );
    }
    // Without data there are bytes only.
    let bare = result(folder, &["compact", file, "--out", "bare.safetensors"]);
    assert!(bare["card"]["quality"].is_null() && bare["card"]["lookups"].is_null());
    let others = [
        "train",
        "--method",
        "none",
        "--rows",
        "5000",
        "--set",
        "model.dim=2",
        "--name",
        "other",
    ];
    let constant = ["--set", "train.schedule=constant", "--set", "model.top=[4]"];
    let others = result(folder, &[others.as_slice(), &constant].concat());
    check_refused(
        folder,
        &[
            "compact",
            file,
            "--data",
            others["data_dir"].as_str().unwrap(),
        ],
        &["the data has", "the model expects"],
    );
    check_refused(
        folder,
        &["compact", file, "--max-auc-drop", "0.1"],
        &["--max-auc-drop", "--data"],
    );
}

/// A safetensors file, written by hand: name, type, shape and bytes of each tensor.
fn safetensors(path: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)]) {
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

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The upper halves of f32.
fn bf16s(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|x| (x.to_bits() >> 16) as u16);
    halves.flat_map(u16::to_le_bytes).collect()
}

const NAMES: &str = r#"[[field]]
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

const C1: [f32; 6] = [0.5, -0.25, 0.125, 3.0, -0.01, 0.0];
const C2: [f32; 4] = [1.5, -2.0, 0.25, 0.0];

/// A folder with two tables and two weights of somebody else.
fn theirs() -> (TempDir, PathBuf) {
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

const THEIRS: [&str; 4] = ["compact", "theirs.safetensors", "--names", "names.toml"];

/// The rows of table `f` of an artefact.
fn rows(path: &Path, f: usize) -> Vec<f32> {
    let artefact = Artefact::open(path).unwrap();
    artefact.verify().unwrap();
    let table = artefact.table(f).unwrap();
    let mut rows = vec![0.0; table.n_rows() as usize * table.dim()];
    for (id, row) in rows.chunks_mut(table.dim()).enumerate() {
        table.row(id as u32, row, &mut Scratch::default()).unwrap();
    }
    rows
}

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

#[test]
fn bad_names_and_masks_are_refused() {
    let (_folder, path) = theirs();
    let names = |text: &str, expected: &[&str]| {
        fs::write(path.join("bad.toml"), text).unwrap();
        let arguments = ["compact", "theirs.safetensors", "--names", "bad.toml"];
        check_refused(&path, &arguments, expected);
    };
    let replaced = |from: &str, to: &str| {
        assert!(NAMES.contains(from));
        NAMES.replacen(from, to, 1)
    };
    let missing = [
        "theirs.safetensors",
        "`emb_l.7.weight`",
        "expected a tensor",
        "`emb_l.0.weight`",
    ];
    names(&replaced("emb_l.0", "emb_l.7"), &missing);
    let integers = [
        "`bot_l.0.bias`",
        "expected type F32, F16 or BF16, found I64",
    ];
    names(&replaced("emb_l.0.weight", "bot_l.0.bias"), &integers);
    names(
        &replaced("\"C2\"", "\"C1\""),
        &["fields of different names", "`C1`"],
    );
    names(&replaced("mean", "max"), &["bad.toml:4:", "max"]);
    names(
        &replaced("tensor =", "tensro ="),
        &["bad.toml:3:", "tensro"],
    );
    names("field = []", &["expected a [[field]]"]);
    let masks = |tensors: &[(&str, &str, &[usize], Vec<u8>)], expected: &[&str]| {
        safetensors(&path.join("masks.safetensors"), tensors);
        let masks = ["--masks", "masks.safetensors"];
        check_refused(&path, &[&THEIRS[..], &masks].concat(), expected);
    };
    let c1 = ("C1", "U8", &[3, 2][..], vec![1; 6]);
    let c2 = ("C2", "U8", &[2, 2][..], vec![1; 4]);
    masks(
        std::slice::from_ref(&c1),
        &["masks.safetensors", "`C2`", "found none"],
    );
    masks(
        &[c1.clone(), ("C2", "U8", &[4, 1], vec![1; 4])],
        &["`C2`", "expected shape [2, 2]", "[4, 1]"],
    );
    masks(
        &[c1.clone(), ("C2", "F32", &[2, 2], vec![0; 16])],
        &["`C2`", "expected type U8 or BOOL, found F32"],
    );
    masks(
        &[c1, c2, ("C3", "U8", &[1], vec![1])],
        &["`C3`", "expected the name of a field"],
    );
}

#[test]
fn bad_files_and_flags_are_refused() {
    let (_folder, path) = theirs();
    let mut table = C1;
    table[3] = f32::NAN;
    let nan = [
        ("emb_l.0.weight", "F32", &[3, 2][..], f32s(&table)),
        ("emb_l.1.weight", "F32", &[2, 2], f32s(&C2)),
        ("top_l.0.weight", "F32", &[1, 2], f32s(&[7.0, 8.0])),
    ];
    let file = |name: &str, expected: &[&str]| {
        check_refused(&path, &["compact", name, "--names", "names.toml"], expected);
    };
    safetensors(&path.join("nan.safetensors"), &nan);
    file(
        "nan.safetensors",
        &[
            "nan.safetensors",
            "`emb_l.0.weight`",
            "expected finite values",
            "NaN in row 1, column 1",
        ],
    );
    let shard = "model-00001-of-00002.safetensors";
    safetensors(&path.join(shard), &nan[1..]);
    file(
        shard,
        &[
            shard,
            "`emb_l.0.weight`",
            "shard 00001 of 00002",
            "join the shards",
        ],
    );
    safetensors(
        &path.join("flat.safetensors"),
        &[("emb_l.0.weight", "F32", &[6], f32s(&C1))],
    );
    file(
        "flat.safetensors",
        &["expected a table [rows, dim], found shape [6]"],
    );
    fs::write(path.join("text.safetensors"), "no safetensors").unwrap();
    file(
        "text.safetensors",
        &["text.safetensors", "not a valid safetensors file"],
    );
    file("nowhere.safetensors", &["nowhere.safetensors"]);
    check_refused(
        &path,
        &["compact", "theirs.safetensors"],
        &["theirs.safetensors", "metadata `slimbed`", "--names"],
    );
    check_refused(&path, &["compact", "."], &["run.json"]);
    for (flags, expected) in [
        (&["--values", "int5"][..], "f32, f16, int8 or int4"),
        (&["--prefer", "me"], "speed or size"),
        (&["--sparsity", "2"], "a share, 0 to 1"),
        (&["--threshold", "-1"], "a positive number"),
        (&["--threshold", "nan"], "a positive number"),
        (&["--each-field"], "--sparsity"),
        (&["--data", "."], "cannot be used with"),
        (
            &["--sparsity", "0.5", "--threshold", "1"],
            "cannot be used with",
        ),
    ] {
        check_refused(&path, &[&THEIRS[..], flags].concat(), &[expected]);
    }
    let before = fs::read(path.join("theirs.safetensors")).unwrap();
    for (out, part) in [
        ("theirs.safetensors", "is the input"),
        ("./names.toml", "is the input"),
    ] {
        let output = xtask(&path, &[&THEIRS[..], &["--out", out]].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(fs::read(path.join("theirs.safetensors")).unwrap(), before);
}
