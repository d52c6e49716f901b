//! Reduction methods through the real binary: the comparison, sweeps, pictures, budgets.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// Runs that take seconds.
const SMALL: [&str; 10] = [
    "--rows",
    "20000",
    "--set",
    "train.schedule=constant",
    "--set",
    "model.bottom=[32]",
    "--set",
    "model.top=[32]",
    "--set",
    "train.validate_every=20",
];

fn xtask(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("xtask").unwrap();
    command.current_dir(folder).args(arguments);
    command
}

/// Every JSON object that a command prints.
fn lines(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = xtask(folder, arguments).arg("--json").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn without_a_method_plain_tables_are_compared_with_all_of_the_papers() {
    let dir = tempfile::tempdir().unwrap();
    let reports = lines(dir.path(), &[&["train"], SMALL.as_slice()].concat());
    let methods: Vec<_> = reports
        .iter()
        .map(|report| report["method"].as_str().unwrap())
        .collect();
    assert_eq!(methods, ["none", "pep", "amtl", "mlet"]);
    let bytes = |i: usize| reports[i]["card"]["parts"]["tables"].as_u64().unwrap();
    for i in 1..4 {
        assert!(
            bytes(i) < bytes(0),
            "{}: {} of {}",
            methods[i],
            bytes(i),
            bytes(0)
        );
        let auc = reports[i]["test_auc"].as_f64().unwrap();
        assert!(auc > 0.55, "{}: {auc}", methods[i]);
    }
    for report in &reports[1..] {
        let run = format!("runs/{}", report["run"].as_str().unwrap());
        let drawn = lines(dir.path(), &["plot", &run]);
        let curves = drawn[0]["curves"].as_array().unwrap();
        assert!(curves.len() > 1 && !curves[0]["points"].as_array().unwrap().is_empty());
        let svg = fs::read_to_string(dir.path().join(run).join("plot.svg")).unwrap();
        assert!(svg.starts_with("<svg"));
    }
}

#[test]
fn a_sweep_is_completed_by_the_same_command() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = [
        "sweep",
        "--seeds",
        "1-2",
        "--variants",
        "plain,pep-80,pep-95",
    ];
    let arguments = [&sweep, SMALL.as_slice()].concat();
    let first = lines(dir.path(), &arguments);
    let variants: Vec<_> = first
        .iter()
        .map(|line| line["variant"].as_str().unwrap())
        .collect();
    assert_eq!(variants, ["plain", "pep-80", "pep-95"]);
    assert_eq!(first[0]["test_auc"]["n"], 2);
    assert!(first[2]["table_bytes"]["mean"].as_f64() < first[1]["table_bytes"]["mean"].as_f64());
    assert_eq!(lines(dir.path(), &arguments), first);
}

#[test]
fn a_sweep_at_the_same_bytes_says_who_cannot_get_there() {
    let dir = tempfile::tempdir().unwrap();
    let names = "plain-f32,hash-at-60,uniform-at-60,uniform-at-0.01";
    let sweep = [
        "sweep",
        "--seeds",
        "1",
        "--at",
        "60,0.01",
        "--variants",
        names,
    ];
    let arguments = [&sweep, SMALL.as_slice()].concat();
    let found = lines(dir.path(), &arguments);
    let bytes = |i: usize| found[i]["table_bytes"]["mean"].as_f64().unwrap();
    for reduced in [1, 2] {
        assert!(bytes(reduced) <= 0.6 * bytes(0), "{}", found[reduced]);
    }
    let refused = found[3]["refused"].as_str().unwrap();
    assert!(
        refused.contains("expected a budget of at least"),
        "{refused}"
    );
    assert_eq!(lines(dir.path(), &arguments), found);
}

#[test]
fn budgets_are_kept_to_and_impossible_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let train = ["train", "--method", "magnitude,hash"];
    let fits = [&train, SMALL.as_slice(), &["--budget", "200kB"]].concat();
    for report in lines(dir.path(), &fits) {
        let bytes = report["artefact_bytes"].as_u64().unwrap();
        assert!((190_000..=200_000).contains(&bytes), "{bytes}");
        let inspected = lines(
            dir.path(),
            &[
                "inspect",
                &format!("runs/{}", report["run"].as_str().unwrap()),
            ],
        );
        assert_eq!(inspected[0]["artefact_bytes"], bytes);
    }
    let tiny = [&train, SMALL.as_slice(), &["--budget", "9"]].concat();
    let output = xtask(dir.path(), &tiny).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("expected a budget of at least"),
        "{message}"
    );
    let output = xtask(dir.path(), &["train", "--method", "magic"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
