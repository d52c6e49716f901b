//! Shared shapes for the benchmarks.
