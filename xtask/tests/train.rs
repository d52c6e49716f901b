//! Whole runs through the real binary: the promised result line, reloaded quality, same bits.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// A network that trains in seconds.
const SMALL: [&str; 8] = [
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

/// Runs a command and parses the last line of its output.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = xtask(folder, arguments)
        .arg("--json")
        .assert()
        .success()
        .get_output()
        .clone();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn train(folder: &Path, more: &[&str]) -> Value {
    let base = [
        "train", "--method", "none", "--rows", "20000", "--seed", "3",
    ];
    json(folder, &[&base, SMALL.as_slice(), more].concat())
}

#[test]
fn a_run_reports_what_the_reloaded_file_scores() {
    let dir = tempfile::tempdir().unwrap();
    let report = train(dir.path(), &[]);
    for key in [
        "run",
        "method",
        "seed",
        "val_auc",
        "test_auc",
        "test_logloss",
        "artefact_bytes",
        "dense_bytes",
        "peak_rss_bytes",
        "train_samples_per_s",
        "bayes_auc",
    ] {
        assert!(!report[key].is_null(), "{key} is missing in {report}");
    }
    let run = format!("runs/{}", report["run"].as_str().unwrap());
    let test_auc = report["test_auc"].as_f64().unwrap();
    assert!(test_auc > 0.55 && test_auc < report["bayes_auc"].as_f64().unwrap());
    let file = dir.path().join(&run).join("export/model.safetensors");
    assert_eq!(report["artefact_bytes"], fs::metadata(&file).unwrap().len());

    check_card(&report);
    assert!(
        !dir.path()
            .join(&run)
            .join("export/exact.safetensors")
            .exists()
    );

    let evaluated = json(dir.path(), &["eval", &run]);
    assert_eq!(evaluated["metrics"]["auc"], report["test_auc"]);
    assert_eq!(
        evaluated["metrics"]["auc"],
        report["card"]["quality"]["test"]["auc"]
    );
    let validation = json(dir.path(), &["eval", &run, "--split", "validation"]);
    assert_eq!(validation["metrics"]["auc"], report["val_auc"]);
    let inspected = json(dir.path(), &["inspect", &run, "--verify"]);
    assert_eq!(inspected["artefact_bytes"], report["artefact_bytes"]);
    assert_eq!(inspected["fields"].as_array().unwrap().len(), 26);
    for name in [
        "config.resolved.toml",
        "env.json",
        "metrics.jsonl",
        "report.json",
    ] {
        assert!(dir.path().join(&run).join(name).is_file(), "{name}");
    }
}

/// The default run ships a smaller file, and its card adds up.
fn check_card(report: &Value) {
    let card = &report["card"];
    let number = |value: &Value| value.as_f64().unwrap();
    let (bytes, dense) = (number(&card["bytes"]), number(&card["dense_bytes"]));
    assert_eq!(card["bytes"], report["artefact_bytes"]);
    assert!(bytes < 0.5 * dense, "{card}");
    assert!((number(&card["ratio"]) - dense / bytes).abs() < 1e-9);
    let parts = &card["parts"];
    let sum: f64 = ["tables", "weights", "header"]
        .map(|part| number(&parts[part]))
        .iter()
        .sum();
    assert_eq!(sum, bytes);
    let kinds = parts["table_parts"].as_object().unwrap();
    assert_eq!(
        kinds.values().map(number).sum::<f64>(),
        number(&parts["tables"])
    );
    if cfg!(target_os = "linux") {
        let resident = &card["resident"];
        let scored = number(&resident["scored"]);
        assert!(scored >= number(&resident["mapped"]), "{card}");
        // Whole pages.
        assert!(scored > 0.0 && scored < bytes + 8192.0, "{card}");
    }
    for split in ["validation", "test"] {
        let quality = &card["quality"][split];
        let drop = number(&quality["auc_before"]) - number(&quality["auc"]);
        assert!(
            drop != 0.0 && drop.abs() < 0.002,
            "int8 rounds, but little: {card}"
        );
        assert!(number(&quality["logloss_before"]) > 0.0 && number(&quality["logloss"]) > 0.0);
    }
    let lookups = &card["lookups"];
    assert_eq!(
        number(&lookups["n_ids"]),
        26.0 * number(&report["test"]["n"])
    );
    assert!(number(&lookups["per_s"]) > 0.0 && number(&lookups["per_s_before"]) > 0.0);
}

#[test]
fn the_same_seed_gives_the_same_bits_for_one_and_two_threads() {
    let dir = tempfile::tempdir().unwrap();
    // Layers and a batch large enough for candle to cut its products over threads.
    let size = ["--rows", "20000", "--set", "train.batch_size=2048"];
    let rates = [
        "--set",
        "train.schedule=constant",
        "--set",
        "train.epochs=2",
    ];
    let run = |threads: &str| {
        let more = ["--threads", threads, "--seed", "3"];
        let report = json(
            dir.path(),
            &[&["train", "--method", "none"], &size[..], &rates, &more].concat(),
        );
        dir.path()
            .join("runs")
            .join(report["run"].as_str().unwrap())
    };
    let (one, two) = (run("1"), run("2"));
    assert_ne!(one, two);
    for file in [
        "metrics.jsonl",
        "config.resolved.toml",
        "ckpt/best.safetensors",
        "ckpt/last.safetensors",
        "export/model.safetensors",
    ] {
        let same = fs::read(one.join(file)).unwrap() == fs::read(two.join(file)).unwrap();
        assert!(same, "{file} differs");
    }
}

#[test]
fn another_seed_gives_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let a = train(dir.path(), &[]);
    let b = json(
        dir.path(),
        &[
            &[
                "train", "--method", "none", "--rows", "20000", "--seed", "4",
            ],
            &SMALL[..],
        ]
        .concat(),
    );
    assert_ne!(a["test_auc"], b["test_auc"]);
}

