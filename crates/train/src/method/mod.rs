//! Reduction methods: which layers are trained, in which phases, and how far tables shrink.

mod config;
mod file_size;
mod layers;
mod ledger;
mod phase;
mod phases;
mod planned;
mod pruning;
mod rows;
mod search;
mod sizes;
mod target;

pub use config::{MethodConfig, MethodKind, Retrain};
pub use file_size::training_record;
pub use ledger::{EARLY_PHASES, PhaseRecord, record};
pub use phases::Final;
pub use planned::with_fitted_dim;
pub use rows::{copy_first_order, first_order_layer, trained_rows};
