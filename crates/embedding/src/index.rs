//! Which rows a batch touches, and where.

use std::ops::Range;

use rayon::prelude::*;

use crate::parts::IDS_PER_TASK;
use crate::sort::sort_occurrences;
use crate::{Bags, EmbeddingError, IdBatch, Pooling};

/// The unique rows of a batch and every place they are used at.
///
/// `U` is the number of unique rows over all fields; rows of one field stand together, in rising order.
/// An *occurrence* is one id of one bag. An index is made once and rebuilt for every batch, which
/// allocates only while batches grow.
#[derive(Clone, Debug)]
pub struct BatchIndex {
    n: usize,
    fields: Vec<FieldIndex>,
    /// First unique row of each field, `[fields + 1]`.
    starts: Vec<usize>,
    /// First occurrence of each field, `[fields + 1]`.
    first_ids: Vec<usize>,
}

/// One field's part of a [`BatchIndex`].
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldIndex {
    /// Unique rows of the table, rising.
    pub rows: Vec<u32>,
    /// Occurrences of `rows[u]` are `samples[bounds[u]..bounds[u + 1]]`, `[rows + 1]`.
    pub bounds: Vec<u32>,
    /// Sample of each occurrence, sorted by row, then by place in the batch.
    pub samples: Vec<u32>,
    /// Weight of each of `samples`; empty when all are 1.
    pub weights: Vec<f32>,
    /// For each occurrence in the order of the batch, its index in `rows`.
    pub unique_of: Vec<u32>,
    /// Sample of each occurrence in the order of the batch, for the multi-valued.
    sample_of: Vec<u32>,
    /// `[batch + 1]` when the field is multi-valued, else empty.
    offsets: Vec<u32>,
    pub pooling: Pooling,
}

impl Default for BatchIndex {
    /// The index of a batch without fields.
    fn default() -> Self {
        Self {
            n: 0,
            fields: Vec::new(),
            starts: vec![0],
            first_ids: vec![0],
        }
    }
}

impl BatchIndex {
    /// The index of one batch; [`rebuild`](Self::rebuild) says more.
    ///
    /// # Errors
    /// As [`rebuild`](Self::rebuild).
    pub fn new(batch: &IdBatch<'_>, pooling: &[Pooling]) -> Result<Self, EmbeddingError> {
        let mut index = Self::default();
        index.rebuild(batch, pooling)?;
        Ok(index)
    }

    /// Makes room for so many ids of each field: a batch of fewer will not allocate.
    pub fn reserve(&mut self, n_ids: impl ExactSizeIterator<Item = usize>) {
        let n_new = n_ids.len().saturating_sub(self.fields.len());
        self.fields
            .extend(std::iter::repeat_n(FieldIndex::default(), n_new));
        self.starts.resize(self.fields.len() + 1, 0);
        self.first_ids.resize(self.fields.len() + 1, 0);
        for (field, n) in self.fields.iter_mut().zip(n_ids) {
            field.reserve(n);
        }
    }

