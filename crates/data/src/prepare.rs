//! From raw files to a prepared data set, in two passes.
//!
//! The first pass counts the categories of the training rows and fits what scales them, the second encodes all rows; splitting in
//! file order needs a third, before them, that counts rows, and what depends on times one that reads
//! them. Memory holds the vocabulary and a few chunks, never the rows, but all times for a split by time.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use slimbed_files::{AtomicDir, IoContext};
use slimbed_rng::Seed;

use crate::batches::{Batch, FieldIds};
use crate::dataset::{
    FORMAT_VERSION, FieldInfo, InputInfo, Meta, SplitInfo, VOCABULARY_FILE, pack_path,
};
use crate::pack::{FieldSchema, PackWriter, Schema};
use crate::reader::{BadRows, ReadProgress, RowReader, Rows, count_rows};
use crate::scale::{ScaleFitter, Scales};
use crate::split::RowSplitter;
use crate::vocabulary::Counter;
use crate::{DataError, FieldColumn, Recipe, Split, SplitRule, Vocabulary};

/// How a preparation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Seed of a random split.
    pub seed: Seed,
    /// Bad rows to skip before giving up.
    pub max_bad_rows: u64,
}

/// A pass over the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Counts rows, for a split in file order.
    Lines,
    /// Reads times, for a split by time and for buckets of time.
    Times,
    /// Counts categories.
    Vocabulary,
    /// Writes the packs.
    Encode,
}

/// How far a preparation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The pass.
    pub pass: Pass,
    /// Bytes of the input read in this pass.
    pub bytes: u64,
    /// Bytes of the input, which every pass reads once.
    pub total_bytes: u64,
    /// Lines read in this pass.
    pub lines: u64,
}

/// What a preparation did.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareReport {
    /// The description of the folder.
    pub meta: Meta,
    /// What was wrong with the first bad rows.
    pub bad_row_examples: Vec<String>,
    /// Seconds it took.
    pub secs: f64,
    /// Rows per second, all passes together.
    pub rows_per_s: f64,
}

/// Reads `inputs` as `recipe` says and makes the folder `out`; `inputs` is one folder where the recipe names
/// files.
///
/// The same seed and input give the same bytes for any number of threads.
///
/// # Errors
/// On the first bad row beyond the limit, on a split without rows or without both classes, and when the
/// file system refuses; `out` does not exist then.
pub fn prepare(
    recipe: &Recipe,
    inputs: &[PathBuf],
    out: &Path,
    options: &PrepareOptions,
    progress: &dyn Fn(Progress),
) -> Result<PrepareReport, DataError> {
    let started = Instant::now();
    let files = recipe.input_files(inputs)?;
    let mut job = Job {
        recipe,
        inputs,
        options,
        progress,
        total_bytes: total_bytes(&files)?,
        files,
        first_time: 0,
    };
    let folder = AtomicDir::create(out)?;
    let splitter = job.splitter()?;
    let fitted = job.fit(&splitter)?;
    fitted
        .vocabulary
        .save(&folder.path().join(VOCABULARY_FILE))?;
    let Encoded {
        meta,
        bad,
        label_column,
    } = job.encode(&splitter, &fitted, folder.path())?;
    job.check_splits(&meta, label_column)?;
    write_meta(&meta, &folder.path().join("meta.json"))?;
    folder.commit()?;
    let n_rows: u64 = meta.splits.iter().map(|split| split.n_rows).sum();
    let secs = started.elapsed().as_secs_f64();
    Ok(PrepareReport {
        meta,
        bad_row_examples: bad.examples,
        secs,
        rows_per_s: n_rows as f64 / secs,
    })
}

struct Job<'a> {
    recipe: &'a Recipe,
    inputs: &'a [PathBuf],
    options: &'a PrepareOptions,
    progress: &'a dyn Fn(Progress),
    total_bytes: u64,
    /// What the recipe makes of the inputs.
    files: Vec<PathBuf>,
    /// The second of the first rating.
    first_time: i64,
}

/// What the training split says of all rows.
struct Fitted {
    vocabulary: Vocabulary,
    scales: Scales,
}

/// What is known when the packs are written.
struct Encoded {
    meta: Meta,
    bad: BadRows,
    /// From 1.
    label_column: usize,
}

