//! The data of a measurement: click-through samples in a file that any program can read.
//!
//! The file holds batch after batch, each little-endian 32-bit values: the labels `[batch]` (f32, 0 or 1),
//! the dense features `[batch, 13]` (f32), and the ids field by field `[26, batch]` (u32).

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use rayon::prelude::*;
use slimbed_data::{Batch, FieldIds};
use slimbed_files::{FileError, IoContext, write_atomically};
use slimbed_rng::{Permutation, Seed, Stream};

use super::zipf::Zipf;

/// Exponent of the ids' frequencies.
const ZIPF: f64 = 1.1;
/// Log-odds of a click without any effect: a quarter, as in the Criteo data. What the frequent ids of the
/// seed add moves the share of clicks.
const BIAS: f64 = -1.2;
/// The largest effect of an id, and of a dense feature, on the log-odds.
const EFFECT: f64 = 0.5;
/// Batches that are drawn at a time.
const BLOCK: usize = 64;

/// The samples of a data file.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// The file.
    pub path: &'a Path,
    /// Number of dense features.
    pub n_dense: usize,
    /// Rows of each field's table.
    pub n_rows: &'a [usize],
    /// Samples of a batch.
    pub batch: usize,
    /// Batches in the file.
    pub n_batches: usize,
}

/// Draws samples: Zipf ids whose places in the table are shuffled, normal dense features, and labels
/// from a planted logistic model, so that there is something to learn.
struct Sampler<'a> {
    samples: Samples<'a>,
    seed: Seed,
    fields: Vec<FieldSampler>,
    /// Weights of the dense features in the planted model.
    weights: Vec<f32>,
}

/// The ids of one field.
struct FieldSampler {
    n_rows: u64,
    ranks: Zipf,
    /// From the rank to the row.
    rows: Permutation,
    /// From the rank to the place among the effects, which are evenly spread.
    effects: Permutation,
}

/// Writes a data file, drawn from `seed`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(samples: Samples<'_>, seed: Seed) -> Result<(), FileError> {
    let sampler = Sampler::new(samples, seed);
    write_atomically(samples.path, |file, path| {
        let mut file = BufWriter::new(file);
        for first in (0..samples.n_batches).step_by(BLOCK) {
            let batches = first..(first + BLOCK).min(samples.n_batches);
            let drawn: Vec<Batch> = batches.into_par_iter().map(|i| sampler.batch(i)).collect();
            for batch in &drawn {
                write_batch(&mut file, batch).at("write", path)?;
            }
        }
        file.flush().at("write", path)
    })
}

/// Reads a data file.
///
/// # Errors
/// When the file cannot be read or is too short.
pub fn read(samples: Samples<'_>) -> Result<Vec<Batch>, FileError> {
    let path = samples.path;
    let mut file = BufReader::new(File::open(path).at("open", path)?);
    (0..samples.n_batches)
        .map(|_| read_batch(&mut file, samples).at("read", path))
        .collect()
}

impl<'a> Sampler<'a> {
    fn new(samples: Samples<'a>, seed: Seed) -> Self {
        let fields = samples.n_rows.iter().enumerate();
        let fields = fields.map(|(i, &n)| FieldSampler::new(n as u64, seed, i as u64));
        let mut weights = vec![0.0; samples.n_dense];
        seed.stream("bench/weights", 0)
            .fill_uniform(&mut weights, EFFECT as f32);
        Self {
            samples,
            seed,
            fields: fields.collect(),
            weights,
        }
    }

    /// Batch number `i`, whatever was drawn before.
    fn batch(&self, i: usize) -> Batch {
        let n = self.samples.batch;
        let mut stream = self.seed.stream("bench/batch", i as u64);
        let mut dense = vec![0.0; n * self.weights.len()];
        stream.fill_normal(&mut dense, 1.0);
        let mut log_odds: Vec<f64> = dense
            .chunks_exact(self.weights.len())
            .map(|x| BIAS + dot(x, &self.weights))
            .collect();
        let fields = self.fields.iter().map(|field| FieldIds {
            ids: field.ids(&mut stream, &mut log_odds),
            offsets: None,
        });
        let fields = fields.collect();
        let clicks = |l: &f64| stream.uniform_f64() < 1.0 / (1.0 + (-l).exp());
        Batch {
            n,
            dense,
            fields,
            labels: log_odds.iter().map(clicks).map(f32::from).collect(),
        }
    }
}