    /// Indexes a batch; what was there before is lost, except on an error.
    ///
    /// Cost: a radix sort of each field's ids, independent of the sizes of the tables; fields in parallel.
    ///
    /// # Errors
    /// When `pooling` does not have one entry a field, or a field's ids do not make a batch.
    pub fn rebuild(
        &mut self,
        batch: &IdBatch<'_>,
        pooling: &[Pooling],
    ) -> Result<(), EmbeddingError> {
        if batch.fields.len() != pooling.len() {
            let (expected, found) = (pooling.len(), batch.fields.len());
            return Err(EmbeddingError::FieldCount { expected, found });
        }
        batch.check_shape()?;
        self.n = batch.n;
        self.fields.resize_with(pooling.len(), Default::default);
        let jobs = self.fields.iter_mut().zip(&batch.fields).zip(pooling);
        if batch.n_ids() <= IDS_PER_TASK {
            jobs.for_each(|((field, bags), &pooling)| field.rebuild(bags, pooling));
        } else {
            let jobs = self.fields.par_iter_mut().zip(&batch.fields[..]);
            let jobs = jobs.zip(pooling).with_max_len(1);
            jobs.for_each(|((field, bags), &pooling)| field.rebuild(bags, pooling));
        }
        running_sum(&mut self.starts, self.fields.iter().map(|f| f.rows.len()));
        running_sum(
            &mut self.first_ids,
            batch.fields.iter().map(|b| b.ids.len()),
        );
        Ok(())
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of fields.
    pub fn n_fields(&self) -> usize {
        self.fields.len()
    }

    /// Number of unique rows over all fields, `U`.
    pub fn n_unique(&self) -> usize {
        self.starts[self.fields.len()]
    }

    /// Number of ids over all fields, an upper bound of `U`.
    pub fn n_ids(&self) -> usize {
        self.first_ids[self.fields.len()]
    }

    /// The unique rows of field `f`, rising.
    pub fn rows(&self, f: usize) -> &[u32] {
        &self.fields[f].rows
    }

    /// For each id of field `f`, in the order of the batch, its place in [`rows`](Self::rows).
    pub fn unique_of(&self, f: usize) -> &[u32] {
        &self.fields[f].unique_of
    }

    /// Where the unique rows of field `f` stand among all `U`.
    pub fn span(&self, f: usize) -> Range<usize> {
        self.starts[f]..self.starts[f + 1]
    }

    /// Where the unique rows of several fields stand.
    pub(crate) fn span_of(&self, fields: Range<usize>) -> Range<usize> {
        self.starts[fields.start]..self.starts[fields.end]
    }

    /// One field's part.
    pub(crate) fn field(&self, f: usize) -> &FieldIndex {
        &self.fields[f]
    }

    /// Refuses tables that do not have the rows of this index.
    pub(crate) fn check_rows(
        &self,
        n_rows: impl ExactSizeIterator<Item = usize>,
    ) -> Result<(), EmbeddingError> {
        if self.fields.len() != n_rows.len() {
            let (expected, found) = (self.fields.len(), n_rows.len());
            return Err(EmbeddingError::FieldCount { expected, found });
        }
        for ((field, index), n_rows) in self.fields.iter().enumerate().zip(n_rows) {
            // Rows rise, so the last one is the largest.
            if let Some(&id) = index.rows.last().filter(|&&id| id as usize >= n_rows) {
                let position = index.first_occurrence(index.rows.len() - 1);
                return Err(EmbeddingError::IdOutOfRange {
                    field,
                    position,
                    id,
                    n_rows,
                });
            }
        }
        Ok(())
    }

    /// The fields that have rows in `span` of all `U`, each with its rows there, counted from its first.
    pub(crate) fn fields_in(
        &self,
        span: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> {
        let first = self.starts.partition_point(|&start| start <= span.start) - 1;
        let touched = (first..self.n_fields()).take_while(move |&f| self.starts[f] < span.end);
        touched.map(move |f| {
            let whole = self.span(f);
            let (start, end) = (span.start.max(whole.start), span.end.min(whole.end));
            (f, start - whole.start..end - whole.start)
        })
    }

    /// Number of occurrences of the unique rows in `span` of all `U`.
    pub(crate) fn n_occurrences(&self, span: Range<usize>) -> usize {
        let before = |u: usize| {
            let f = self.starts.partition_point(|&start| start <= u) - 1;
            match self.fields.get(f) {
                None => self.n_ids(),
                Some(field) => self.first_ids[f] + field.bounds[u - self.starts[f]] as usize,
            }
        };
        before(span.end) - before(span.start)
    }
}

impl FieldIndex {
    /// `[batch + 1]` when the field is multi-valued.
    pub fn offsets(&self) -> Option<&[u32]> {
        (!self.offsets.is_empty()).then_some(&self.offsets)
    }

    /// The first place of unique row `u` in the ids of the batch.
    fn first_occurrence(&self, u: usize) -> usize {
        let mut places = self.unique_of.iter();
        places.position(|&x| x as usize == u).unwrap_or(0)
    }

    fn reserve(&mut self, n: usize) {
        let Self {
            rows,
            bounds,
            samples,
            unique_of,
            sample_of,
            ..
        } = self;
        for buffer in [rows, bounds, samples, unique_of, sample_of] {
            buffer.reserve((n + 1).saturating_sub(buffer.len()));
        }
    }

    fn rebuild(&mut self, bags: &Bags<'_>, pooling: Pooling) {
        let n = bags.ids.len();
        self.pooling = pooling;
        self.offsets.clear();
        self.offsets.extend_from_slice(bags.offsets.unwrap_or(&[]));
        for buffer in [&mut self.rows, &mut self.samples, &mut self.unique_of] {
            buffer.resize(n, 0);
        }
        self.bounds.resize(n + 1, 0);
        // The rows are not known yet, so their memory serves the sort.
        sort_occurrences(bags.ids, &mut self.samples, &mut self.rows);
        self.group(bags.ids);
        self.weights.clear();
        if bags.offsets.is_some() {
            self.replace_by_samples();
        }
    }

    /// Finds the unique rows while `samples` still holds sorted occurrences.
    fn group(&mut self, ids: &[u32]) {
        let mut n_unique = 0;
        let mut last = None;
        for (&occurrence, end) in self.samples.iter().zip(1..) {
            let row = ids[occurrence as usize];
            // Without a branch: whether a row is new cannot be foretold.
            n_unique += usize::from(last != Some(row));
            last = Some(row);
            self.rows[n_unique - 1] = row;
            self.bounds[n_unique] = end;
            self.unique_of[occurrence as usize] = n_unique as u32 - 1;
        }
        self.rows.truncate(n_unique);
        self.bounds.truncate(n_unique + 1);
    }

    /// Replaces sorted occurrences by their samples.
    fn replace_by_samples(&mut self) {
        let sizes = self
            .offsets
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as usize);
        self.sample_of.clear();
        for (sample, len) in sizes.enumerate() {
            self.sample_of
                .extend(std::iter::repeat_n(sample as u32, len));
        }
        let sample_of = |&occurrence: &u32| self.sample_of[occurrence as usize];
        self.samples
            .iter_mut()
            .for_each(|place| *place = sample_of(place));
        if self.pooling == Pooling::Mean {
            let len = |&b: &u32| (self.offsets[b as usize + 1] - self.offsets[b as usize]) as usize;
            let weights = self.samples.iter().map(|b| Pooling::Mean.weight(len(b)));
            self.weights.extend(weights);
        }
    }
}

/// Writes the sums of the first 0, 1, … `sizes` to `sums`.
fn running_sum(sums: &mut Vec<usize>, sizes: impl Iterator<Item = usize>) {
    sums.clear();
    sums.push(0);
    let mut sum = 0;
    sums.extend(sizes.map(|size| {
        sum += size;
        sum
    }));
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn batch() -> IdBatch<'static> {
        let single = Bags {
            ids: &[4, 2, 4],
            offsets: None,
        };
        let multi = Bags {
            ids: &[1, 1, 0],
            offsets: Some(&[0, 2, 2, 3]),
        };
        IdBatch {
            n: 3,
            fields: smallvec![single, multi],
        }
    }

