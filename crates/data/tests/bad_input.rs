//! Bad input is an error that names the place, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod toy;

use std::io::Write;
use std::path::Path;

use slimbed_data::{DataError, Dataset, Recipe};
use tempfile::tempdir;
use toy::{FILE_ORDER, RANDOM};

const GOOD: &str = "ff\t1\t2\t\t3\t4";

/// `n` good lines whose labels alternate, with line ends.
fn good_lines(n: usize, padding: &str) -> Vec<u8> {
    let line = |i: usize| format!("{i:x}\t{}\t{i}\t{padding}\t-1.5\t{}\n", i % 2, i % 9);
    (0..n).map(line).collect::<String>().into_bytes()
}

/// Prepares `files` and expects an error whose text has all parts of `expected`, and no new file.
fn check(files: &[(&str, &[u8])], max_bad_rows: u64, expected: &[&str]) -> DataError {
    check_rule(RANDOM, files, max_bad_rows, expected)
}

fn check_rule(
    rule: &str,
    files: &[(&str, &[u8])],
    max_bad_rows: u64,
    expected: &[&str],
) -> DataError {
    let folder = tempdir().unwrap();
    let mut inputs = toy::write(folder.path(), files);
    inputs.retain(|path| !path.ends_with("deleted") || std::fs::remove_file(path).is_err());
    if files.iter().any(|(name, _)| *name == "deleted") {
        inputs.push(folder.path().join("in/deleted"));
    }
    let parent = folder.path().join("runs");
    let recipe = toy::recipe(rule, 1);
    let error = toy::run(&recipe, &inputs, &parent.join("out"), max_bad_rows).unwrap_err();
    let text = error.to_string();
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in `{text}`");
    }
    let left = std::fs::read_dir(&parent).map_or(0, Iterator::count);
    assert_eq!(left, 0, "after `{text}`");
    error
}

