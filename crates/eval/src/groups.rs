//! AUC within groups: per user, per request, per bucket of id frequency.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::check::{Accept, check_length, check_samples, first_bad};
use crate::key::key_of;
use crate::loss::mean_loss;
use crate::{Label, MetricError, Ranking, auc};

/// AUC averaged over groups, and what it leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gauc {
    /// Mean AUC of the groups with both classes, each weighted by its number of samples.
    pub value: f64,
    /// Groups with both classes.
    pub n_groups: usize,
    /// Groups of one class, which have no AUC and do not count.
    pub n_groups_left_out: usize,
    /// Samples in the groups left out.
    pub n_samples_left_out: usize,
}

/// One row of [`auc_by_bucket`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketMetrics {
    /// Number of the bucket.
    pub bucket: u32,
    /// Samples in it.
    pub n: usize,
    /// Samples with label 1 in it.
    pub n_positives: usize,
    /// AUC among its samples; none when a class is missing.
    pub auc: Option<f64>,
    /// Mean log loss of its samples in nats; none when it is empty.
    pub logloss: Option<f64>,
}

/// Group AUC, `Σ n_g AUC_g / Σ n_g` over the groups `g` with both classes, `n_g` their impressions.
///
/// `scores`, `labels` and `groups` are `[n]`; equal numbers in `groups` are one group.
///
/// # Errors
/// As [`auc`], though a class may be missing from a group; [`MetricError::NoMixedGroup`] when one is
/// missing from every group.
///
/// Source: Zhu et al. 2017, "Optimized Cost per Click in Taobao Display Advertising" (arXiv
/// 1703.02091), section 4.1.
pub fn gauc<L: Label>(scores: &[f32], labels: &[L], groups: &[u32]) -> Result<Gauc, MetricError> {
    check_samples(scores, labels, Accept::AllButNan)?;
    check_length("groups", scores.len(), groups.len())?;
    let order = order_by(groups);
    let per_group: Vec<(usize, Option<f64>)> = order
        .par_chunk_by(|a, b| a.0 == b.0)
        .map(|members| (members.len(), auc_among(scores, labels, members)))
        .collect();
    let (mut weighted, mut n_kept) = (0.0, 0);
    let mut n_groups = 0;
    for (n, auc) in per_group.iter().filter_map(|&(n, auc)| Some((n, auc?))) {
        weighted += n as f64 * auc;
        n_kept += n;
        n_groups += 1;
    }
    if n_groups == 0 {
        let n_groups = per_group.len();
        return Err(MetricError::NoMixedGroup { n_groups });
    }
    Ok(Gauc {
        value: weighted / n_kept as f64,
        n_groups,
        n_groups_left_out: per_group.len() - n_groups,
        n_samples_left_out: scores.len() - n_kept,
    })
}

/// AUC and log loss in each of `n_buckets` buckets, for example of id frequency: who pays for a
/// smaller table?
///
/// `logits`, `labels` and `buckets` are `[n]`; the result has one row for each bucket, empty ones too.
///
/// # Errors
/// [`MetricError`] names the first logit that is not finite, the first label that is not 0 or 1, the
/// first bucket that is not below `n_buckets`, or a length that differs.
pub fn auc_by_bucket<L: Label>(
    logits: &[f32],
    labels: &[L],
    buckets: &[u32],
    n_buckets: usize,
) -> Result<Vec<BucketMetrics>, MetricError> {
    check_samples(logits, labels, Accept::Finite)?;
    check_length("buckets", logits.len(), buckets.len())?;
    if let Some(position) = first_bad(buckets, |&b| b as usize >= n_buckets) {
        return Err(MetricError::Bucket {
            position,
            bucket: buckets[position],
            n_buckets,
        });
    }
    let mut rest = &order_by(buckets)[..];
    let rows = (0..n_buckets as u32).map(|bucket| {
        let n = rest.partition_point(|member| member.0 == bucket);
        let (members, others) = rest.split_at(n);
        rest = others;
        bucket_metrics(bucket, logits, labels, members)
    });
    Ok(rows.collect())
}

