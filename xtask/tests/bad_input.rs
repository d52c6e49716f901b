//! Bad input, from outside: exit code 2, a message that says where and what was expected, nothing left.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod common;

use std::io::Write;
use std::process::Output;

use common::{Folder, RECIPE, lines, text, xtask};

/// Line 57 with one cell replaced.
fn with_cell(column: usize, cell: &str) -> String {
    let mut lines = lines(400);
    let mut cells: Vec<&str> = lines[56].split('\t').collect();
    cells[column - 1] = cell;
    lines[56] = cells.join("\t");
    text(&lines)
}

/// Expects exit code 2, one `error: ` with all of `expected`, and nothing new in the folder.
fn assert_refused(folder: &Folder, before: &[String], output: &Output, expected: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{stderr:?} lacks {part:?}");
    }
    assert_eq!(folder.names(), before);
}

fn check(input: &str, content: impl AsRef<[u8]>, expected: &[&str]) {
    let folder = Folder::new();
    folder.put(input, content);
    let before = folder.names();
    let output = folder.prepare(input).output().unwrap();
    assert_refused(&folder, &before, &output, expected);
}

fn check_recipe(from: &str, to: &str, expected: &[&str]) {
    let folder = Folder::new();
    assert!(RECIPE.contains(from), "{from}");
    folder.put("toy.toml", RECIPE.replacen(from, to, 1));
    folder.put("in.tsv", text(&lines(400)));
    let before = folder.names();
    let output = folder.prepare("in.tsv").output().unwrap();
    assert_refused(&folder, &before, &output, expected);
}

#[test]
fn a_missing_column() {
    let mut lines = lines(400);
    let short = lines[56].rsplit_once('\t').unwrap().0.to_owned();
    lines[56] = short;
    let expected = [
        "in.tsv:57:",
        "expected 5 columns, found 4",
        "column 5 (`C2`)",
    ];
    check("in.tsv", text(&lines), &expected);
}

#[test]
fn a_column_too_many() {
    let mut lines = lines(400);
    lines[56].push_str("\tmore");
    check(
        "in.tsv",
        text(&lines),
        &["in.tsv:57:", "expected 5 columns, found 6"],
    );
}

#[test]
fn cells_that_do_not_fit_their_column() {
    let cases: [(usize, &str, &[&str]); 5] = [
        (
            1,
            "2",
            &[
                "column 1 (`clicked`)",
                "expected a label, 0 or 1",
                "found `2`",
            ],
        ),
        (
            3,
            "many",
            &["column 3 (`I2`)", "expected a number", "found `many`"],
        ),
        (
            3,
            "nan",
            &["column 3 (`I2`)", "expected a number", "found `nan`"],
        ),
        (
            4,
            "12g4",
            &["column 4 (`C1`)", "hexadecimal digits", "found `12g4`"],
        ),
        // One digit more than an id of 32 bits has.
        (
            5,
            "1ffffffff",
            &[
                "column 5 (`C2`)",
                "up to 8 hexadecimal digits",
                "found `1ffffffff`",
            ],
        ),
    ];
    for (column, cell, expected) in cases {
        let place = [&["in.tsv:57:"], expected].concat();
        check("in.tsv", with_cell(column, cell), &place);
    }
}

#[test]
fn a_truncated_gzip_file() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text(&lines(2000)).as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    let expected = [
        "in.tsv.gz:",
        "cannot read on",
        "expected a whole, undamaged file",
    ];
    check("in.tsv.gz", &whole[..whole.len() / 2], &expected);
}

#[test]
fn an_empty_file() {
    check("in.tsv", "", &["in.tsv:1:", "expected at least one line"]);
}

#[test]
fn a_file_that_is_not_there() {
    let folder = Folder::new();
    let before = folder.names();
    let output = folder.prepare("nowhere.tsv").output().unwrap();
    assert_refused(&folder, &before, &output, &["cannot open nowhere.tsv"]);
}

#[test]
fn one_class_only() {
    let all_clicked = lines(400)
        .iter()
        .map(|line| format!("1{}", &line[1..]))
        .collect::<Vec<_>>();
    let expected = [
        "in.tsv:",
        "column 1 (`clicked`)",
        "expected labels 0 and 1",
        "found only 1",
    ];
    check("in.tsv", text(&all_clicked), &expected);
}

#[test]
fn a_recipe_that_names_a_column_twice() {
    check_recipe(
        "\"4-5\"",
        "\"3, 5\"",
        &["toy.toml:12:", "column 3 is used twice", "`I2`", "`C1`"],
    );
}

