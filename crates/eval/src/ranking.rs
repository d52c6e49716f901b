//! AUC and the other metrics that need the scores in order.

use rayon::prelude::*;

use crate::check::{Accept, CHUNK, check_classes, count_positives};
use crate::key::{key_of, score_of};
use crate::loss::sigmoid;
use crate::radix::sort_keys;
use crate::{Label, MetricError};

/// Exact area under the ROC curve: the share of (positive, negative) pairs whose positive has the
/// larger score, ties counted half.
///
/// `scores` and `labels` are `[n]`; scores are any numbers, infinite ones too, and `-0.0` equals
/// `0.0`. Pairs are counted in integers, so only the last division rounds. Takes 8 bytes of memory
/// and a few nanoseconds for each sample.
///
/// # Errors
/// [`MetricError`] names the first NaN, the first label that is not 0 or 1, a length that differs, or
/// the class that is missing.
///
/// Source: the Mann-Whitney form of AUC (Hanley and McNeil 1982).
pub fn auc<L: Label>(scores: &[f32], labels: &[L]) -> Result<f64, MetricError> {
    Ok(Ranking::new(scores, labels)?.auc())
}

/// Area under the precision-recall curve as average precision, `Σ (R_t - R_{t-1}) P_t` over the
/// distinct scores `t` from the highest down; equal scores enter together.
///
/// `scores` and `labels` are `[n]`.
///
/// # Errors
/// As [`auc`].
///
/// Source: scikit-learn, `average_precision_score`.
pub fn pr_auc<L: Label>(scores: &[f32], labels: &[L]) -> Result<f64, MetricError> {
    Ok(Ranking::new(scores, labels)?.pr_auc())
}

/// Expected calibration error, `Σ_b (n_b / n) |mean p - mean y|` over bins of equal count.
///
/// `logits` and `labels` are `[n]`. The samples are ordered by probability; the bin of a sample is
/// `floor(n_bins · rank / n)`, where equal logits share the rank of the first of them. A tie therefore
/// never splits, and the order of the samples does not matter, but bins can be larger than `n / n_bins`
/// or empty.
///
/// # Errors
/// As [`auc`]; [`MetricError::NoBins`] when `n_bins` is 0.
pub fn expected_calibration_error<L: Label>(
    logits: &[f32],
    labels: &[L],
    n_bins: usize,
) -> Result<f64, MetricError> {
    Ranking::new(logits, labels)?.expected_calibration_error(n_bins)
}

/// The scores of each class in ascending order, as order-preserving keys: sorted once, read by
/// several metrics.
#[derive(Clone, Debug)]
pub struct Ranking {
    positives: Vec<u32>,
    negatives: Vec<u32>,
}

impl Ranking {
    /// Splits `scores` `[n]` by `labels` `[n]` and sorts each class.
    ///
    /// # Errors
    /// As [`auc`].
    pub fn new<L: Label>(scores: &[f32], labels: &[L]) -> Result<Self, MetricError> {
        check_classes(scores, labels, Accept::AllButNan)?;
        let (positives, negatives) = split(scores, labels);
        Ok(Self::sorted(positives, negatives))
    }

    /// See [`auc`](fn@auc).
    pub fn auc(&self) -> f64 {
        let n_pairs = self.positives.len() as u128 * self.negatives.len() as u128;
        let doubled: u128 = self
            .positives
            .par_chunks(CHUNK)
            .map(|positives| u128::from(doubled_wins(positives, &self.negatives)))
            .sum();
        doubled as f64 / (2 * n_pairs) as f64
    }

    /// See [`pr_auc`](fn@pr_auc).
    pub fn pr_auc(&self) -> f64 {
        let n_positives = self.positives.len();
        let (mut n_true, mut n_called) = (n_positives, n_positives + self.negatives.len());
        let mut sum = 0.0;
        for tie in self.ties() {
            sum += tie.n_positives as f64 * (n_true as f64 / n_called as f64);
            n_true -= tie.n_positives;
            n_called -= tie.n_positives + tie.n_negatives;
        }
        sum / n_positives as f64
    }

    /// See [`expected_calibration_error`](fn@expected_calibration_error).
    ///
    /// # Errors
    /// [`MetricError::NoBins`] when `n_bins` is 0.
    pub fn expected_calibration_error(&self, n_bins: usize) -> Result<f64, MetricError> {
        if n_bins == 0 {
            return Err(MetricError::NoBins);
        }
        let n = self.positives.len() + self.negatives.len();
        let (mut rank, mut bin, mut excess, mut total) = (0, 0, 0.0, 0.0);
        for tie in self.ties() {
            let bin_of_tie = (rank as u128 * n_bins as u128 / n as u128) as usize;
            if bin_of_tie != bin {
                total += f64::abs(excess);
                (bin, excess) = (bin_of_tie, 0.0);
            }
            let n_tied = tie.n_positives + tie.n_negatives;
            excess += n_tied as f64 * sigmoid(score_of(tie.key)) - tie.n_positives as f64;
            rank += n_tied;
        }
        Ok((total + excess.abs()) / n as f64)
    }