    #[test]
    fn unique_rows_and_their_places() {
        let index = BatchIndex::new(&batch(), &[Pooling::Sum, Pooling::Mean]).unwrap();
        assert_eq!((index.rows(0), index.rows(1)), (&[2, 4][..], &[0, 1][..]));
        assert_eq!((index.n_unique(), index.span(1)), (4, 2..4));
        let [single, multi] = [index.field(0), index.field(1)];
        assert_eq!(
            (&single.bounds[..], &multi.bounds[..]),
            (&[0, 1, 3][..], &[0, 1, 3][..])
        );
        assert_eq!(
            (&single.samples[..], &single.weights[..]),
            (&[1, 0, 2][..], &[][..])
        );
        assert_eq!(
            (&multi.samples[..], &multi.weights[..]),
            (&[2, 0, 0][..], &[1.0, 0.5, 0.5][..])
        );
        assert_eq!(
            (&single.unique_of[..], &multi.unique_of[..]),
            (&[1, 0, 1][..], &[1, 1, 0][..])
        );
    }

    #[test]
    fn spans_are_cut_by_fields_and_weighed_by_occurrences() {
        let index = BatchIndex::new(&batch(), &[Pooling::Sum; 2]).unwrap();
        let parts = |span| index.fields_in(span).collect::<Vec<_>>();
        assert_eq!(parts(0..4), [(0, 0..2), (1, 0..2)]);
        assert_eq!(parts(1..3), [(0, 1..2), (1, 0..1)]);
        assert_eq!(parts(2..4), [(1, 0..2)]);
        assert_eq!(parts(4..4), []);
        let occurrences = [0..4, 1..3, 2..4, 3..4].map(|span| index.n_occurrences(span));
        assert_eq!(occurrences, [6, 3, 3, 2]);
    }

    #[test]
    fn a_rebuilt_index_is_a_new_one() {
        let mut index = BatchIndex::new(&batch(), &[Pooling::Mean; 2]).unwrap();
        let other = IdBatch {
            n: 1,
            fields: smallvec![Bags {
                ids: &[9],
                offsets: None,
            }],
        };
        index.rebuild(&other, &[Pooling::Sum]).unwrap();
        let new = BatchIndex::new(&other, &[Pooling::Sum]).unwrap();
        assert_eq!(format!("{index:?}"), format!("{new:?}"));
        let error = index.rebuild(&batch(), &[Pooling::Sum]).unwrap_err();
        assert!(matches!(error, EmbeddingError::FieldCount { .. }));
        assert_eq!(index.rows(0), [9], "an error changes nothing");
    }

    #[test]
    fn tables_that_lack_a_row_are_refused() {
        let index = BatchIndex::new(&batch(), &[Pooling::Sum; 2]).unwrap();
        index.check_rows([5, 2].into_iter()).unwrap();
        let error = index.check_rows([5, 1].into_iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field 1: id 1 at position 0 is not below 1 rows"
        );
    }
}
