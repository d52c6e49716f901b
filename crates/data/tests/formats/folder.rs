//! Folders of input files, prepared.

use std::path::PathBuf;

use slimbed_data::{
    Batch, BatchOptions, DataError, Dataset, Order, PrepareOptions, PrepareReport, Recipe, Split,
    prepare,
};
use slimbed_rng::Seed;
use tempfile::TempDir;

/// A prepared folder.
pub struct Prepared {
    pub report: PrepareReport,
    dataset: Dataset,
    _target: TempDir,
}

impl Prepared {
    /// Prepares what is in `inputs`.
    pub fn new(recipe: &Recipe, inputs: &[PathBuf], max_bad_rows: u64) -> Result<Self, DataError> {
        let target = tempfile::tempdir().unwrap();
        let out = target.path().join("out");
        let options = PrepareOptions {
            seed: Seed::new(7),
            max_bad_rows,
        };
        let report = prepare(recipe, inputs, &out, &options, &|_| {});
        assert_eq!(report.is_ok(), out.exists());
        let report = report?;
        let dataset = Dataset::open(&out).unwrap();
        dataset.verify(&|_| {}).unwrap();
        Ok(Self {
            report,
            dataset,
            _target: target,
        })
    }

    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    pub fn n_rows(&self) -> [u64; 3] {
        self.report.meta.splits.clone().map(|split| split.n_rows)
    }

    /// Rows and positives of all splits.
    pub fn totals(&self) -> (u64, u64) {
        let splits = self.report.meta.splits.iter();
        splits.fold((0, 0), |(n, m), split| {
            (n + split.n_rows, m + split.n_positives)
        })
    }

    /// Rows of the fields' tables.
    pub fn tables(&self) -> Vec<u32> {
        let fields = self.dataset.fields().iter();
        fields.map(|field| field.n_rows).collect()
    }

    /// A split in the order of the input.
    pub fn batches_of(&self, split: Split) -> Vec<Batch> {
        let options = BatchOptions {
            batch_size: 4096,
            order: Order::Sequential,
            start_batch: 0,
            prefetch: 2,
        };
        let batches = self.dataset.batches(split, options).unwrap();
        batches.map(Result::unwrap).collect()
    }

    /// All splits.
    pub fn batches(&self) -> Vec<Batch> {
        Split::ALL
            .iter()
            .flat_map(|&split| self.batches_of(split))
            .collect()
    }

    /// One field of a split.
    pub fn ids(&self, split: Split, field: usize) -> Vec<u32> {
        let batches = self.batches_of(split);
        let ids = batches.iter().flat_map(|batch| &batch.fields[field].ids);
        ids.copied().collect()
    }
}

/// Prepares a folder of `files` (names and bytes).
pub fn prepare_folder(
    recipe: &str,
    files: &[(&str, Vec<u8>)],
    max_bad_rows: u64,
) -> Result<Prepared, DataError> {
    let recipe = Recipe::parse(recipe, "toy.toml".as_ref())?;
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    Prepared::new(&recipe, &[folder.path().to_owned()], max_bad_rows)
}

/// Expects an error whose text has all parts of `expected`.
pub fn refused(recipe: &str, files: &[(&str, Vec<u8>)], max_bad_rows: u64, expected: &[&str]) {
    let error = prepare_folder(recipe, files, max_bad_rows).err();
    let text = error.expect("the input is bad").to_string();
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in `{text}`");
    }
}
