//! AUC of a stream in fixed memory, with a proven error bound.

use serde::{Deserialize, Serialize};

use crate::check::{Accept, check_samples};
use crate::loss::sigmoid;
use crate::{Label, MetricError};

/// The nodes of the squashing function: every 1/8 between logits -16 and 16.
const N_CELLS: usize = 256;
const CELLS_PER_UNIT: f64 = 8.0;
const REACH: f64 = 16.0;

/// What the last operations on an exact and on a binned AUC may round: three roundings of half an
/// epsilon each on both sides, and on the bound itself.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// A histogram of the logits of each class. Streams, merges, and takes 16 bytes for each bin.
///
/// Bins are equal steps of a non-decreasing function of the logit, so the order of samples in
/// different bins is exact; only pairs within a bin are unknown, and counting them half is wrong by at
/// most half of them: the error is at most `1/2 Σ_b pos_b neg_b / (P N)`.
///
/// The function is the sigmoid, because its steps are fine where predictions crowd. The upper bits of
/// the float would need no function, but give one octave of logits 128 bins out of 65 536: on logits
/// `N(-1.5, 1)` their bound is more than 20 times larger (a test holds this). The sigmoid is
/// interpolated between 257 nodes: every step of that is non-decreasing even after rounding, which
/// `exp` of a system library does not promise, and which the bound rests on.
#[derive(Clone, Debug)]
pub struct BinnedAuc {
    squash: Squash,
    n_positives: Vec<u64>,
    n_negatives: Vec<u64>,
}

/// A binned AUC and how far from the exact one it can be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinnedEstimate {
    /// AUC with pairs in one bin counted half.
    pub auc: f64,
    /// The exact AUC lies within `auc ± bound`.
    pub bound: f64,
}

impl Default for BinnedAuc {
    fn default() -> Self {
        Self::empty(Self::DEFAULT_BINS)
    }
}

impl BinnedAuc {
    /// 65 536 bins: 1 MiB, and a bound near 1e-5 on click predictions.
    pub const DEFAULT_BINS: usize = 1 << 16;

    /// An empty histogram of `n_bins` bins.
    ///
    /// # Errors
    /// [`MetricError::NoBins`] when `n_bins` is 0.
    pub fn new(n_bins: usize) -> Result<Self, MetricError> {
        if n_bins == 0 {
            return Err(MetricError::NoBins);
        }
        Ok(Self::empty(n_bins))
    }

    /// Counts `logits` `[n]` with `labels` `[n]`. Infinite logits go to the outer bins.
    ///
    /// # Errors
    /// [`MetricError`] names the first NaN, the first label that is not 0 or 1, or a length that
    /// differs; nothing is counted then.
    pub fn update<L: Label>(&mut self, logits: &[f32], labels: &[L]) -> Result<(), MetricError> {
        check_samples(logits, labels, Accept::AllButNan)?;
        let n_bins = self.n_positives.len();
        for (&logit, label) in logits.iter().zip(labels) {
            let counts = if label.is_positive() {
                &mut self.n_positives
            } else {
                &mut self.n_negatives
            };
            counts[self.squash.bin(logit, n_bins)] += 1;
        }
        Ok(())
    }

    /// Adds what `other` counted, as if both had seen one stream.
    ///
    /// # Errors
    /// [`MetricError::Bins`] when the numbers of bins differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricError> {
        let (expected, found) = (self.n_positives.len(), other.n_positives.len());
        if expected != found {
            return Err(MetricError::Bins { expected, found });
        }
        add(&mut self.n_positives, &other.n_positives);
        add(&mut self.n_negatives, &other.n_negatives);
        Ok(())
    }

    /// The AUC of everything counted so far, with its bound.
    ///
    /// # Errors
    /// [`MetricError::OneClass`] when a class was not seen.
    pub fn estimate(&self) -> Result<BinnedEstimate, MetricError> {
        let (mut n_below, mut n_positives) = (0u128, 0u128);
        let (mut doubled_wins, mut n_unknown) = (0u128, 0u128);
        for (&p, &q) in self.n_positives.iter().zip(&self.n_negatives) {
            let (p, q) = (u128::from(p), u128::from(q));
            doubled_wins += p * (2 * n_below + q);
            n_unknown += p * q;
            n_below += q;
            n_positives += p;
        }
        if n_positives == 0 || n_below == 0 {
            return Err(MetricError::OneClass {
                n_positives: n_positives as usize,
                n_negatives: n_below as usize,
            });
        }
        let doubled_pairs = (2 * n_positives * n_below) as f64;
        Ok(BinnedEstimate {
            auc: doubled_wins as f64 / doubled_pairs,
            bound: n_unknown as f64 / doubled_pairs + ROUNDING,
        })
    }

    fn empty(n_bins: usize) -> Self {
        Self {
            squash: Squash::new(),
            n_positives: vec![0; n_bins],
            n_negatives: vec![0; n_bins],
        }
    }
}