impl FieldSampler {
    fn new(n_rows: u64, seed: Seed, index: u64) -> Self {
        Self {
            n_rows,
            ranks: Zipf::new(n_rows, ZIPF),
            rows: Permutation::new(n_rows, seed, "bench/rows", index),
            effects: Permutation::new(n_rows, seed, "bench/effects", index),
        }
    }

    /// An id for each sample, whose effect is added to the sample's log-odds.
    fn ids(&self, stream: &mut Stream, log_odds: &mut [f64]) -> Vec<u32> {
        let draw = |log_odds: &mut f64| {
            let rank = self.ranks.draw(stream);
            let place = (self.effects.apply(rank) as f64 + 0.5) / self.n_rows as f64;
            *log_odds += EFFECT * (2.0 * place - 1.0);
            self.rows.apply(rank) as u32
        };
        log_odds.iter_mut().map(draw).collect()
    }
}

fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum()
}

fn write_batch(file: &mut impl Write, batch: &Batch) -> std::io::Result<()> {
    for value in batch.labels.iter().chain(&batch.dense) {
        file.write_all(&value.to_le_bytes())?;
    }
    for id in batch.fields.iter().flat_map(|field| &field.ids) {
        file.write_all(&id.to_le_bytes())?;
    }
    Ok(())
}

fn read_batch(file: &mut impl Read, samples: Samples<'_>) -> std::io::Result<Batch> {
    let n = samples.batch;
    let labels = read_words(file, n, f32::from_le_bytes)?;
    let dense = read_words(file, n * samples.n_dense, f32::from_le_bytes)?;
    let field = |_| {
        let ids = read_words(file, n, u32::from_le_bytes)?;
        Ok(FieldIds { ids, offsets: None })
    };
    Ok(Batch {
        n,
        labels,
        dense,
        fields: (0..samples.n_rows.len())
            .map(field)
            .collect::<Result<_, std::io::Error>>()?,
    })
}

fn read_words<T>(
    file: &mut impl Read,
    n: usize,
    parse: fn([u8; 4]) -> T,
) -> std::io::Result<Vec<T>> {
    let mut bytes = vec![0; 4 * n];
    file.read_exact(&mut bytes)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|&word| parse(word)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::cases::{Rows, model};
    use super::*;

    fn samples<'a>(path: &'a Path, n_rows: &'a [usize]) -> Samples<'a> {
        Samples {
            path,
            n_dense: model().n_dense,
            n_rows,
            batch: 50,
            n_batches: 70,
        }
    }

    #[test]
    fn what_is_written_is_read_and_has_the_stated_layout() {
        let folder = tempfile::tempdir().unwrap();
        let (path, n_rows) = (folder.path().join("data.bin"), Rows(5_000).per_field());
        let samples = samples(&path, &n_rows);
        write(samples, Seed::new(1)).unwrap();
        let batches = read(samples).unwrap();
        let sampler = Sampler::new(samples, Seed::new(1));
        assert_eq!(batches.len(), 70);
        assert_eq!(batches[69], sampler.batch(69));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 70 * 50 * (1 + 13 + 26) * 4);
        let second_field = &bytes[(50 + 50 * 13 + 50) * 4..][..4];
        assert_eq!(second_field, batches[0].fields[1].ids[0].to_le_bytes());
    }

    #[test]
    fn samples_are_shaped_like_clicks() {
        let n_rows = Rows(5_000).per_field();
        let sampler = Sampler::new(samples(Path::new("data.bin"), &n_rows), Seed::new(1));
        let batches: Vec<Batch> = (0..70).map(|i| sampler.batch(i)).collect();
        let labels: Vec<f32> = batches.iter().flat_map(|b| b.labels.clone()).collect();
        let clicks = labels.iter().sum::<f32>() / labels.len() as f32;
        assert!((0.1..0.5).contains(&clicks), "{clicks}");
        for (field, &n_rows) in n_rows.iter().enumerate() {
            let ids = batches.iter().flat_map(|b| &b.fields[field].ids);
            assert!(ids.clone().all(|&id| (id as usize) < n_rows));
            let mut distinct: Vec<_> = ids.collect();
            distinct.sort_unstable();
            distinct.dedup();
            assert!(distinct.len() > n_rows.min(50) / 2, "field {field}");
        }
    }
}
