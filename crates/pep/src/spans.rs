//! Cutting the unique rows of a batch into tasks.

use std::ops::Range;

use slimbed_embedding::BatchIndex;

/// Unique rows one task handles: a fixed number, so that bits do not depend on threads.
pub const ROWS_PER_TASK: usize = 1024;

/// Calls `row(f, u, i)` for the unique rows `u` of `span`, the `i`-th from its start, each with its field.
#[inline]
pub fn for_rows(index: &BatchIndex, span: Range<usize>, mut row: impl FnMut(usize, usize, usize)) {
    for f in 0..index.n_fields() {
        let whole = index.span(f);
        for u in span.start.max(whole.start)..span.end.min(whole.end) {
            row(f, u, u - span.start);
        }
    }
}

/// The unique rows of task `task`, of which `n_values` values of `width` a row are at hand.
pub fn span_of(task: usize, n_values: usize, width: usize) -> Range<usize> {
    let first = task * ROWS_PER_TASK;
    first..first + n_values / width
}

/// Makes room for the unique rows that the ids of a batch can have at most: it stops growing with the batch.
pub fn grow(buffer: &mut Vec<f32>, index: &BatchIndex, width: usize) {
    let n_values = index.n_ids() * width;
    if buffer.len() < n_values {
        buffer.resize(n_values, 0.0);
    }
}
