//! The layer from outside.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod common;
mod golden;
mod gradients;
mod layer;
mod sizes;
