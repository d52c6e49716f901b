//! Why a metric has no value.

/// Errors of `slimbed-eval`.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Two slices that belong together differ in length.
    #[error("expected {expected} {what}, one for each score, found {found}")]
    Length {
        /// The slice that does not fit.
        what: &'static str,
        /// Number of scores.
        expected: usize,
        /// Number of values in the slice.
        found: usize,
    },
    /// A score is NaN, or infinite where the metric needs its value.
    #[error("score {position}: expected {expected}, found {value}")]
    Score {
        /// Index of the first such score.
        position: usize,
        /// What the metric accepts.
        expected: &'static str,
        /// The score.
        value: f32,
    },
    /// A label is neither 0 nor 1.
    #[error("label {position}: expected 0 or 1, found {value}")]
    Label {
        /// Index of the first such label.
        position: usize,
        /// The label.
        value: f32,
    },
    /// The metric compares the classes and one of them has no sample.
    #[error(
        "expected samples of both classes, found {n_positives} positive and {n_negatives} negative"
    )]
    OneClass {
        /// Samples with label 1.
        n_positives: usize,
        /// Samples with label 0.
        n_negatives: usize,
    },
    /// No group has samples of both classes.
    #[error("expected a group with both classes, found none among {n_groups} groups")]
    NoMixedGroup {
        /// Number of groups.
        n_groups: usize,
    },
    /// A mean was asked for without values.
    #[error("expected at least one value, found none")]
    Empty,
    /// A bucket number lies outside the buckets.
    #[error("bucket of sample {position}: expected a number below {n_buckets}, found {bucket}")]
    Bucket {
        /// Index of the first such sample.
        position: usize,
        /// The number given.
        bucket: u32,
        /// Number of buckets.
        n_buckets: usize,
    },
    /// A histogram was asked for without bins.
    #[error("expected at least one bin, found none")]
    NoBins,
    /// Two binned AUCs with different bins cannot be added.
    #[error("number of bins: expected {expected}, found {found}")]
    Bins {
        /// Bins of the one added to.
        expected: usize,
        /// Bins of the other one.
        found: usize,
    },
}