    /// Sorts the keys of each class; neither class may be empty.
    pub(crate) fn sorted(mut positives: Vec<u32>, mut negatives: Vec<u32>) -> Self {
        rayon::join(|| sort_keys(&mut positives), || sort_keys(&mut negatives));
        Self {
            positives,
            negatives,
        }
    }

    fn ties(&self) -> Ties<'_> {
        Ties {
            positives: &self.positives,
            negatives: &self.negatives,
        }
    }
}

/// The samples of one score.
struct Tie {
    key: u32,
    n_positives: usize,
    n_negatives: usize,
}

/// The distinct scores in ascending order.
struct Ties<'a> {
    positives: &'a [u32],
    negatives: &'a [u32],
}

impl Iterator for Ties<'_> {
    type Item = Tie;

    fn next(&mut self) -> Option<Tie> {
        let firsts = [self.positives.first(), self.negatives.first()];
        let key = firsts.into_iter().flatten().min().copied()?;
        Some(Tie {
            key,
            n_positives: take_equal(&mut self.positives, key),
            n_negatives: take_equal(&mut self.negatives, key),
        })
    }
}

fn take_equal(keys: &mut &[u32], key: u32) -> usize {
    let n = keys.iter().take_while(|&&k| k == key).count();
    *keys = &keys[n..];
    n
}

/// `Σ 2 · (negatives below) + (negatives equal)` over a piece of the sorted positives.
///
/// Twice the number of negatives below plus the equal ones is the number below plus the number not
/// above. At most [`CHUNK`] positives are given, so 64 bits hold the sum for any data that fits in
/// memory.
fn doubled_wins(positives: &[u32], negatives: &[u32]) -> u64 {
    let mut n_below = negatives.partition_point(|&key| key < positives[0]);
    let mut n_not_above = n_below;
    let mut sum = 0;
    for &positive in positives {
        n_below = advance(negatives, n_below, |key| key < positive);
        n_not_above = advance(negatives, n_not_above, |key| key <= positive);
        sum += (n_below + n_not_above) as u64;
    }
    sum
}

fn advance(keys: &[u32], from: usize, is_passed: impl Fn(u32) -> bool) -> usize {
    let passed = keys[from..].iter().take_while(|&&key| is_passed(key));
    from + passed.count()
}

/// The keys of the positives and of the negatives, each in the order of the samples.
fn split<L: Label>(scores: &[f32], labels: &[L]) -> (Vec<u32>, Vec<u32>) {
    let counts: Vec<usize> = labels.par_chunks(CHUNK).map(count_positives).collect();
    let n_positives = counts.iter().sum();
    let mut positives = vec![0; n_positives];
    let mut negatives = vec![0; labels.len() - n_positives];
    let (mut free_positives, mut free_negatives) = (&mut positives[..], &mut negatives[..]);
    let mut pieces = Vec::with_capacity(counts.len());
    for (i, n) in counts.into_iter().enumerate() {
        let range = i * CHUNK..labels.len().min((i + 1) * CHUNK);
        let (p, rest_p) = free_positives.split_at_mut(n);
        let (q, rest_q) = free_negatives.split_at_mut(range.len() - n);
        (free_positives, free_negatives) = (rest_p, rest_q);
        pieces.push((&scores[range.clone()], &labels[range], p, q));
    }
    pieces
        .into_par_iter()
        .for_each(|(scores, labels, p, q)| split_piece(scores, labels, p, q));
    (positives, negatives)
}

/// Every key is written to both sides of a small buffer and only one side moves on: a label is
/// unpredictable, so a branch on it would cost more than the second write.
fn split_piece<L: Label>(
    scores: &[f32],
    labels: &[L],
    mut positives: &mut [u32],
    mut negatives: &mut [u32],
) {
    const BLOCK: usize = 512;
    let (mut p_buffer, mut q_buffer) = ([0; BLOCK], [0; BLOCK]);
    for (scores, labels) in scores.chunks(BLOCK).zip(labels.chunks(BLOCK)) {
        let (mut p, mut q) = (0, 0);
        for (&score, label) in scores.iter().zip(labels) {
            let key = key_of(score);
            let is_positive = usize::from(label.is_positive());
            p_buffer[p] = key;
            q_buffer[q] = key;
            p += is_positive;
            q += 1 - is_positive;
        }
        positives = fill(positives, &p_buffer[..p]);
        negatives = fill(negatives, &q_buffer[..q]);
    }
}

/// Copies `from` to the front of `to` and returns what is still free.
fn fill<'a>(to: &'a mut [u32], from: &[u32]) -> &'a mut [u32] {
    let (front, rest) = to.split_at_mut(from.len());
    front.copy_from_slice(from);
    rest
}
