//! The comparison with PyTorch, through the real binary and mostly with a stand-in for PyTorch.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// What a case has to tell.
const KEYS: [&str; 8] = [
    "case",
    "unit",
    "ours",
    "theirs",
    "ratio",
    "ours_rss_bytes",
    "theirs_rss_bytes",
    "rounds",
];

/// A program that stands in for Python: it is called with the script and `--version` or a workload.
fn stand_in(folder: &Path, training: &str) -> PathBuf {
    let path = folder.join("python");
    let script = format!(
        "#!/bin/sh\n[ \"$2\" = --version ] && {{ echo '{{\"version\": \"torch 9.9\", \"idle_rss_bytes\": 7}}'; exit; }}\ntest -s \"$2\" || exit 9\n{training}\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Answers with 1000 samples/s, 77 MB and a loss of 0.5 in every step.
fn answering_stand_in(folder: &Path) -> PathBuf {
    let losses = ["0.5"; 201].join(",");
    stand_in(
        folder,
        &format!(
            "echo progress\necho '{{\"samples_per_s\": 1000, \"peak_rss_bytes\": 77000000, \"losses\": [{losses}], \"threads\": 2}}'"
        ),
    )
}

/// The command with tiny measurements.
fn bench(python: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["bench", "train", "--against", "torch", "--threads", "2"]);
    command.args(["--rows", "1k", "--rounds", "2", "--seconds", "0.05"]);
    command.arg("--python").arg(python).args(more);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    text(&output.stdout).lines().map(parse).collect()
}

fn assert_fails(output: &Output, code: i32, expected: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{stderr:?} lacks {part:?}");
    }
}

#[test]
fn without_pytorch_the_command_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let failing = folder.path().join("python");
    fs::write(
        &failing,
        "#!/bin/sh\necho \"No module named 'torch'\" >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&failing, fs::Permissions::from_mode(0o755)).unwrap();
    let nowhere = folder.path().join("nowhere");
    for (python, reason) in [
        (failing, "No module named 'torch'"),
        (nowhere, "No such file"),
    ] {
        let expected = [
            reason,
            python.to_str().unwrap(),
            "python3 -m venv .venv && .venv/bin/pip install torch",
            "--index-url https://download.pytorch.org/whl/cpu",
            "--python .venv/bin/python",
        ];
        assert_fails(&bench(&python, &[]), 2, &expected);
    }
}

#[test]
fn programs_get_an_object_for_each_case() {
    let folder = tempfile::tempdir().unwrap();
    let python = answering_stand_in(folder.path());
    let more = [
        "--batch",
        "16,32",
        "--optimizer",
        "row-wise-adagrad",
        "--json",
    ];
    let output = bench(&python, &more);
    let objects = objects(&output);
    let names: Vec<_> = objects.iter().filter_map(|o| o["case"].as_str()).collect();
    let expected = [
        "loss after 200 steps",
        "loss after 5 steps row-wise-adagrad",
        "batch=16 rows=1.0k row-wise-adagrad f32",
        "batch=32 rows=1.0k row-wise-adagrad f32",
    ];
    assert_eq!(names, expected);
    let check = &objects[0];
    let loss = |key: &str| check[key].as_f64().unwrap();
    assert_eq!(
        (loss("theirs"), &check["agrees"]),
        (0.5, &Value::Bool(false))
    );
    assert!((loss("difference") - (loss("ours") - 0.5).abs()).abs() < 1e-12);
    // The stand-in's losses are not ours, so the last object is an error.
    assert_eq!(
        (output.status.code(), &objects[4]["exit_code"]),
        (Some(1), &1.into())
    );
    for case in &objects[2..4] {
        assert!(KEYS.iter().all(|key| !case[key].is_null()), "{case}");
        let number = |key: &str| case[key].as_f64().unwrap();
        assert_eq!(number("theirs"), 1000.0);
        assert_eq!(number("theirs_rss_bytes"), 77e6);
        assert!(number("ours") > 0.0 && number("ours_rss_bytes") > 1e6);
        assert!((number("ratio") * 1000.0 / number("ours") - 1.0).abs() < 1e-9);
        assert_eq!(case["rounds"].as_array().unwrap().len(), 2);
        assert_eq!(case["unit"], "samples/s");
        assert_eq!(
            (&case["threads"], &case["against"]),
            (&2.into(), &"torch 9.9".into())
        );
    }
}

