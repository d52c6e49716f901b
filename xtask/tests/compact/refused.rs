//! Bad input and bad flags.

use std::fs;

use super::foreign::{C1, C2, NAMES, THEIRS, f32s, safetensors, theirs};
use super::{check_refused, xtask};

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
        (&["--rank", "0"], "0 is not in"),
        (&["--rank", "2"], "a rank that makes a table smaller"),
        (&["--rank", "1", "--sparsity", "0.5"], "cannot be used with"),
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
