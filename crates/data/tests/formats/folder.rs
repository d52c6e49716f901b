//! Folders of input files, prepared.

use std::io::Write;
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
    let (folder, _) = written(files);
    Prepared::new(&recipe, &[folder.path().to_owned()], max_bad_rows)
}

/// Writes `files` into a folder; their paths.
pub fn written(files: &[(&str, Vec<u8>)]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.iter().map(|(name, bytes)| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

/// The bytes of every file that `files` are prepared to, by `n_threads`; without the list of inputs.
pub fn outputs(recipe: &str, files: &[(&str, Vec<u8>)], n_threads: usize) -> Vec<Vec<u8>> {
    let recipe = Recipe::parse(recipe, "toy.toml".as_ref()).unwrap();
    let (_folder, paths) = written(files);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
    let prepared = pool
        .build()
        .unwrap()
        .install(|| Prepared::new(&recipe, &paths, 0));
    let prepared = prepared.unwrap();
    let mut meta = prepared.report.meta.clone();
    meta.inputs.clear();
    let names = [
        "train.pack",
        "validation.pack",
        "test.pack",
        "vocabulary.bin",
    ];
    let read = |name| std::fs::read(prepared.dataset().path().join(name)).unwrap();
    let meta = serde_json::to_vec(&meta).unwrap();
    names.into_iter().map(read).chain([meta]).collect()
}

/// A gzip file of `bytes`.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Expects an error whose text has all parts of `expected`.
pub fn refused(recipe: &str, files: &[(&str, Vec<u8>)], max_bad_rows: u64, expected: &[&str]) {
    let error = prepare_folder(recipe, files, max_bad_rows).err();
    let text = error.expect("the input is bad").to_string();
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in `{text}`");
    }
}