fn add(counts: &mut [u64], others: &[u64]) {
    for (count, other) in counts.iter_mut().zip(others) {
        *count += other;
    }
}

/// The sigmoid, linear between nodes.
#[derive(Clone, Debug)]
struct Squash {
    nodes: Box<[f64]>,
}

impl Squash {
    fn new() -> Self {
        let logit = |node: usize| node as f64 / CELLS_PER_UNIT - REACH;
        let nodes = (0..=N_CELLS).map(|node| sigmoid(logit(node) as f32));
        Self {
            nodes: nodes.collect(),
        }
    }

    fn bin(&self, logit: f32, n_bins: usize) -> usize {
        let x = (f64::from(logit).clamp(-REACH, REACH) + REACH) * CELLS_PER_UNIT;
        let cell = (x as usize).min(N_CELLS - 1);
        let (low, high) = (self.nodes[cell], self.nodes[cell + 1]);
        // Rounding could lift the end of a cell above the start of the next one.
        let y = (low + (x - cell as f64) * (high - low)).min(high);
        ((y * n_bins as f64) as usize).min(n_bins - 1)
    }
}

#[cfg(test)]
mod tests {
    use slimbed_rng::Seed;

    use super::*;
    use crate::key::{key_of, score_of};

    /// Logits `N(-1.5, 1)` with labels drawn from them.
    fn clicks(n: usize) -> (Vec<f32>, Vec<u8>) {
        let mut stream = Seed::new(3).stream("clicks", 0);
        let logits: Vec<f32> = (0..n).map(|_| stream.normal() as f32 - 1.5).collect();
        let draw = |&z: &f32| u8::from(stream.uniform_f64() < sigmoid(z));
        let labels = logits.iter().map(draw).collect();
        (logits, labels)
    }

    #[test]
    fn the_bins_never_decrease() {
        let squash = Squash::new();
        let ends = [f32::NEG_INFINITY, f32::INFINITY].map(|z| squash.bin(z, 1 << 16));
        assert_eq!(ends, [0, (1 << 16) - 1]);
        // Neighbouring floats around every node and a wide walk.
        let nodes = (0..=N_CELLS).map(|i| (i as f64 / CELLS_PER_UNIT - REACH) as f32);
        let near_nodes = nodes.flat_map(|z| (key_of(z) - 2..=key_of(z) + 2).map(score_of));
        let walk = (0..1_000_000).map(|i| i as f32 * 4e-5 - 20.0);
        for logits in [near_nodes.collect::<Vec<_>>(), walk.collect()] {
            let bins: Vec<usize> = logits.iter().map(|&z| squash.bin(z, 1 << 30)).collect();
            assert!(bins.is_sorted());
        }
    }

    #[test]
    fn sigmoid_bins_beat_the_upper_bits() {
        let (logits, labels) = clicks(200_000);
        let mut binned = BinnedAuc::default();
        binned.update(&logits, &labels).unwrap();
        let mut counts = vec![[0u64; 2]; 1 << 16];
        for (&z, &label) in logits.iter().zip(&labels) {
            counts[(key_of(z) >> 16) as usize][usize::from(label)] += 1;
        }
        let total = |class: usize| counts.iter().map(|c| c[class]).sum::<u64>() as f64;
        let unknown: u64 = counts.iter().map(|c| c[0] * c[1]).sum();
        let upper_bits_bound = unknown as f64 / (2.0 * total(0) * total(1));
        let bound = binned.estimate().unwrap().bound;
        assert!(bound < 3e-5, "{bound}");
        assert!(
            20.0 * bound < upper_bits_bound,
            "{bound} {upper_bits_bound}"
        );
    }

    #[test]
    fn one_bin_knows_nothing() {
        let mut binned = BinnedAuc::new(1).unwrap();
        binned.update(&[1.0, 2.0, 3.0], &[0u8, 1, 1]).unwrap();
        let found = binned.estimate().unwrap();
        assert_eq!(found.auc, 0.5);
        assert!((found.bound - 0.5).abs() <= ROUNDING);
    }

    #[test]
    fn bad_input_is_refused_and_not_counted() {
        assert!(BinnedAuc::new(0).is_err());
        let mut binned = BinnedAuc::new(8).unwrap();
        assert!(binned.update(&[0.0, f32::NAN], &[0u8, 1]).is_err());
        let seen = MetricError::OneClass {
            n_positives: 0,
            n_negatives: 0,
        };
        assert_eq!(binned.estimate(), Err(seen));
        assert!(binned.merge(&BinnedAuc::default()).is_err());
    }
}
