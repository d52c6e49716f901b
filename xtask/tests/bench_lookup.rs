//! The comparison of lookups, through the real binary: with our own dense table as the other side, and with
//! PyTorch where there is one.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// The command with tiny measurements.
fn bench(more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["bench", "lookup", "--rounds", "2", "--seconds", "0.001"]);
    command.args(["--rows", "2k", "--batch", "16", "--json"]);
    command.args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    text(&output.stdout).lines().map(parse).collect()
}

fn assert_fails(output: &Output, expected: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{stderr:?} lacks {part:?}");
    }
}

/// Checks what every case has to tell.
fn check(case: &Value) {
    let number = |key: &str| case[key].as_f64().unwrap();
    assert!(number("ours") > 0.0 && number("theirs") > 0.0, "{case}");
    assert_eq!(case["unit"], "rows/s");
    let rounds = case["rounds"].as_array().unwrap();
    let ratios = rounds.iter().map(|round| round["ratio"].as_f64().unwrap());
    // Two rounds: the median is their mean.
    let mean = ratios.sum::<f64>() / 2.0;
    assert_eq!(rounds.len(), 2);
    assert!((number("ratio") / mean - 1.0).abs() < 1e-9, "{case}");
    assert!(case["difference"]["largest"].as_f64().unwrap() < 3.0);
    if cfg!(target_os = "linux") {
        let kb = |side: &str| case["page_kb"][side].as_u64().unwrap();
        assert!(kb("ours") >= 4 && kb("theirs") >= 4, "{case}");
    }
}

#[test]
fn reduced_tables_are_read_beside_the_dense_one() {
    let more = [
        "--pruned", "--dim", "16,33", "--stream", "zipf", "--pages", "small",
    ];
    let objects = objects(&bench(&more));
    objects.iter().for_each(check);
    let names: Vec<_> = objects.iter().filter_map(|o| o["case"].as_str()).collect();
    let expected = [16, 33].map(|dim| {
        ["pruned=95%", "pruned=99%", "prefix=d/4"].map(|reduction| {
            [1, 20].map(|bag| format!("d={dim} bag={bag} zipf rows=2k f32 {reduction}"))
        })
    });
    assert_eq!(names, expected.as_flattened().as_flattened());
    for case in &objects {
        let bytes = |side: &str| case["bytes"][side].as_u64().unwrap();
        assert!(2 * bytes("ours") < bytes("theirs"), "{case}");
        assert_eq!(case["form"]["theirs"], "dense f32");
        assert_eq!(case["threads"], 1);
    }
}

#[test]
fn structures_values_and_threads_can_be_chosen() {
    let more = [
        "--pruned=99",
        "--structure",
        "bitmap,present+bitmap,positions",
        "--values",
        "int4",
        "--dim",
        "64",
        "--threads",
        "2",
    ];
    let objects = objects(&bench(&more));
    objects.iter().for_each(check);
    let forms = objects.iter().step_by(4).map(|case| &case["form"]["ours"]);
    let expected = ["bitmap int4", "present + bitmap int4", "positions int4"];
    assert!(forms.eq(expected.iter()), "{objects:?}");
    assert_eq!(objects.len(), 12);
    assert!(objects.iter().all(|case| case["threads"] == 2));
}

#[test]
fn without_pytorch_the_command_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let output = bench(&["--against", "torch", "--python", nowhere]);
    let how = "cargo xtask bench lookup --against torch --python .venv/bin/python";
    assert_fails(
        &output,
        &[nowhere, "No such file", "pip install torch", how],
    );
    // A program that ends without an answer.
    let output = bench(&["--against", "torch", "--python", "false"]);
    assert_fails(&output, &["cannot run PyTorch with `false`", how]);
}

#[test]
fn wrong_choices_are_refused() {
    let cases: [(&[&str], &str); 7] = [
        (&[], "--against"),
        (&["--against", "torch", "--pruned"], "--pruned"),
        (&["--pruned=100"], "below 100"),
        (&["--pruned", "--structure", "dens"], "dense-lines"),
        (&["--pruned", "--values", "int3"], "int8"),
        (&["--pruned", "--rows", "0"], "1000M"),
        (&["--pruned", "--dim", "0"], "--dim"),
    ];
    for (more, expected) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = command.args(["bench", "lookup"]).args(more).output();
        assert_fails(&output.unwrap(), &[expected]);
    }
}

/// PyTorch itself, where `python3` has it.
#[test]
fn pytorch_and_ours_look_up_the_same() {
    let mut command = Command::new(Path::new("python3"));
    let found = command.args(["-c", "import torch"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: `python3` has no PyTorch");
        return;
    }
    let objects = objects(&bench(&["--against", "torch", "--dim", "8,64"]));
    objects.iter().for_each(check);
    assert_eq!(objects.len(), 32);
}