#[test]
fn rows_are_refused_with_line_column_name_and_what_was_expected() {
    let cases: [(&str, &[&str]); 15] = [
        (
            "ff\t1\t2",
            &[
                "expected 6 columns, found 3",
                "column 4 (`unused`) is missing",
            ],
        ),
        (
            "ff\t1\t2\t\t3",
            &["expected 6 columns, found 5", "column 6 (`age`) is missing"],
        ),
        (
            "",
            &[
                "expected 6 columns, found 1",
                "column 2 (`click`) is missing",
            ],
        ),
        (
            "ff,1,2,,3,4",
            &["expected 6 columns, found 1", "column 2 (`click`)"],
        ),
        ("ff\t1\t2\t\t3\t4\t5", &["expected 6 columns, found 7"]),
        ("ff\t1\t2\t\t3\t4\t", &["expected 6 columns, found 7"]),
        (
            "f-f\t1\t2\t\t3\t4",
            &["column 1 (`site`)", "hexadecimal digits", "found `f-f`"],
        ),
        (
            "123456789\t1\t2\t\t3\t4",
            &["column 1 (`site`)", "8 hexadecimal", "`123456789`"],
        ),
        (
            "ff\t1\t2x\t\t3\t4",
            &["column 3 (`price`): expected a number, found `2x`"],
        ),
        (
            "ff\t1\tNaN\t\t3\t4",
            &["column 3 (`price`): expected a number, found `NaN`"],
        ),
        (
            "ff\t1\t2\t\tinf\t4",
            &["column 5 (`shift`): expected a number, found `inf`"],
        ),
        (
            "ff\t1\t2\t\t-1e39\t4",
            &["column 5 (`shift`)", "32 bits", "found `-1e39`"],
        ),
        (
            "ff\t1\t2\t\t3\told",
            &["column 6 (`age`): expected a number, found `old`"],
        ),
        (
            "ff\t2\t2\t\t3\t4",
            &["column 2 (`click`): expected a label, 0 or 1, found `2`"],
        ),
        (
            "ff\t\t2\t\t3\t4",
            &["column 2 (`click`): expected a label, 0 or 1, found ``"],
        ),
    ];
    // The bad row is in the first chunk, beyond it, at the end of the file, and in the second file.
    let before = [good_lines(2, ""), good_lines(20_000, &"x".repeat(300))];
    let after = [good_lines(40, ""), Vec::new()];
    for (bad, expected) in cases {
        for (before, line) in before.iter().zip([":3: ", ":20001: "]) {
            let end = if bad.is_empty() { "\n" } else { "" };
            for after in [&b"\n"[..], &[b"\n", &after[0][..]].concat(), end.as_bytes()] {
                let text = [before, bad.as_bytes(), after].concat();
                let all = [expected, &["a.txt", line]].concat();
                check(&[("a.txt", &text)], 0, &all);
            }
        }
        let text = [&before[0][..], bad.as_bytes(), b"\n"].concat();
        let all = [expected, &["second.txt", ":3: "]].concat();
        check(&[("first.txt", &before[1]), ("second.txt", &text)], 0, &all);
    }
    check(
        &[("crlf", b"f\t1\t2\r\n")],
        0,
        &["crlf:1: expected 6 columns, found 3"],
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn unreadable_files_are_named() {
    let good = good_lines(500, "");
    let (gz, zst) = (gzip(&good), zstd::encode_all(&good[..], 1).unwrap());
    let cases: [(&str, &[u8], &[&str]); 8] = [
        ("deleted", b"", &["cannot open", "deleted"]),
        (
            "empty",
            b"",
            &["empty:1: expected at least one line, found an empty file"],
        ),
        (
            "empty.gz",
            &gzip(b""),
            &["empty.gz:1: expected at least one line"],
        ),
        (
            "cut.gz",
            &gz[..gz.len() - 9],
            &["cut.gz:", "whole, undamaged file"],
        ),
        (
            "end.gz",
            &gz[..gz.len() - 1],
            &["end.gz:501: cannot read on"],
        ),
        (
            "cut.zst",
            &zst[..zst.len() - 9],
            &["cut.zst:", "whole, undamaged file"],
        ),
        (
            "odd.gz",
            b"\x1f\x8bgarbage, and more garbage",
            &["odd.gz:1: cannot read on"],
        ),
        (
            "odd.zst",
            b"\x28\xb5\x2f\xfdgarbage, and more",
            &["odd.zst:1: cannot read on"],
        ),
    ];
    for (name, bytes, expected) in cases {
        check(&[(name, bytes)], 1000, expected);
        check(&[("good", &good), (name, bytes)], 1000, expected);
    }
    let garbage_behind = [&gz[..], b"garbage"].concat();
    check(
        &[("behind.gz", &garbage_behind)],
        0,
        &["behind.gz:501: cannot read on"],
    );
}

#[test]
fn of_two_problems_the_first_is_reported_for_any_number_of_threads() {
    let bad = [GOOD.as_bytes(), b"\nbad\n"].concat();
    for n_threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        let pool = pool.build().unwrap();
        pool.install(|| check(&[("bad", &bad), ("empty", b"")], 0, &["bad:2: "]));
    }
}

#[test]
fn splits_need_rows_and_both_classes() {
    let line = |label: u8| format!("f\t{label}\t\t\t\t\n").into_bytes();
    let one_class = line(1).repeat(50);
    let expected = [
        "a.txt",
        "column 2 (`click`)",
        "labels 0 and 1 in the train split, found only 1 in its 25 rows",
    ];
    check_rule(FILE_ORDER, &[("a.txt", &one_class)], 0, &expected);
    let late = [line(1), line(0), line(0), line(0)].map(|part| part.repeat(5));
    let late = [late.concat(), line(0).repeat(4)].concat();
    let expected = ["in the validation split, found only 0 in its 6 rows"];
    check_rule(FILE_ORDER, &[("a.txt", &late)], 0, &expected);
    let too_few = [line(1), line(0)].concat();
    let error = check(
        &[("a.txt", &too_few)],
        0,
        &["a.txt: expected rows in every split"],
    );
    assert!(matches!(error, DataError::EmptySplit { n_rows: 2, .. }));
    check(&[], 0, &["expected rows in every split"]);
}

#[test]
fn bad_rows_are_skipped_up_to_the_limit() {
    let mut lines = good_lines(600, "");
    for _ in 0..7 {
        lines.extend(b"ff\t1\t2\t\t3\n");
    }
    lines.extend(good_lines(600, ""));
    let folder = tempdir().unwrap();
    let inputs = toy::write(folder.path(), &[("a.txt", &lines)]);
    for rule in [RANDOM, FILE_ORDER] {
        let out = folder.path().join(rule);
        let report = toy::run(&toy::recipe(rule, 1), &inputs, &out, 7).unwrap();
        let n_rows: u64 = report.meta.splits.iter().map(|split| split.n_rows).sum();
        assert_eq!((report.meta.n_bad_rows, n_rows), (7, 1200));
        assert_eq!(report.bad_row_examples.len(), 5);
        assert!(report.bad_row_examples[1].contains("a.txt:602: expected 6 columns, found 5"));
        let expected = ["more than 6 bad rows; the last: ", "a.txt:607: expected 6"];
        let error = check_rule(rule, &[("a.txt", &lines)], 6, &expected);
        assert!(matches!(error, DataError::TooManyBadRows { limit: 6, .. }));
    }
}

#[test]
fn a_folder_with_content_is_not_touched() {
    let folder = tempdir().unwrap();
    let inputs = toy::write(folder.path(), &[("a.txt", &good_lines(600, ""))]);
    let out = folder.path().join("out");
    let recipe = toy::recipe(RANDOM, 1);
    toy::run(&recipe, &inputs, &out, 0).unwrap();
    let text = toy::run(&recipe, &inputs, &out, 0).unwrap_err().to_string();
    assert!(text.contains("not empty") && text.contains("out"), "{text}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 5);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_damaged_folder_is_refused() {
    let folder = tempdir().unwrap();
    let inputs = toy::write(folder.path(), &[("a.txt", &good_lines(600, ""))]);
    let names = [
        "meta.json",
        "train.pack",
        "validation.pack",
        "test.pack",
        "vocabulary.bin",
    ];
    let open = |out: &Path| Dataset::open(out).and_then(|dataset| dataset.verify(&|_| {}));
    for (i, name) in names.into_iter().enumerate() {
        let out = folder.path().join(format!("out{i}"));
        toy::run(&toy::recipe(RANDOM, 1), &inputs, &out, 0).unwrap();
        open(&out).unwrap();
        let path = out.join(name);
        let good = std::fs::read(&path).unwrap();
        let other = std::fs::read(out.join(names[1 + i % 3])).unwrap();
        for bad in [&good[..good.len() / 2], b"", &other] {
            std::fs::write(&path, bad).unwrap();
            let text = open(&out).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        let text = open(&out).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_description_of_another_version_is_refused() {
    let folder = tempdir().unwrap();
    let inputs = toy::write(folder.path(), &[("a.txt", &good_lines(600, ""))]);
    let out = folder.path().join("out");
    toy::run(&toy::recipe(RANDOM, 1), &inputs, &out, 0).unwrap();
    let path = out.join("meta.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (
            "\"format_version\": 1",
            "\"format_version\": 2",
            "expected format_version 1, found 2",
        ),
        (
            "\"n_bad_rows\": 0",
            "\"n_bad_rows\": 0, \"more\": 1",
            "unknown field `more`",
        ),
        (
            "\"price\",",
            "",
            "dense columns, table rows, rows, positives",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let text = Dataset::open(&out).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn recipes_are_refused_with_file_and_line() {
    let good = toy::recipe(RANDOM, 1).source().to_owned();
    let cases = [
        (
            "min_count = 1",
            "min_count = 1\nmin_count = 2",
            6,
            "duplicate key",
        ),
        (
            "min_count = 1",
            "min_cuont = 1",
            5,
            "did you mean `min_count`?",
        ),
        (
            "columns = \"5\"",
            "colums = \"5\"",
            14,
            "did you mean `columns`?",
        ),
        (
            "columns = \"5\"",
            "columns = \"3\"",
            14,
            "column 3 is used twice",
        ),
    ];
    let folder = tempdir().unwrap();
    for (from, to, line, expected) in cases {
        assert!(good.contains(from), "{from}");
        let bad = good.replace(from, to);
        let path = &toy::write(folder.path(), &[("bad.toml", bad.as_bytes())])[0];
        let text = Recipe::load(path).unwrap_err().to_string();
        assert!(text.contains(&format!("bad.toml:{line}: ")), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let text = Recipe::load(&folder.path().join("none.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("cannot read recipe") && text.contains("none.toml"),
        "{text}"
    );
}
