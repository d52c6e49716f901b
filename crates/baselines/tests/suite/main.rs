//! Tests of the layers through the public interface.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod autoemb;
mod cases;
mod deeplight;
mod facts;
mod golden;
mod gradients;
