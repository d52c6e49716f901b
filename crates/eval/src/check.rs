//! Labels, and the checks every metric makes before it counts.

use rayon::prelude::*;

use crate::MetricError;

/// Samples per parallel piece; fixed, so that no result depends on the number of threads.
pub(crate) const CHUNK: usize = 1 << 16;

/// A binary label as stored: `u8` in packed columns, `f32` in batches.
pub trait Label: Copy + Send + Sync {
    /// The label as a number; the metrics accept exactly 0 and 1.
    fn value(self) -> f32;

    /// Whether a checked label is 1.
    fn is_positive(self) -> bool {
        self.value() == 1.0
    }
}

impl Label for u8 {
    fn value(self) -> f32 {
        f32::from(self)
    }
}

impl Label for f32 {
    fn value(self) -> f32 {
        self
    }
}

/// Which scores a metric accepts.
#[derive(Clone, Copy)]
pub(crate) enum Accept {
    /// Ranks need an order only.
    AllButNan,
    /// Losses and probabilities need a value; a model that overflowed must not pass.
    Finite,
}

/// Checks lengths, scores and labels, in this order, and counts the positives.
pub(crate) fn check_samples<L: Label>(
    scores: &[f32],
    labels: &[L],
    accept: Accept,
) -> Result<usize, MetricError> {
    check_length("labels", scores.len(), labels.len())?;
    check_scores(scores, accept)?;
    check_labels(labels)?;
    Ok(labels.par_chunks(CHUNK).map(count_positives).sum())
}

/// As [`check_samples`], and both classes must be present.
pub(crate) fn check_classes<L: Label>(
    scores: &[f32],
    labels: &[L],
    accept: Accept,
) -> Result<usize, MetricError> {
    let n_positives = check_samples(scores, labels, accept)?;
    let n_negatives = labels.len() - n_positives;
    if n_positives == 0 || n_negatives == 0 {
        return Err(MetricError::OneClass {
            n_positives,
            n_negatives,
        });
    }
    Ok(n_positives)
}

pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), MetricError> {
    if expected == found {
        return Ok(());
    }
    Err(MetricError::Length {
        what,
        expected,
        found,
    })
}

pub(crate) fn count_positives<L: Label>(labels: &[L]) -> usize {
    labels.iter().filter(|label| label.is_positive()).count()
}

/// The first index whose item is bad. Looks at whole pieces without branches, then into the bad one.
pub(crate) fn first_bad<T: Sync>(items: &[T], is_bad: impl Fn(&T) -> bool + Sync) -> Option<usize> {
    let piece = items
        .par_chunks(CHUNK)
        .position_first(|piece| piece.iter().fold(false, |bad, item| bad | is_bad(item)))?;
    let start = piece * CHUNK;
    items[start..].iter().position(is_bad).map(|i| start + i)
}

fn check_scores(scores: &[f32], accept: Accept) -> Result<(), MetricError> {
    let (bad, expected) = match accept {
        Accept::AllButNan => (first_bad(scores, |z| z.is_nan()), "a number"),
        Accept::Finite => (first_bad(scores, |z| !z.is_finite()), "a finite number"),
    };
    bad.map_or(Ok(()), |position| {
        Err(MetricError::Score {
            position,
            expected,
            value: scores[position],
        })
    })
}

fn check_labels<L: Label>(labels: &[L]) -> Result<(), MetricError> {
    let is_binary = |label: &L| (label.value() == 0.0) | (label.value() == 1.0);
    first_bad(labels, |label| !is_binary(label)).map_or(Ok(()), |position| {
        Err(MetricError::Label {
            position,
            value: labels[position].value(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scores: &[f32], labels: &[f32], accept: Accept) -> String {
        let checked = check_classes(scores, labels, accept);
        checked.unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_position() {
        let rank = Accept::AllButNan;
        assert_eq!(
            message(&[0.0, 1.0], &[1.0], rank),
            "expected 2 labels, one for each score, found 1"
        );
        assert_eq!(
            message(&[0.0, f32::NAN], &[0.0, 1.0], rank),
            "score 1: expected a number, found NaN"
        );
        assert_eq!(
            message(&[f32::NEG_INFINITY, 0.0], &[0.0, 1.0], Accept::Finite),
            "score 0: expected a finite number, found -inf"
        );
        assert_eq!(
            message(&[0.0, 1.0], &[0.0, 0.5], rank),
            "label 1: expected 0 or 1, found 0.5"
        );
        assert_eq!(
            message(&[0.0, 1.0], &[1.0, f32::NAN], rank),
            "label 1: expected 0 or 1, found NaN"
        );
        assert_eq!(
            message(&[0.0, 1.0], &[1.0, 1.0], rank),
            "expected samples of both classes, found 2 positive and 0 negative"
        );
    }

    #[test]
    fn positives_are_counted_and_infinities_ranked() {
        let scores = [f32::INFINITY, 0.0, f32::NEG_INFINITY];
        assert_eq!(
            check_classes(&scores, &[1u8, 0, 1], Accept::AllButNan),
            Ok(2)
        );
        assert!(check_samples(&scores, &[0u8, 2, 0], Accept::AllButNan).is_err());
    }

    #[test]
    fn the_first_bad_item_is_found_in_any_piece() {
        let n = 3 * CHUNK + 7;
        for position in [0, CHUNK - 1, CHUNK, 2 * CHUNK + 5, n - 1] {
            let mut items = vec![0u8; n];
            items[position] = 1;
            items[n - 1] = 1;
            assert_eq!(first_bad(&items, |&x| x == 1), Some(position));
        }
        assert_eq!(first_bad(&vec![0u8; n], |&x| x == 1), None);
    }
}
