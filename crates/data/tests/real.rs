//! The recipes in `datasets/`, and the first 80,000 rows of Criteo where they are at hand.
//!
//! `SLIMBED_DATA` names a folder with `criteo/criteo_head80k.txt`.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::path::{Path, PathBuf};

use slimbed_data::{
    BatchOptions, CellKind, Dataset, FieldKind, Order, PrepareOptions, Recipe, Split, prepare,
};
use slimbed_rng::Seed;

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets")
}

#[test]
fn every_recipe_is_read() {
    let mut n_recipes = 0;
    for entry in std::fs::read_dir(recipes()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let recipe = Recipe::load(&path).unwrap();
            assert!(!recipe.fields.is_empty() && !recipe.description.is_empty());
            n_recipes += 1;
        }
    }
    assert!(n_recipes >= 4);
}

#[test]
fn criteos_recipe_has_its_columns() {
    let recipe = Recipe::load(&recipes().join("criteo-kaggle.toml")).unwrap();
    assert_eq!((recipe.n_columns, recipe.label.index), (40, 0));
    assert_eq!((recipe.dense.len(), recipe.fields.len()), (13, 26));
    let last = &recipe.fields[25];
    assert_eq!((&*last.column.name, last.column.index), ("C26", 39));
    assert!(
        recipe
            .fields
            .iter()
            .all(|field| field.kind == FieldKind::Cell(CellKind::Hex))
    );
}

#[test]
fn the_head_of_criteo_is_prepared() {
    let Some(folder) = std::env::var_os("SLIMBED_DATA") else {
        println!("skipped: SLIMBED_DATA is not set");
        return;
    };
    let input = Path::new(&folder).join("criteo/criteo_head80k.txt");
    let recipe = Recipe::load(&recipes().join("criteo-kaggle.toml")).unwrap();
    let target = tempfile::tempdir().unwrap();
    let out = target.path().join("criteo");
    let options = PrepareOptions {
        seed: Seed::new(1),
        max_bad_rows: 0,
    };
    let report = prepare(&recipe, &[input], &out, &options, &|_| {}).unwrap();
    assert_eq!(report.meta.n_bad_rows, 0);
    let dataset = Dataset::open(&out).unwrap();
    dataset.verify(&|_| {}).unwrap();
    let n_rows = Split::ALL.map(|split| dataset.n_rows(split));
    assert_eq!(n_rows.iter().sum::<u64>(), 80_000);
    assert!(n_rows[0].abs_diff(64_000) < 500 && n_rows[1].abs_diff(8_000) < 500);
    let positives = |split| dataset.base_rate(split) * dataset.n_rows(split) as f64;
    let base_rate = Split::ALL.map(positives).iter().sum::<f64>() / 80_000.0;
    assert!((base_rate - 0.2245).abs() < 0.0005, "{base_rate}");
    check_ids(&dataset);
}

/// Ids of the training rows occur as often as the vocabulary says, frequent ones first.
fn check_ids(dataset: &Dataset) {
    let options = BatchOptions {
        batch_size: 4096,
        order: Order::Sequential,
        start_batch: 0,
        prefetch: 2,
    };
    let tables = dataset.fields().iter();
    let mut counts: Vec<_> = tables.map(|field| vec![0; field.n_rows as usize]).collect();
    for batch in dataset.batches(Split::Train, options).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.dense.iter().all(|value| (0.0..20.0).contains(value)));
        for (counts, field) in counts.iter_mut().zip(&batch.fields) {
            field.ids.iter().for_each(|&id| counts[id as usize] += 1);
        }
    }
    let vocabulary = dataset.vocabulary().unwrap();
    for ((field, info), counts) in vocabulary.fields().iter().zip(dataset.fields()).zip(counts) {
        assert_eq!(field.counts(), counts, "{}", info.name);
        assert_eq!(info.n_oov, counts[0], "{}", info.name);
        assert!(counts[1..].is_sorted_by(|a, b| a >= b) && counts[1..].iter().all(|&n| n >= 4));
        assert!((2..20_000).contains(&info.n_rows), "{}", info.name);
    }
    // C9 tells two or three values apart, C3 is one of the largest.
    assert!(dataset.fields()[8].n_rows <= 4 && dataset.fields()[2].n_rows > 1000);
}