#[test]
fn a_model_is_chosen_by_its_name_and_its_file_shows_every_table() {
    let dir = tempfile::tempdir().unwrap();
    let report = train(dir.path(), &["--model", "fm", "--set", "model.dim=4"]);
    let run = format!("runs/{}", report["run"].as_str().unwrap());
    assert!(run.contains("-fm-s3"), "{run}");
    assert!(report["test_auc"].as_f64().unwrap() > 0.55, "{report}");
    let inspected = json(dir.path(), &["inspect", &run]);
    assert_eq!(inspected["model"]["kind"], "fm");
    let fields = inspected["fields"].as_array().unwrap();
    let (embeddings, weights) = fields.split_at(fields.len() / 2);
    for (embedding, weight) in embeddings.iter().zip(weights) {
        let name = embedding["name"].as_str().unwrap();
        assert_eq!(weight["name"], format!("{name}.first-order"));
        assert_eq!((&embedding["dim"], &weight["dim"]), (&4.into(), &1.into()));
        assert_eq!(embedding["n_rows"], weight["n_rows"]);
    }
    let evaluated = json(dir.path(), &["eval", &run]);
    assert_eq!(evaluated["metrics"]["auc"], report["test_auc"]);
}

#[test]
fn bad_settings_end_with_exit_code_2_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    for (pair, message) in [
        ("train.optimiser=adam", "did you mean `optimizer`"),
        ("train.lr=-1", "expected a positive number"),
        ("model.dim=0", "at least 1"),
    ] {
        let assert = xtask(dir.path(), &["train", "--set", pair])
            .assert()
            .code(2);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(message), "{text}");
    }
    let assert = xtask(dir.path(), &["train", "--device", "gpu"])
        .assert()
        .code(2);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.contains("expected cpu, cuda"), "{text}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn a_learning_rate_that_explodes_stops_the_run_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let explode = ["--set", "train.optimizer=sgd", "--set", "train.lr=1e20"];
    let arguments = [
        &["train", "--method", "none", "--rows", "20000"],
        &SMALL[..],
        &explode[..],
    ]
    .concat();
    let assert = xtask(dir.path(), &arguments).assert().code(1);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        text.contains("at step") && text.contains("lower the learning rate"),
        "{text}"
    );
}

