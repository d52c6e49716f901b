//! `inspect` of a file with every kind of table, through the real binary.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use slimbed_compact::{
    Combine, DenseTensor, Encoder, Encoding, FieldTable, PartTable, Pooling, Prefer, Projection,
    Rows, Sharing, TableStats, Values, write,
};

/// 64 rows of 2 values, of which the first 16 keep one.
fn sparse() -> Vec<f32> {
    let mut values = vec![0.0; 128];
    (0..16).for_each(|row| values[2 * row] = 1.5);
    values
}

/// A plain field, a sparse one, a hashed one, a quotient-remainder one that is projected.
fn write_sample(path: &Path) {
    let (ones, sparse, matrix) = (vec![1.0; 32], sparse(), [0.5; 12]);
    let rows = |values, dim| Rows::new(values, dim).unwrap();
    let part = |values, dim| PartTable {
        rows: rows(values, dim),
        encoding: Encoding::EXACT_DENSE,
    };
    let encoder = Encoder {
        values: Values::F32,
        prefer: Prefer::Size,
    };
    let small = encoder
        .choose(&TableStats::of(rows(&sparse, 2)))
        .taken
        .encoding;
    let fields = [
        FieldTable::new("plain", rows(&ones, 4), Encoding::EXACT_DENSE, Pooling::Sum),
        FieldTable::new("sparse", rows(&sparse, 2), small, Pooling::Mean),
        FieldTable {
            n_rows: 1000,
            sharing: Sharing::Hash { seed: 7 },
            ..FieldTable::new(
                "hashed",
                rows(&ones, 4),
                Encoding::EXACT_DENSE,
                Pooling::Sum,
            )
        },
        FieldTable {
            name: "halves",
            n_rows: 15,
            pooling: Pooling::Sum,
            sharing: Sharing::QuotientRemainder {
                divisor: 4,
                combine: Combine::Concat,
            },
            parts: vec![part(&ones[..4], 1), part(&ones[..8], 2)],
            projection: Some(Projection {
                matrix: &matrix,
                dim: 4,
            }),
        },
    ];
    let weight = DenseTensor {
        name: "w",
        shape: &[2],
        values: &[1.0, 2.0],
    };
    write(path, &fields, &[weight], Value::Null, Value::Null).unwrap();
}

fn inspect(path: &Path, flag: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.arg("inspect").arg(path).arg(flag).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_kind_of_table_is_shown_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    write_sample(&path);
    let shown: Value = serde_json::from_str(&inspect(&path, "--json")).unwrap();
    let fields = shown["fields"].as_array().unwrap();
    assert_eq!(fields[0]["encoding"], "dense f32");
    assert_eq!(fields[1]["sparsity"], 0.875);
    assert_eq!(fields[1]["empty_rows"], 48);
    // 128 bits of H(1/8) and 16 floats.
    let bound = 128.0 * 0.543_564_443 / 8.0 + 64.0;
    assert!((fields[1]["bound_bytes"].as_f64().unwrap() - bound).abs() < 1e-6);
    assert_eq!(fields[2]["encoding"], "hash to 8 rows, dense f32");
    assert_eq!(fields[2]["sharing"], json!({ "kind": "hash", "seed": 7 }));
    assert_eq!(
        (&fields[2]["n_rows"], &fields[2]["stored_rows"]),
        (&json!(1000), &json!(8))
    );
    let halves = "concat of 4 and 4 rows, dense f32 and dense f32, 3 -> 4";
    assert_eq!(fields[3]["encoding"], halves);
    assert_eq!(fields[3]["projected_from"], 3);
    assert_eq!(fields[3]["bytes"], 4 * (4 + 8 + 12));
    assert_eq!(fields[3]["bound_bytes"], 4.0 * (4.0 + 8.0 + 12.0));
    let sum: u64 = fields
        .iter()
        .map(|field| field["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(shown["total"]["bytes"], sum);
    assert_eq!(shown["table_bytes"], sum);
    assert_eq!(shown["weight_bytes"], 8);
    assert_eq!(shown["parts"]["table_parts"]["projection"], 48);
    let all = shown["artefact_bytes"].as_u64().unwrap();
    assert_eq!(shown["header_bytes"], all - sum - 8);

    let text = inspect(&path, "--verify");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("halves").contains(halves), "{text}");
    assert!(
        line("sparse").contains("87.5%") && line("sparse").ends_with("48"),
        "{text}"
    );
    assert!(line("all").contains("1087"), "{text}");
}

#[test]
fn a_table_that_shares_its_rows_is_stored_anew() {
    let folder = tempfile::tempdir().unwrap();
    let [path, out] = ["m.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    write_sample(&path);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let command = command.arg("compact").arg(&path).arg("--out").arg(&out);
    let output = command.args(["--values", "f16"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    let fields = |path: &Path| -> Value { serde_json::from_str(&inspect(path, "--json")).unwrap() };
    let (before, after) = (fields(&path), fields(&out));
    for f in [2, 3] {
        let (before, after) = (&before["fields"][f], &after["fields"][f]);
        assert_eq!(before["sharing"], after["sharing"]);
        assert_eq!(before["stored_rows"], after["stored_rows"]);
        assert!(
            after["encoding"].as_str().unwrap().contains("f16"),
            "{after}"
        );
        assert!(
            after["bytes"].as_u64() < before["bytes"].as_u64(),
            "{after}"
        );
    }
}
