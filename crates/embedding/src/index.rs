//! Which rows a batch touches, and where.

use rayon::prelude::*;

use crate::{EmbeddingError, IdBatch, Pooling};

/// The unique rows of a batch and every place they are used at.
///
/// `U` is the number of unique rows over all fields; rows of one field stand together, in rising order.
/// An *occurrence* is one id of one bag; its *slot* is the row of `[batch · fields, dim]` it is added to.
#[derive(Clone, Debug)]
pub struct BatchIndex {
    n: usize,
    fields: Vec<FieldIndex>,
    /// First unique row of each field, `[fields + 1]`.
    starts: Vec<usize>,
}

/// One field's part of a [`BatchIndex`].
#[derive(Clone, Debug)]
struct FieldIndex {
    /// Unique rows of the table, rising.
    rows: Vec<u32>,
    /// Occurrences of `rows[u]` are `places[bounds[u]..bounds[u + 1]]`, `[rows + 1]`.
    bounds: Vec<u32>,
    /// Sample and weight of each occurrence, sorted by row, then by place in the batch.
    places: Vec<Place>,
    /// For each occurrence in the order of the batch, its index in `rows`.
    unique_of: Vec<u32>,
    /// `[batch + 1]` when the field is multi-valued.
    offsets: Option<Vec<u32>>,
    pooling: Pooling,
}

/// Where an occurrence goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub sample: u32,
    pub weight: f32,
}

impl BatchIndex {
    /// Indexes a batch whose ids have been checked.
    ///
    /// Cost: a sort of each field's ids, independent of the sizes of the tables; fields in parallel.
    ///
    /// # Errors
    /// When `pooling` does not have one entry a field.
    pub fn new(batch: &IdBatch<'_>, pooling: &[Pooling]) -> Result<Self, EmbeddingError> {
        if batch.fields.len() != pooling.len() {
            let (expected, found) = (pooling.len(), batch.fields.len());
            return Err(EmbeddingError::FieldCount { expected, found });
        }
        let fields: Vec<_> = (0..pooling.len())
            .into_par_iter()
            .map(|f| FieldIndex::new(batch, f, pooling[f]))
            .collect();
        let mut starts = vec![0];
        starts.extend(fields.iter().scan(0, |end, field| {
            *end += field.rows.len();
            Some(*end)
        }));
        Ok(Self {
            n: batch.n,
            fields,
            starts,
        })
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

    /// The unique rows of field `f`, rising.
    pub fn rows(&self, f: usize) -> &[u32] {
        &self.fields[f].rows
    }

    /// Where the unique rows of field `f` stand among all `U`.
    pub fn span(&self, f: usize) -> std::ops::Range<usize> {
        self.starts[f]..self.starts[f + 1]
    }

    /// Splits `values` `[U, dim]` into one slice a field.
    pub fn split_mut<'v>(&self, mut values: &'v mut [f32], dim: usize) -> Vec<&'v mut [f32]> {
        (0..self.n_fields())
            .map(|f| {
                let (part, rest) =
                    std::mem::take(&mut values).split_at_mut(self.span(f).len() * dim);
                values = rest;
                part
            })
            .collect()
    }

    /// The occurrences of unique row `u` of field `f`.
    pub(crate) fn places(&self, f: usize, u: usize) -> &[Place] {
        let field = &self.fields[f];
        &field.places[field.bounds[u] as usize..field.bounds[u + 1] as usize]
    }

    /// The unique rows (of all `U`) in the bag of sample `b` in field `f`, and their weight.
    pub(crate) fn bag(&self, f: usize, b: usize) -> (impl Iterator<Item = usize> + '_, f32) {
        let field = &self.fields[f];
        let range = match &field.offsets {
            None => b..b + 1,
            Some(offsets) => offsets[b] as usize..offsets[b + 1] as usize,
        };
        let weight = field.pooling.weight(range.len());
        let start = self.starts[f];
        (
            field.unique_of[range]
                .iter()
                .map(move |&u| start + u as usize),
            weight,
        )
    }
}

impl FieldIndex {
    fn new(batch: &IdBatch<'_>, f: usize, pooling: Pooling) -> Self {
        let bags = &batch.fields[f];
        // Row in the high half, occurrence in the low half: one sort gives both orders.
        let mut keys: Vec<u64> = bags
            .ids
            .iter()
            .enumerate()
            .map(|(i, &id)| u64::from(id) << 32 | i as u64)
            .collect();
        keys.sort_unstable();
        let samples = samples(batch, f);
        let mut index = Self {
            rows: Vec::new(),
            bounds: Vec::new(),
            places: Vec::with_capacity(keys.len()),
            unique_of: vec![0; keys.len()],
            offsets: bags.offsets.map(<[u32]>::to_vec),
            pooling,
        };
        for key in keys {
            index.push((key >> 32) as u32, key as u32 as usize, &samples, bags);
        }
        index.bounds.push(index.places.len() as u32);
        index
    }

    fn push(&mut self, row: u32, occurrence: usize, samples: &[u32], bags: &crate::Bags<'_>) {
        if self.rows.last() != Some(&row) {
            self.rows.push(row);
            self.bounds.push(self.places.len() as u32);
        }
        self.unique_of[occurrence] = self.rows.len() as u32 - 1;
        let sample = samples[occurrence];
        let weight = self.pooling.weight(bags.range(sample as usize).len());
        self.places.push(Place { sample, weight });
    }
}

/// The sample each occurrence of field `f` belongs to.
fn samples(batch: &IdBatch<'_>, f: usize) -> Vec<u32> {
    let bags = &batch.fields[f];
    (0..batch.n)
        .flat_map(|b| bags.range(b).map(move |_| b as u32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bags;

    #[test]
    fn unique_rows_and_their_places() {
        let batch = IdBatch {
            n: 3,
            fields: vec![
                Bags {
                    ids: &[4, 2, 4],
                    offsets: None,
                },
                Bags {
                    ids: &[1, 1, 0],
                    offsets: Some(&[0, 2, 2, 3]),
                },
            ],
        };
        let index = BatchIndex::new(&batch, &[Pooling::Sum, Pooling::Mean]).unwrap();
        assert_eq!((index.rows(0), index.rows(1)), (&[2, 4][..], &[0, 1][..]));
        assert_eq!((index.n_unique(), index.span(1)), (4, 2..4));
        let place = |sample, weight| Place { sample, weight };
        assert_eq!(index.places(0, 1), [place(0, 1.0), place(2, 1.0)]);
        assert_eq!(index.places(1, 1), [place(0, 0.5), place(0, 0.5)]);
        let bag = |f, b| index.bag(f, b).0.collect::<Vec<_>>();
        assert_eq!(
            (bag(0, 0), bag(1, 0), bag(1, 1)),
            (vec![1], vec![3, 3], vec![])
        );
    }
}
