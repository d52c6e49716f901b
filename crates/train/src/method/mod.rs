//! Reduction methods: which layers are trained, in which phases, and how far tables shrink.

mod config;
mod layers;
mod ledger;
mod phases;
mod rows;
mod search;
mod target;

pub use config::{MethodConfig, MethodKind, Retrain};
pub use ledger::{EARLY_PHASES, PhaseRecord, record};
pub use phases::Final;
pub use rows::trained_rows;