impl<'a> Job<'a> {
    /// Goes over all rows once.
    fn pass(
        &self,
        pass: Pass,
        mut work: impl FnMut(Vec<Rows>) -> Result<(), DataError>,
    ) -> Result<RowReader<'a>, DataError> {
        let most = self.options.max_bad_rows;
        let mut reader = RowReader::open_since(self.recipe, self.inputs, most, self.first_time)?;
        while let Some(group) = reader.next_group()? {
            work(group)?;
            self.tell(pass, reader.progress());
        }
        Ok(reader)
    }

    fn tell(&self, pass: Pass, at: ReadProgress) {
        (self.progress)(Progress {
            pass,
            bytes: at.bytes,
            total_bytes: self.total_bytes,
            lines: at.lines,
        });
    }

    /// The splitter, after the pass that it or the recipe needs.
    fn splitter(&mut self) -> Result<RowSplitter, DataError> {
        let mut times = Vec::new();
        if self.recipe.needs_times() {
            (self.first_time, times) = self.times()?;
        }
        let n_rows = match self.recipe.split {
            SplitRule::FileOrder { .. } => {
                count_rows(self.recipe, &self.files, |at| self.tell(Pass::Lines, at))?
            }
            _ => 0,
        };
        let (rule, seed) = (&self.recipe.split, self.options.seed);
        Ok(RowSplitter::new(rule, seed, n_rows, &mut times))
    }

    /// The earliest time, and for a split by time all of them.
    fn times(&self) -> Result<(i64, Vec<i64>), DataError> {
        let keeps_all = matches!(self.recipe.split, SplitRule::Time { .. });
        let (mut first, mut all) = (i64::MAX, Vec::new());
        self.pass(Pass::Times, |group| {
            for rows in group {
                first = rows
                    .times
                    .iter()
                    .fold(first, |first, &time| first.min(time));
                if keeps_all {
                    all.extend(rows.times);
                }
            }
            Ok(())
        })?;
        Ok((first, all))
    }

    fn fit(&self, splitter: &RowSplitter) -> Result<Fitted, DataError> {
        let fields = self.recipe.fields.iter();
        let mut counter = Counter::new(fields.map(FieldColumn::arity).collect());
        let mut scales = ScaleFitter::new(self.recipe);
        self.pass(Pass::Vocabulary, |group| {
            for rows in &group {
                let splits = splitter.splits(rows);
                counter.count(rows, &splits);
                scales.add(rows, &splits);
            }
            Ok(())
        })?;
        let names: Vec<_> = self
            .recipe
            .fields
            .iter()
            .map(|f| f.column.name.clone())
            .collect();
        Ok(Fitted {
            vocabulary: counter.finish(self.recipe.min_count, &names)?,
            scales: scales.finish(self.recipe),
        })
    }

    fn encode(
        &self,
        splitter: &RowSplitter,
        fitted: &Fitted,
        folder: &Path,
    ) -> Result<Encoded, DataError> {
        let schema = schema(self.recipe, &fitted.vocabulary);
        let create = |split| PackWriter::create(&pack_path(folder, split), schema.clone());
        let mut writers = [
            create(Split::Train)?,
            create(Split::Validation)?,
            create(Split::Test)?,
        ];
        let reader = self.pass(Pass::Encode, |group| {
            let encode = |rows: &Rows| encode_rows(rows, splitter, fitted, &schema);
            let encoded: Vec<[Batch; 3]> = group.par_iter().map(encode).collect();
            for parts in &encoded {
                for (writer, part) in writers.iter_mut().zip(parts) {
                    writer.append(part)?;
                }
            }
            Ok(())
        })?;
        let mut splits = Vec::new();
        for (split, writer) in Split::ALL.into_iter().zip(writers) {
            let (n_rows, n_positives) = writer.finish()?;
            splits.push(SplitInfo {
                name: split.name().into(),
                n_rows,
                n_positives,
            });
        }
        Ok(Encoded {
            meta: self.meta(fitted, splits, &reader),
            bad: reader.bad_rows().clone(),
            label_column: reader.label_column(),
        })
    }

    fn meta(&self, fitted: &Fitted, splits: Vec<SplitInfo>, reader: &RowReader<'_>) -> Meta {
        let recipe = self.recipe;
        let fields = recipe.fields.iter().zip(fitted.vocabulary.fields());
        let fields = fields.map(|(field, ids)| FieldInfo {
            name: field.column.name.clone(),
            n_rows: ids.n_rows(),
            n_oov: ids.counts()[0],
        });
        let inputs = reader
            .checksums()
            .into_iter()
            .map(|(path, n_bytes, hash)| InputInfo {
                file: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                n_bytes,
                xxh3: format!("{hash:016x}"),
            });
        Meta {
            format_version: FORMAT_VERSION,
            name: recipe.name.clone(),
            recipe: recipe.source().to_owned(),
            seed: self.options.seed.get(),
            dense: recipe
                .dense
                .iter()
                .map(|dense| dense.column.name.clone())
                .collect(),
            scales: fitted.scales.to_vec(),
            fields: fields.collect(),
            splits: splits
                .try_into()
                .unwrap_or_else(|_| unreachable!("three splits were written")),
            n_bad_rows: reader.bad_rows().n,
            inputs: inputs.collect(),
        }
    }

    /// Every split needs rows, and both classes.
    fn check_splits(&self, meta: &Meta, label_column: usize) -> Result<(), DataError> {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let files = files.join(", ");
        let n_rows = meta.splits.iter().map(|split| split.n_rows).sum();
        for (split, info) in Split::ALL.into_iter().zip(&meta.splits) {
            let split = split.name();
            if info.n_rows == 0 {
                return Err(DataError::EmptySplit {
                    files,
                    split,
                    n_rows,
                });
            }
            if info.n_positives == 0 || info.n_positives == info.n_rows {
                return Err(DataError::OneClass {
                    files,
                    column: label_column,
                    name: self.recipe.label.name.clone(),
                    split,
                    label: u8::from(info.n_positives > 0),
                    n_rows: info.n_rows,
                });
            }
        }
        Ok(())
    }
}