#[test]
fn a_model_that_does_not_learn_stops_the_run_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let settings: [(&[&str], &str); 2] = [
        // The hidden units are pushed below zero for every input: only the last bias is left.
        (
            &["--set", "train.optimizer=sgd", "--set", "train.lr=10"],
            "dead at step 20: the model predicts a constant",
        ),
        (
            &[
                "--set",
                "train.lr=1e-12",
                "--set",
                "train.embedding_lr=1e-12",
            ],
            "dead at step 32: the model is no better than the click rate",
        ),
    ];
    for (settings, cause) in settings {
        let base = [
            "train", "--method", "none", "--rows", "20000", "--seed", "3",
        ];
        let arguments = [&base, SMALL.as_slice(), settings].concat();
        let assert = xtask(dir.path(), &arguments).assert().code(1);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(cause), "{text}");
    }
}

#[test]
fn a_damaged_artefact_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let report = train(dir.path(), &[]);
    let run = format!("runs/{}", report["run"].as_str().unwrap());
    let file = dir.path().join(&run).join("export/model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let assert = xtask(dir.path(), &["eval", &run]).assert().code(2);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        text.contains("model.safetensors") && text.contains("xxh3"),
        "{text}"
    );
}

#[test]
fn settings_reach_the_recipe_the_generator_and_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let more = ["--set", "data.min_count=50", "--set", "model.dim=4"];
    let rare = train(dir.path(), &more);
    let all = train(dir.path(), &["--set", "model.dim=4"]);
    assert!(rare["dense_bytes"].as_u64().unwrap() < all["dense_bytes"].as_u64().unwrap());
    let config = dir.path().join("runs").join(rare["run"].as_str().unwrap());
    let config = fs::read_to_string(config.join("config.resolved.toml")).unwrap();
    assert!(config.contains("dim = 4"), "{config}");

    let synth = [
        "data",
        "synth",
        "--rows",
        "5000",
        "--out",
        "s.tsv",
        "--set",
        "base_rate=0.05",
    ];
    let rate = json(dir.path(), &synth)["bayes"]["expected_rate"]
        .as_f64()
        .unwrap();
    assert!((rate - 0.05).abs() < 0.01, "{rate}");
    for (arguments, message) in [
        (
            &["train", "--set", "data.min_cuont=5"][..],
            "did you mean `min_count`?",
        ),
        (
            &["train", "--set", "data=5"],
            "expected a group of settings",
        ),
        (
            &[
                "data",
                "synth",
                "--rows",
                "9",
                "--out",
                "t.tsv",
                "--set",
                "base_rat=1",
            ],
            "base_rat",
        ),
    ] {
        let assert = xtask(dir.path(), arguments).assert().code(2);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(message), "{text}");
    }
}

#[test]
fn bf16_trains_close_to_f32_or_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let base = [
        "train", "--method", "none", "--rows", "20000", "--seed", "3",
    ];
    let bf16 = [&base, SMALL.as_slice(), &["--precision", "bf16"]].concat();
    if slimbed_fused::bf16_is_available() {
        let (whole, half) = (train(dir.path(), &[]), json(dir.path(), &bf16));
        let auc = |report: &Value| report["test_auc"].as_f64().unwrap();
        assert_ne!(whole["test_auc"], half["test_auc"], "bf16 rounds");
        assert!((auc(&whole) - auc(&half)).abs() < 0.01);
    } else {
        let assert = xtask(dir.path(), &bf16).assert().code(2);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains("lacks AVX-512 BF16"), "{text}");
    }
    for (more, message) in [
        (&["--precision", "f16"][..], "`train.precision`: expected"),
        (
            &["--precision", "bf16", "--set", "train.engine=graph"],
            "train.precision",
        ),
    ] {
        let arguments = [&base, SMALL.as_slice(), more].concat();
        let assert = xtask(dir.path(), &arguments).assert().code(2);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(message), "{text}");
    }
}