/// A group number and the position of a sample.
type Member = (u32, usize);

/// The samples by group, and in their own order within each.
fn order_by(groups: &[u32]) -> Vec<Member> {
    let mut order: Vec<Member> = groups.iter().copied().zip(0..).collect();
    order.par_sort_unstable();
    order
}

fn auc_among<L: Label>(scores: &[f32], labels: &[L], members: &[Member]) -> Option<f64> {
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    for &(_, i) in members {
        let class = if labels[i].is_positive() {
            &mut positives
        } else {
            &mut negatives
        };
        class.push(key_of(scores[i]));
    }
    let is_mixed = !positives.is_empty() && !negatives.is_empty();
    is_mixed.then(|| Ranking::sorted(positives, negatives).auc())
}

fn bucket_metrics<L: Label>(
    bucket: u32,
    logits: &[f32],
    labels: &[L],
    members: &[Member],
) -> BucketMetrics {
    let logits: Vec<f32> = members.iter().map(|&(_, i)| logits[i]).collect();
    let labels: Vec<L> = members.iter().map(|&(_, i)| labels[i]).collect();
    BucketMetrics {
        bucket,
        n: members.len(),
        n_positives: crate::check::count_positives(&labels),
        // The samples are checked: a missing class is the only reason for an error.
        auc: auc(&logits, &labels).ok(),
        logloss: (!members.is_empty()).then(|| mean_loss(&logits, &labels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logloss_from_logits;

    #[test]
    fn groups_are_weighted_by_impressions() {
        // Group 7 (AUC 1, 2 samples), group 3 (AUC 0.25 of 3 samples), group 5 has one class.
        let groups = [7, 3, 5, 3, 7, 5, 3];
        let scores = [2.0, 1.0, 9.0, 1.0, -1.0, 8.0, 5.0];
        let labels = [1u8, 1, 1, 0, 0, 1, 0];
        let found = gauc(&scores, &labels, &groups).unwrap();
        assert_eq!(found.value, (2.0 * 1.0 + 3.0 * 0.25) / 5.0);
        assert_eq!((found.n_groups, found.n_groups_left_out), (2, 1));
        assert_eq!(found.n_samples_left_out, 2);
    }

    #[test]
    fn one_group_is_the_global_auc() {
        let scores = [0.5, -0.5, 0.25, 0.5, 1.0];
        let labels = [1.0f32, 0.0, 0.0, 0.0, 1.0];
        let found = gauc(&scores, &labels, &[4; 5]).unwrap();
        assert_eq!(found.value, auc(&scores, &labels).unwrap());
    }

    #[test]
    fn groups_without_both_classes_are_an_error() {
        let error = gauc(&[1.0, 2.0], &[0u8, 1], &[0, 1]).unwrap_err();
        assert_eq!(error, MetricError::NoMixedGroup { n_groups: 2 });
        assert!(gauc(&[1.0, 2.0], &[0u8, 1], &[0]).is_err());
    }

    #[test]
    fn buckets_equal_the_metrics_of_their_samples() {
        let buckets = [0, 3, 0, 1, 3, 0];
        let logits = [0.1, 0.2, -0.3, 0.4, 0.9, 0.1];
        let labels = [1u8, 0, 0, 1, 1, 0];
        let rows = auc_by_bucket(&logits, &labels, &buckets, 4).unwrap();
        assert_eq!(rows.iter().map(|r| r.n).collect::<Vec<_>>(), [3, 1, 0, 2]);
        assert_eq!(
            rows.iter().map(|r| r.auc).collect::<Vec<_>>(),
            [Some(0.75), None, None, Some(1.0)]
        );
        let loss = logloss_from_logits(&[0.2, 0.9], &[0u8, 1]).unwrap();
        assert_eq!(rows[3].logloss, Some(loss));
        assert_eq!((rows[2].logloss, rows[1].n_positives), (None, 1));
    }

    #[test]
    fn a_bucket_too_many_is_named() {
        let error = auc_by_bucket(&[0.0, 0.0], &[0u8, 1], &[0, 2], 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bucket of sample 1: expected a number below 2, found 2"
        );
    }
}
