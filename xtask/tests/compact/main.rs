//! `compact` through the real binary: of a run, of an artefact, of somebody else's file, and of bad input.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod foreign;
mod rank;
mod refused;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use slimbed_compact::{Artefact, Scratch};
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
