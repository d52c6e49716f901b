//! Tests of the layer through the public interface.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod cases;
mod facts;
mod golden;
mod gradients;
mod steps;
