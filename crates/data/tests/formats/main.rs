//! Formats whose input is a folder of files.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod folder;
mod libfm;
mod movielens;
mod real;
