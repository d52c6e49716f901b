//! Tests of the kernels, the optimiser and the plain layer through the public interface.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod cases;
mod kernels;
mod optimizer;
mod plain;
mod rules;
mod widths;
