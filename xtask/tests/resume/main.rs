//! Runs killed with SIGKILL at random moments, through the real binary: each one, resumed until it
//! ends, leaves the bits of a run that was never stopped.
//!
//! `cargo test -p xtask --test resume -- --nocapture` also says where the kills fell.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod kills;
mod methods;
mod plain;
mod world;