#[test]
fn people_get_a_table_even_when_the_losses_differ() {
    let folder = tempfile::tempdir().unwrap();
    let python = answering_stand_in(folder.path());
    let output = bench(&python, &["--batch", "16"]);
    assert_fails(&output, 1, &["loss after 200 steps", "theirs 0.5000000"]);
    let text = text(&output.stdout);
    for part in [
        "2 threads, 2 rounds of 0.05 s, against torch 9.9",
        "DO NOT AGREE",
        "their memory",
        "batch=16 rows=1.0k sgd f32",
        "1,000/s",
        "77.00 MB",
    ] {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

/// The comparison of scoring with tiny measurements.
fn bench_score(python: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["bench", "score", "--against", "torch", "--rows", "1k"]);
    command.args(["--rounds", "2", "--seconds", "0.05", "--python"]);
    command.arg(python).args(more).output().unwrap()
}

#[test]
fn scoring_is_told_beside_its_floor() {
    let folder = tempfile::tempdir().unwrap();
    let answer = "echo '{\"batch_us\": 50, \"logits\": [0.5], \"threads\": 1}'";
    let python = stand_in(folder.path(), answer);
    let output = bench_score(&python, &["--batch", "1,16", "--json"]);
    let objects = objects(&output);
    let names: Vec<_> = objects.iter().filter_map(|o| o["case"].as_str()).collect();
    let expected = [
        "batch=1 rows=1.0k modules",
        "batch=1 rows=1.0k functions",
        "batch=1 rows=1.0k vectors",
        "batch=16 rows=1.0k modules",
        "batch=16 rows=1.0k functions",
    ];
    assert_eq!(names, expected);
    for (case, batch) in objects.iter().zip([1.0, 1.0, 1.0, 16.0, 16.0]) {
        let number = |key: &str| case[key].as_f64().unwrap();
        assert_eq!(number("theirs"), batch * 20_000.0);
        assert!((number("ratio") * number("theirs") / number("ours") - 1.0).abs() < 0.5);
        assert_eq!(case["rounds"].as_array().unwrap().len(), 2);
        let floor = |key: &str| case["floor"][key].as_f64();
        assert_eq!(floor("times_floor").is_some_and(|t| t > 0.0), batch == 1.0);
        // The stand-in's logits are not ours.
        assert_eq!(case["agrees"], false);
    }
    assert_eq!(
        (output.status.code(), &objects[5]["exit_code"]),
        (Some(1), &1.into())
    );
}

/// PyTorch itself, where `python3` has it.
#[test]
fn pytorch_and_ours_agree_in_logits() {
    let mut command = Command::new("python3");
    let found = command.args(["-c", "import torch"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: `python3` has no PyTorch");
        return;
    }
    let output = bench_score(Path::new("python3"), &["--batch", "1,16", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(objects(&output).iter().all(|case| case["agrees"] == true));
}

#[test]
fn wrong_choices_are_refused() {
    let cases: [(&[&str], &str); 5] = [
        (&["--rows", "99M"], "26 to 33762577 rows"),
        (&["--batch", "0"], "--batch"),
        (&["--optimizer", "adam"], "row-wise-adagrad"),
        (&["--seconds", "0"], "--seconds"),
        (&["--against", "tensorflow"], "torch"),
    ];
    for (arguments, expected) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = command
            .args(["bench", "train"])
            .args(arguments)
            .output()
            .unwrap();
        assert_fails(&output, 2, &[expected]);
    }
}

/// PyTorch itself, where `python3` has it.
#[test]
fn pytorch_and_ours_agree_in_loss() {
    let mut command = Command::new("python3");
    let found = command.args(["-c", "import torch"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: `python3` has no PyTorch");
        return;
    }
    let more = ["--batch", "16", "--optimizer", "row-wise-adagrad", "--json"];
    let output = bench(Path::new("python3"), &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let objects = objects(&output);
    assert!(objects[..2].iter().all(|check| check["agrees"] == true));
    assert_eq!(objects.len(), 3);
}
