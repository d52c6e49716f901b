//! A prepared data set: a folder of packs, a vocabulary and a description.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slimbed_files::IoContext;

use crate::batches::{BatchOptions, Batches};
use crate::pack::PackReader;
use crate::scale::DenseScale;
use crate::{DataError, Split, Vocabulary};

/// The version of `meta.json` and of the folder's layout.
pub const FORMAT_VERSION: u32 = 1;
pub const VOCABULARY_FILE: &str = "vocabulary.bin";

/// What `meta.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Version of the folder's layout.
    pub format_version: u32,
    /// Name of the recipe.
    pub name: String,
    /// Text of the recipe.
    pub recipe: String,
    /// Seed of the split.
    pub seed: u64,
    /// Names of the dense features.
    pub dense: Vec<String>,
    /// How dense features were scaled, those that were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<DenseScale>,
    /// The fields.
    pub fields: Vec<FieldInfo>,
    /// The splits in the order training, validation, test.
    pub splits: [SplitInfo; 3],
    /// Rows that were skipped as bad.
    pub n_bad_rows: u64,
    /// The files it was made from.
    pub inputs: Vec<InputInfo>,
}

/// A field of a prepared data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldInfo {
    /// Its name.
    pub name: String,
    /// Rows of its table, row 0 (out of vocabulary) included.
    pub n_rows: u32,
    /// Training rows whose id is row 0.
    pub n_oov: u64,
}

/// A split of a prepared data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitInfo {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub n_rows: u64,
    /// Its rows with label 1.
    pub n_positives: u64,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputInfo {
    /// The file's name without its folder.
    pub file: String,
    /// Its size.
    pub n_bytes: u64,
    /// xxh3-64 of its bytes in hexadecimal.
    pub xxh3: String,
}

/// An opened data set.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    meta: Meta,
    packs: [Arc<PackReader>; 3],
}

impl Dataset {
    /// Opens a folder made by [`prepare`](crate::prepare).
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let meta = read_meta(&path.join("meta.json"))?;
        let open = |split: Split| PackReader::open(&pack_path(path, split)).map(Arc::new);
        let packs = [
            open(Split::Train)?,
            open(Split::Validation)?,
            open(Split::Test)?,
        ];
        let dataset = Self {
            path: path.to_owned(),
            meta,
            packs,
        };
        Split::ALL
            .into_iter()
            .try_for_each(|split| dataset.check(split))?;
        Ok(dataset)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the folder says of itself.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The fields in order.
    pub fn fields(&self) -> &[FieldInfo] {
        &self.meta.fields
    }

    /// Number of dense features.
    pub fn n_dense(&self) -> usize {
        self.meta.dense.len()
    }

    /// Rows of a split.
    pub fn n_rows(&self, split: Split) -> u64 {
        self.pack(split).n_rows()
    }

    /// Share of rows with label 1 in a split; NaN when it has none.
    pub fn base_rate(&self, split: Split) -> f64 {
        self.pack(split).n_positives() as f64 / self.n_rows(split) as f64
    }

    /// Bytes of a split on disk.
    pub fn n_bytes(&self, split: Split) -> u64 {
        self.pack(split).n_bytes()
    }

    /// Reads the vocabulary: keys and counts of every id.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn vocabulary(&self) -> Result<Vocabulary, DataError> {
        Vocabulary::load(&self.path.join(VOCABULARY_FILE))
    }

    /// Starts a pass over a split.
    ///
    /// # Errors
    /// When no thread can be started; damaged blocks are reported by the iterator.
    pub fn batches(&self, split: Split, options: BatchOptions) -> Result<Batches, DataError> {
        Batches::start(self.pack(split).clone(), options)
    }

    /// Reads everything and compares it with its checksums; `progress` is told the rows of each block.
    ///
    /// # Errors
    /// Names the first damaged part.
    pub fn verify(&self, progress: &dyn Fn(u64)) -> Result<(), DataError> {
        self.check_vocabulary()?;
        for pack in &self.packs {
            for block in 0..pack.n_blocks() {
                progress(pack.read_block(block)?.n as u64);
            }
        }
        Ok(())
    }

    /// Compares the vocabulary's rows and out-of-vocabulary counts with the description.
    fn check_vocabulary(&self) -> Result<(), DataError> {
        let vocabulary = self.vocabulary()?;
        let fields = vocabulary.fields().iter();
        let found: Vec<_> = fields.map(|ids| (ids.n_rows(), ids.counts()[0])).collect();
        let fields = self.meta.fields.iter();
        let expected: Vec<_> = fields.map(|info| (info.n_rows, info.n_oov)).collect();
        if expected == found {
            return Ok(());
        }
        Err(DataError::Damaged {
            path: self.path.join(VOCABULARY_FILE),
            what: "rows and out-of-vocabulary count of each field".into(),
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        })
    }

    fn pack(&self, split: Split) -> &Arc<PackReader> {
        &self.packs[split as usize]
    }

    /// Compares a pack's columns and size with the description.
    fn check(&self, split: Split) -> Result<(), DataError> {
        let (pack, info) = (self.pack(split), &self.meta.splits[split as usize]);
        let described: Vec<u32> = self.meta.fields.iter().map(|field| field.n_rows).collect();
        let found: Vec<u32> = pack
            .schema()
            .fields
            .iter()
            .map(|field| field.n_rows)
            .collect();
        let expected = (self.n_dense(), described, info.n_rows, info.n_positives);
        let found = (
            pack.schema().n_dense,
            found,
            pack.n_rows(),
            pack.n_positives(),
        );
        if expected != found {
            return Err(DataError::Damaged {
                path: pack_path(&self.path, split),
                what: "dense columns, table rows, rows, positives".into(),
                expected: format!("{expected:?}"),
                found: format!("{found:?}"),
            });
        }
        Ok(())
    }
}

/// The file of a split.
pub(crate) fn pack_path(folder: &Path, split: Split) -> PathBuf {
    folder.join(format!("{}.pack", split.name()))
}

fn read_meta(path: &Path) -> Result<Meta, DataError> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    let damaged = |expected: String, found: String| DataError::Damaged {
        path: path.to_owned(),
        what: "description".into(),
        expected,
        found,
    };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| damaged("JSON".into(), e.to_string()))?;
    if value["format_version"].as_u64() != Some(FORMAT_VERSION.into()) {
        let found = value["format_version"].to_string();
        return Err(damaged(format!("format_version {FORMAT_VERSION}"), found));
    }
    serde_json::from_value(value).map_err(|e| damaged("a data set".into(), e.to_string()))
}