fn total_bytes(inputs: &[PathBuf]) -> Result<u64, DataError> {
    let sizes = inputs
        .iter()
        .map(|path| Ok(std::fs::metadata(path).at("open", path)?.len()));
    sizes.sum()
}

fn schema(recipe: &Recipe, vocabulary: &Vocabulary) -> Schema {
    let fields = recipe.fields.iter().zip(vocabulary.fields());
    let fields = fields.map(|(field, ids)| FieldSchema {
        n_rows: ids.n_rows(),
        arity: field.arity(),
    });
    Schema {
        n_dense: recipe.dense.len(),
        fields: fields.collect(),
    }
}

/// The rows of each split, ids in place of keys.
fn encode_rows(
    rows: &Rows,
    splitter: &RowSplitter,
    fitted: &Fitted,
    schema: &Schema,
) -> [Batch; 3] {
    let (n_dense, n_fields) = (schema.n_dense, schema.fields.len());
    let mut parts: [Batch; 3] = std::array::from_fn(|_| Batch::empty(schema));
    let mut bags: Vec<_> = rows.bags.iter().map(|bag| bag.iter().copied()).collect();
    let splits = splitter.splits(rows);
    for (i, split) in splits.into_iter().enumerate() {
        let part = &mut parts[split as usize];
        part.n += 1;
        part.labels.push(f32::from(rows.labels[i]));
        part.dense
            .extend_from_slice(&rows.dense[i * n_dense..][..n_dense]);
        let n_before = part.dense.len() - n_dense;
        fitted.scales.apply(&mut part.dense[n_before..]);
        let keys = &rows.keys[i * n_fields..][..n_fields];
        let fields = part.fields.iter_mut().zip(fitted.vocabulary.fields());
        let mut bags = bags.iter_mut();
        for ((field, ids), &key) in fields.zip(keys) {
            let FieldIds { ids: out, offsets } = field;
            let Some(offsets) = offsets else {
                out.push(ids.id(key));
                continue;
            };
            let bag = bags.next().into_iter().flatten();
            out.extend(bag.take(key as usize).map(|key| ids.id(key)));
            offsets.push(out.len() as u32);
        }
    }
    parts
}

fn write_meta(meta: &Meta, path: &Path) -> Result<(), DataError> {
    let text = serde_json::to_string_pretty(meta).map_err(std::io::Error::other);
    let text = text.at("describe", path)?;
    std::fs::write(path, text + "\n").at("write", path)?;
    Ok(())
}
