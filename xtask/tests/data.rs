//! `data synth`, `data prepare` and `data inspect`, one after the other, through the real binary.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod common;

use std::fs;

use assert_cmd::Command;
use common::{Folder, lines, names, text, xtask};
use serde_json::Value;

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

fn inspect(folder: &Folder) -> Command {
    let mut command = xtask();
    command.current_dir(folder.path(""));
    command.args(["data", "inspect", "out", "--verify"]);
    command
}

#[test]
fn what_is_prepared_is_what_inspect_shows() {
    let folder = Folder::new();
    folder.put("in.tsv", text(&lines(4000)));
    let prepared = json(&mut folder.prepare("in.tsv"));
    let shown = json(inspect(&folder).args(["--dim", "4"]));
    assert_eq!(
        (&prepared["rows"], &prepared["bad_rows"]),
        (&4000.into(), &0.into())
    );
    for (before, after) in prepared["splits"]
        .as_array()
        .unwrap()
        .iter()
        .zip(shown["splits"].as_array().unwrap())
    {
        assert_eq!(
            (&before["name"], &before["n_rows"]),
            (&after["name"], &after["rows"])
        );
        let rate = before["n_positives"].as_f64().unwrap() / before["n_rows"].as_f64().unwrap();
        assert_eq!(after["base_rate"].as_f64(), Some(rate));
    }
    // C1 takes 50 values, all of them frequent; row 0 is for the others; 4 floats a row.
    let c1 = &shown["fields"][0];
    assert_eq!(
        (&c1["name"], &c1["rows"], &c1["table_bytes"]),
        (&"C1".into(), &51.into(), &816.into())
    );
    assert_eq!(c1["oov_share"], 0.0);
}

#[test]
fn the_folder_depends_on_the_seed_and_not_on_the_threads() {
    let folder = Folder::new();
    folder.put("in.tsv", text(&lines(4000)));
    let packs = |arguments: [&str; 4]| {
        folder.prepare("in.tsv").args(arguments).assert().success();
        let out = folder.path("out");
        let files = names(&out).into_iter();
        let content: Vec<_> = files
            .map(|name| (fs::read(out.join(&name)).unwrap(), name))
            .collect();
        fs::remove_dir_all(out).unwrap();
        content
    };
    let base = packs(["--seed", "1", "--threads", "1"]);
    assert_eq!(
        base.len(),
        5,
        "three packs, the vocabulary and the description"
    );
    assert_eq!(base, packs(["--seed", "1", "--threads", "3"]));
    assert_ne!(base, packs(["--seed", "2", "--threads", "1"]));
}

#[test]
fn a_damaged_pack_is_found() {
    let folder = Folder::new();
    folder.put("in.tsv", text(&lines(400)));
    folder.prepare("in.tsv").assert().success();
    let pack = folder.path("out/test.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(pack, bytes).unwrap();
    let output = inspect(&folder).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("out/test.pack"), "{stderr}");
}

#[test]
fn a_generated_file_comes_with_its_report_and_follows_the_seed() {
    let folder = Folder::new();
    let synth = |seed: &str| {
        let mut command = xtask();
        command.current_dir(folder.path(""));
        command.args(["data", "synth", "--rows", "5000", "--preset", "small"]);
        let printed = json(command.args(["--out", "made.tsv", "--seed", seed]));
        let report = fs::read_to_string(folder.path("made.tsv.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(printed["bayes"], report["bayes"]);
        assert_eq!(report["seed"].to_string(), seed);
        (fs::read(folder.path("made.tsv")).unwrap(), report)
    };
    let (first, report) = synth("1");
    assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 5000);
    let auc = report["bayes"]["auc"].as_f64().unwrap();
    assert!((0.6..0.95).contains(&auc), "{auc}");
    assert_eq!(first, synth("1").0);
    assert_ne!(first, synth("2").0);
    assert_eq!(folder.names(), ["made.tsv", "made.tsv.json", "toy.toml"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let binary = env!("CARGO_BIN_EXE_xtask");
    let script = format!("'{binary}' --help | true; '{binary}' validate --only tidy | true");
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
