//! Formats other than that of Criteo.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod csv;
mod examples;
mod folder;
mod libfm;
mod movielens;
mod real;
mod sparse;
