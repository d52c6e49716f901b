//! The ids that both sides look up.

use std::io::Write;
use std::path::Path;

use slimbed_compact::Bags;
use slimbed_files::{FileError, IoContext, write_atomically};
use slimbed_rng::{Permutation, Seed};

use super::cases::{Ids, Order};
use crate::bench::zipf::Zipf;

/// Exponent of the ids' frequencies.
const ZIPF: f64 = 1.05;
/// Ids of a stream: 270 MB of rows at 64 bytes each, so that uniform ids find them in memory.
const N_IDS: usize = 1 << 22;
/// The least number of batches, however large they are.
const MIN_BATCHES: usize = 64;
/// Purpose of the permutation from ranks to rows.
const SCATTER: &str = "bench/lookup/scatter";

/// Batches of bags of one length.
#[derive(Debug)]
pub struct Stream {
    /// How the ids are drawn.
    pub kind: Ids,
    /// Ids of a bag.
    pub bag: usize,
    /// Bags of a batch.
    pub batch: usize,
    /// All ids, batch after batch.
    ids: Vec<u32>,
    /// `[batch + 1]`: where the bags of a batch begin.
    offsets: Vec<u32>,
}

impl Stream {
    /// Draws ids below `n_rows`.
    pub fn draw(kind: Ids, bag: usize, batch: usize, places: &Places, seed: Seed) -> Self {
        let n_rows = places.n_rows;
        // A table of few rows is in the cache anyway.
        let n_batches = N_IDS.min(4 * n_rows) / (batch * bag);
        let n_ids = n_batches.max(MIN_BATCHES) * batch * bag;
        let mut stream = seed.stream(&format!("bench/lookup/{}", kind.name()), bag as u64);
        let zipf = Zipf::new(n_rows as u64, ZIPF);
        let mut draw = || match kind {
            Ids::Zipf => places.row(zipf.draw(&mut stream) as usize) as u32,
            Ids::Uniform => stream.below(n_rows as u64) as u32,
        };
        Self {
            kind,
            bag,
            batch,
            ids: (0..n_ids).map(|_| draw()).collect(),
            offsets: (0..=batch).map(|b| (b * bag) as u32).collect(),
        }
    }

    /// Number of ids of all batches.
    pub fn n_ids(&self) -> usize {
        self.ids.len()
    }

    /// The ids of each batch.
    pub fn batches(&self) -> impl Iterator<Item = &[u32]> {
        self.ids.chunks_exact(self.batch * self.bag)
    }

    /// A batch, or whole bags of it, as our tables take it.
    pub fn bags<'a>(&'a self, ids: &'a [u32]) -> Bags<'a> {
        match self.bag {
            1 => Bags::single(ids),
            bag => Bags::new(ids, &self.offsets[..=ids.len() / bag]),
        }
    }

    /// Writes all ids, little-endian 32-bit.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let bytes: Vec<u8> = self.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        write_atomically(path, |file, path| file.write_all(&bytes).at("write", path))
    }
}

/// From the rank of an id, most frequent first, to its row.
#[derive(Clone, Debug)]
pub struct Places {
    /// Rows of the table.
    pub n_rows: usize,
    scatter: Option<Permutation>,
}

impl Places {
    /// Places in that order.
    pub fn new(order: Order, n_rows: usize, seed: Seed) -> Self {
        let scatter = || Permutation::new(n_rows as u64, seed, SCATTER, 0);
        Self {
            n_rows,
            scatter: (order == Order::Scattered).then(scatter),
        }
    }

    /// The row of the id with this rank, from 0.
    pub fn row(&self, rank: usize) -> usize {
        let scatter = self.scatter.as_ref();
        scatter.map_or(rank, |scatter| scatter.apply(rank as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(order: Order) -> Places {
        Places::new(order, 50, Seed::new(1))
    }

    fn stream(kind: Ids, bag: usize) -> Stream {
        Stream::draw(kind, bag, 16, &places(Order::Scattered), Seed::new(1))
    }

    #[test]
    fn batches_have_whole_bags() {
        let stream = stream(Ids::Uniform, 3);
        assert_eq!(stream.batches().count(), MIN_BATCHES);
        let first = stream.batches().next().unwrap();
        assert_eq!((first.len(), stream.bags(first).n()), (48, 16));
        assert_eq!(stream.bags(&first[..24]).range(7), 21..24);
    }

    #[test]
    fn zipf_ids_fall_on_few_rows_and_uniform_ones_on_all() {
        let most = |kind| {
            let mut counts = [0_usize; 50];
            let stream = stream(kind, 3);
            stream.ids.iter().for_each(|&id| counts[id as usize] += 1);
            let largest = counts
                .iter()
                .position(|n| n == counts.iter().max().unwrap());
            (largest.unwrap(), counts)
        };
        let (row, counts) = most(Ids::Zipf);
        assert_eq!(row, places(Order::Scattered).row(0));
        assert_eq!(places(Order::Ranked).row(7), 7);
        // The first of 50 ranks has 1 in 4.27 draws.
        assert!((600..850).contains(&counts[row]), "{counts:?}");
        let (_, counts) = most(Ids::Uniform);
        assert!(counts.iter().all(|n| (30..100).contains(n)), "{counts:?}");
    }
}
