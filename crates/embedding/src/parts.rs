//! Cutting work on the unique rows of a batch into tasks.

use std::ops::Range;

use crate::BatchIndex;

/// Ids (or occurrences of rows) one task handles, about; fewer are not worth handing to another thread.
pub const IDS_PER_TASK: usize = 4096;

/// Work on unique rows, each with `dim` values of output.
pub struct Parts<'i, Leaf> {
    pub index: &'i BatchIndex,
    pub dim: usize,
    /// Works on some unique rows of one field (counted from its first) and writes their output.
    pub leaf: Leaf,
}

impl<Leaf: Fn(usize, Range<usize>, &mut [f32]) + Sync> Parts<'_, Leaf> {
    /// Works on the unique rows in `span` of all `U`, whose output is `out`.
    ///
    /// Spans are halved whatever the number of threads; one that is small enough is not handed out.
    pub fn run(&self, span: Range<usize>, out: &mut [f32]) {
        let fits = self.index.n_occurrences(span.clone()) <= IDS_PER_TASK;
        if fits || span.len() < 2 {
            return self.run_here(span, out);
        }
        let middle = span.start + span.len() / 2;
        let (left, right) = out.split_at_mut((middle - span.start) * self.dim);
        rayon::join(
            || self.run(span.start..middle, left),
            || self.run(middle..span.end, right),
        );
    }

    fn run_here(&self, span: Range<usize>, mut out: &mut [f32]) {
        for (f, rows) in self.index.fields_in(span) {
            let (part, rest) = out.split_at_mut(rows.len() * self.dim);
            out = rest;
            (self.leaf)(f, rows, part);
        }
    }
}
