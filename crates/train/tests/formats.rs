//! From files of several formats to the figures of a reloaded model: recipe, preparation, a few steps of
//! training, the shipped file opened again, its scores.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::fs;
use std::path::PathBuf;

use candle_core::Device;
use serde_json::Map;
use slimbed_data::{Dataset, PrepareOptions, Recipe, Split, prepare};
use slimbed_rng::{Seed, Stream};
use slimbed_train::{
    Config, DenseOptimizerKind, Report, RunRequest, SparseOptimizerKind, score_artefact,
};

const SEED: Seed = Seed::new(11);
const N_ROWS: u64 = 3000;

/// A user and an item, and whether the user likes the item: what both are decides, with some noise.
fn draw(stream: &mut Stream) -> (u64, u64, bool) {
    let (user, item) = (stream.below(20), stream.below(30));
    let is_liked = user % 4 + item % 3 > 2;
    (user, item, is_liked ^ (stream.below(20) == 0))
}

fn libfm(purpose: &str, n: u64) -> String {
    let mut stream = SEED.stream(purpose, 0);
    let line = |_| {
        let (user, item, is_liked) = draw(&mut stream);
        let label = if is_liked { 1 } else { -1 };
        format!("{label} {user}:1 {}:1 {}:1\n", 20 + item, 50 + item % 3)
    };
    (0..n).map(line).collect()
}

const LIBFM: &str = r#"
name = "libfm"
format = "libfm"
[files]
train = ["train.libfm"]
validation = ["validation.libfm"]
test = ["test.libfm"]
[label]
[[fields]]
names = "user, item, kind"
[split]
kind = "files"
"#;

fn libfm_files() -> Vec<(&'static str, String)> {
    vec![
        ("train.libfm", libfm("train", N_ROWS)),
        ("validation.libfm", libfm("validation", N_ROWS / 8)),
        ("test.libfm", libfm("test", N_ROWS / 8)),
    ]
}

const MOVIELENS: &str = r#"
name = "movielens"
format = "movielens-1m"
[files]
ratings = ["ratings.dat"]
users = ["users.dat"]
movies = ["movies.dat"]
[label]
positive = 4
[[fields]]
names = "user, item, gender, year"
[[fields]]
names = "genres"
kind = "bag"
[split]
kind = "time"
shares = { train = 8, validation = 1, test = 1 }
"#;

fn movielens_files() -> Vec<(&'static str, String)> {
    let mut stream = SEED.stream("ratings", 0);
    let rating = |i: u64| {
        let (user, item, is_liked) = draw(&mut stream);
        let stars = if is_liked { 4 + i % 2 } else { 1 + i % 3 };
        format!("{user}::{item}::{stars}::{}\n", 1_000_000_000 + i * 60)
    };
    let ratings: String = (0..N_ROWS).map(rating).collect();
    let user = |id: u64| {
        let gender = ["F", "M"][id as usize % 2];
        format!("{id}::{gender}::25::{}::0000{}\n", id % 21, id % 7)
    };
    let movie = |id: u64| {
        let genres = ["Drama", "Drama|War", "Action|Comedy|War"][id as usize % 3];
        format!("{id}::Film {id} ({})::{genres}\n", 1990 + id % 9)
    };
    vec![
        ("ratings.dat", ratings),
        ("users.dat", (0..20).map(user).collect()),
        ("movies.dat", (0..30).map(movie).collect()),
    ]
}

const CSV: &str = r#"
name = "csv"
format = "csv"
[files]
train = ["train.csv"]
validation = ["validation.csv"]
test = ["test.csv"]
[label]
column = "stars"
positive = "> 3"
[[dense]]
names = "kind"
transform = "identity"
scale = "standard"
[[fields]]
names = "user"
kind = "text"
[[fields]]
names = "tags"
kind = "text"
separator = ";"
[split]
kind = "files"
"#;

fn csv(purpose: &str, n: u64) -> String {
    let mut stream = SEED.stream(purpose, 1);
    let line = |_| {
        let (user, item, is_liked) = draw(&mut stream);
        let (stars, tags) = (
            if is_liked { 5 } else { 2 },
            ["", "a", "a;b"][item as usize % 3],
        );
        format!("\"{user}, \"\"the\"\" user\",{tags},{stars},{}\n", item % 3)
    };
    let rows: String = (0..n).map(line).collect();
    format!("user,tags,stars,kind\n{rows}")
}

fn csv_files() -> Vec<(&'static str, String)> {
    vec![
        ("train.csv", csv("train", N_ROWS)),
        ("validation.csv", csv("validation", N_ROWS / 8)),
        ("test.csv", csv("test", N_ROWS / 8)),
    ]
}

fn config() -> Config {
    let mut config = Config::default();
    config.model.dim = 4;
    config.model.bottom = vec![8];
    config.model.top = vec![16];
    let train = &mut config.train;
    train.epochs = 4;
    train.batch_size = 64;
    train.optimizer = DenseOptimizerKind::Adam;
    train.lr = 0.01;
    train.embedding_optimizer = SparseOptimizerKind::LazyAdam;
    train.embedding_lr = 0.02;
    train.validate_every = 40;
    config
}

/// Prepares and trains, and holds what was reported against the shipped file.
fn check(recipe: &str, files: &[(&str, String)], n_fields: usize) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    fs::create_dir(&raw).unwrap();
    for (name, text) in files {
        fs::write(raw.join(name), text).unwrap();
    }
    let recipe = Recipe::parse(recipe, "toy.toml".as_ref()).unwrap();
    let options = PrepareOptions {
        seed: SEED,
        max_bad_rows: 0,
    };
    let data: PathBuf = folder.path().join("data");
    prepare(&recipe, &[raw], &data, &options, &|_| {}).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    assert_eq!(dataset.fields().len(), n_fields);
    let report = slimbed_train::run(&RunRequest {
        dataset: &dataset,
        config: config(),
        seed: SEED,
        device: Device::Cpu,
        root: folder.path().join("runs"),
        name: "run".into(),
        extra: Map::new(),
    });
    let report = report.unwrap();
    let file = folder.path().join("runs/run/export/model.safetensors");
    let again = score_artefact(&file, &dataset, Split::Test, &Device::Cpu, &|_| {}).unwrap();
    let again = again.metrics(Split::Test).unwrap();
    assert_eq!(again, report.test);
    assert_eq!(again.n as u64, dataset.n_rows(Split::Test));
    report
}

/// One label in twenty is turned round, so no model passes about 0.95.
fn assert_learned(report: &Report) {
    println!(
        "{}: {} after {} steps",
        report.data, report.test_auc, report.n_steps
    );
    assert!(
        (0.8..0.99).contains(&report.test_auc),
        "{}",
        report.test_auc
    );
}

#[test]
fn libfm_is_learned() {
    assert_learned(&check(LIBFM, &libfm_files(), 3));
}

#[test]
fn movielens_is_learned() {
    assert_learned(&check(MOVIELENS, &movielens_files(), 5));
}

#[test]
fn csv_is_learned() {
    assert_learned(&check(CSV, &csv_files(), 2));
}
