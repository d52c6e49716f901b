//! The numbers a model is judged by: plain slices in, plain numbers out.
//!
//! This crate knows scores, labels and groups; it knows no model and no file. [`Metrics::from_logits`]
//! gives the whole set for one split. AUC is exact and global, with ties counted half ([`auc`]);
//! [`BinnedAuc`] is its streaming form with a proven error bound. Sums run in a fixed order, so every
//! result has the same bits for any number of threads. A NaN or a label that is not 0 or 1 is an error
//! that names its position. [`ProofCard`] holds what is measured of a reduced file.
//!
//! ```
//! let logits = [-1.5, 0.3, 0.3, 2.0];
//! let labels = [0u8, 0, 1, 1];
//! // Of the four pairs three are in order and one is tied.
//! assert_eq!(slimbed_eval::auc(&logits, &labels)?, 3.5 / 4.0);
//! # Ok::<(), slimbed_eval::MetricError>(())
//! ```

mod binned;
mod card;
mod check;
mod dead;
mod error;
mod groups;
mod key;
mod loss;
mod metrics;
mod radix;
mod ranking;
mod seeds;

pub use binned::{BinnedAuc, BinnedEstimate};
pub use card::{LookupRates, PartBytes, ProofCard, Quality, ResidentBytes, SplitQuality};
pub use check::Label;
pub use dead::{DeadCause, dead_cause};
pub use error::MetricError;
pub use groups::{BucketMetrics, Gauc, auc_by_bucket, gauc};
pub use loss::{calibration, entropy, logloss_from_logits, normalised_entropy, sigmoid};
pub use metrics::{CALIBRATION_BINS, Metrics};
pub use ranking::{Ranking, auc, expected_calibration_error, pr_auc};
pub use seeds::MeanStd;
