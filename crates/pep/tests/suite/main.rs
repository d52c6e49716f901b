//! Tests of the layer through the public interface.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod budget;
mod cases;
mod facts;
mod golden;
mod gradients;
mod lazy;
mod off;
mod whole;