#[test]
fn an_unknown_key_of_a_recipe() {
    let expected = [
        "toy.toml:3:",
        "unknown field `n_colums`",
        "did you mean `n_columns`?",
    ];
    check_recipe("n_columns", "n_colums", &expected);
}

#[test]
fn a_disk_that_fills_up_while_data_is_prepared() {
    let folder = Folder::new();
    folder.put("in.tsv", text(&lines(20_000)));
    let before = folder.names();
    let command = "data prepare --data toy.toml --input in.tsv --out out";
    let output = with_small_files(&folder, command);
    assert_refused(
        &folder,
        &before,
        &output,
        &["cannot prepare out", "cannot write", ".pack: "],
    );
}

#[test]
fn a_disk_that_fills_up_while_data_is_generated() {
    let folder = Folder::new();
    let before = folder.names();
    let command = "data synth --preset small --rows 2000 --out made.tsv";
    let output = with_small_files(&folder, command);
    assert_refused(&folder, &before, &output, &["cannot write made.tsv"]);
}

#[test]
fn a_pipe_is_not_replaced_by_a_file() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    let mut mkfifo = assert_cmd::Command::new("mkfifo");
    mkfifo.arg(&pipe).assert().success();
    let before = folder.names();
    let mut command = xtask();
    command.current_dir(folder.path(""));
    let output = command.args(["data", "synth", "--rows", "9", "--out", "pipe"]);
    let output = output.output().unwrap();
    let expected = ["cannot replace pipe: expected a new or an ordinary file"];
    assert_refused(&folder, &before, &output, &expected);
}

/// Runs xtask where no file may grow beyond 32 blocks (16 or 32 kB): a write over the limit fails as one on a
/// full disk does. The signal that comes with the limit is ignored, so that the write returns.
fn with_small_files(folder: &Folder, arguments: &str) -> Output {
    let binary = env!("CARGO_BIN_EXE_xtask");
    let script = format!("trap '' XFSZ; ulimit -f 32; exec '{binary}' {arguments}");
    let mut shell = assert_cmd::Command::new("sh");
    shell.arg("-c").arg(script).current_dir(folder.path(""));
    shell.output().unwrap()
}

/// 400 lines of which the first `n` have a cell that is no number.
fn with_bad_rows(n: usize) -> String {
    let mut lines = lines(400);
    for line in lines.iter_mut().take(n) {
        *line = line.replacen('\t', "\tx", 1);
    }
    text(&lines)
}

#[test]
fn bad_rows_up_to_the_limit_are_skipped_and_counted() {
    let folder = Folder::new();
    folder.put("in.tsv", with_bad_rows(3));
    let mut command = folder.prepare("in.tsv");
    let output = command.args(["--max-bad-rows", "3"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("skipped 3 bad rows"), "{stdout}");
    assert!(stdout.contains("397 rows in"), "{stdout}");
    for line in 1..=3 {
        assert!(
            stderr.contains(&format!("skipped in.tsv:{line}: column 2")),
            "{stderr}"
        );
    }
}

#[test]
fn one_bad_row_more_than_the_limit_is_refused() {
    let folder = Folder::new();
    folder.put("in.tsv", with_bad_rows(4));
    let before = folder.names();
    let mut command = folder.prepare("in.tsv");
    let output = command.args(["--max-bad-rows", "3"]).output().unwrap();
    let expected = [
        "more than 3 bad rows",
        "in.tsv:4: column 2 (`I1`): expected a number",
    ];
    assert_refused(&folder, &before, &output, &expected);
}

#[test]
fn a_folder_with_content_is_not_overwritten() {
    let folder = Folder::new();
    folder.put("in.tsv", text(&lines(400)));
    folder.prepare("in.tsv").assert().success();
    let before = folder.names();
    let output = folder.prepare("in.tsv").output().unwrap();
    assert_refused(
        &folder,
        &before,
        &output,
        &["cannot prepare out", "not empty"],
    );
}

#[test]
fn programs_get_the_error_as_json_on_the_last_line() {
    let folder = Folder::new();
    folder.put("in.tsv", with_cell(3, "many"));
    let output = folder.prepare("in.tsv").arg("--json").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let object: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(object["exit_code"], 2);
    assert!(object["error"].as_str().unwrap().starts_with("in.tsv:57:"));
}

#[test]
fn a_wrong_command_line() {
    let cases: [(&[&str], &str); 3] = [
        (&["data", "prepare"], "--data <RECIPE>"),
        (&["data", "synth", "--rows", "0", "--out", "x"], "--rows"),
        (&["validate", "--threads", "0"], "--threads"),
    ];
    for (arguments, expected) in cases {
        let output = xtask().args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
