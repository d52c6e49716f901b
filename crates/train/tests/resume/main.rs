//! A run that is stopped and resumed ends with the bits of one that never was.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod baselines;
mod budgets;
mod errors;
mod methods;
mod models;
mod scores;
mod stops;
mod world;
