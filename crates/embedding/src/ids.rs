//! The ids of a batch.

use smallvec::SmallVec;

use crate::EmbeddingError;

/// How the rows of a bag become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their sum; an empty bag gives zeros.
    #[default]
    Sum,
    /// Their mean; an empty bag gives zeros.
    Mean,
}

impl Pooling {
    /// Weight of each row in a bag of `len`.
    pub fn weight(self, len: usize) -> f32 {
        match self {
            Self::Sum => 1.0,
            Self::Mean => 1.0 / len.max(1) as f32,
        }
    }
}

/// One field's ids in a batch: one id a sample, or a bag of any length.
#[derive(Clone, Copy, Debug)]
pub struct Bags<'a> {
    /// The ids, sample after sample.
    pub ids: &'a [u32],
    /// `[batch + 1]`: sample `b` owns `ids[offsets[b]..offsets[b + 1]]`. `None`: one id a sample.
    pub offsets: Option<&'a [u32]>,
}

impl Bags<'_> {
    /// The places in `ids` that belong to sample `b`.
    pub fn range(&self, b: usize) -> std::ops::Range<usize> {
        match self.offsets {
            None => b..b + 1,
            Some(offsets) => offsets[b] as usize..offsets[b + 1] as usize,
        }
    }
}

/// The ids of all fields of a batch; up to 32 fields need no memory of their own.
#[derive(Clone, Debug)]
pub struct IdBatch<'a> {
    /// Number of samples.
    pub n: usize,
    /// One entry a field.
    pub fields: SmallVec<[Bags<'a>; 32]>,
}

impl IdBatch<'_> {
    /// Checks sizes, offsets and every id against the tables' numbers of rows, once for the batch.
    ///
    /// # Errors
    /// Names the field, and for an id its position and the table's rows.
    pub fn check(
        &self,
        n_rows: impl ExactSizeIterator<Item = usize>,
    ) -> Result<(), EmbeddingError> {
        if self.fields.len() != n_rows.len() {
            let (expected, found) = (n_rows.len(), self.fields.len());
            return Err(EmbeddingError::FieldCount { expected, found });
        }
        self.check_shape()?;
        for ((field, bags), n_rows) in self.fields.iter().enumerate().zip(n_rows) {
            check_ids(field, bags.ids, n_rows)?;
        }
        Ok(())
    }

    /// Checks that the ids of every field make `n` bags.
    pub(crate) fn check_shape(&self) -> Result<(), EmbeddingError> {
        let mut fields = self.fields.iter().enumerate();
        fields.try_for_each(|(field, bags)| check_offsets(field, bags, self.n))
    }

    /// Number of ids over all fields.
    pub(crate) fn n_ids(&self) -> usize {
        self.fields.iter().map(|bags| bags.ids.len()).sum()
    }
}

fn check_offsets(field: usize, bags: &Bags<'_>, n: usize) -> Result<(), EmbeddingError> {
    let bad = |expected: String, found: String| {
        Err(EmbeddingError::BadBags {
            field,
            expected,
            found,
        })
    };
    let Some(offsets) = bags.offsets else {
        let found = bags.ids.len();
        return if found == n {
            Ok(())
        } else {
            bad(format!("{n} ids"), found.to_string())
        };
    };
    if offsets.len() != n + 1 {
        return bad(format!("{} offsets", n + 1), offsets.len().to_string());
    }
    let rising = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    if !rising || offsets[0] != 0 || offsets[n] as usize != bags.ids.len() {
        let expected = format!("offsets rising from 0 to {}", bags.ids.len());
        return bad(expected, format!("from {} to {}", offsets[0], offsets[n]));
    }
    Ok(())
}

fn check_ids(field: usize, ids: &[u32], n_rows: usize) -> Result<(), EmbeddingError> {
    let is_wild = |id: u32| id as usize >= n_rows;
    // A walk that does not stop compares many ids at a time.
    if ids.iter().filter(|&&id| is_wild(id)).count() == 0 {
        return Ok(());
    }
    match ids.iter().position(|&id| is_wild(id)) {
        None => Ok(()),
        Some(position) => Err(EmbeddingError::IdOutOfRange {
            field,
            position,
            id: ids[position],
            n_rows,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[u32], offsets: Option<&[u32]>, n: usize) -> Result<(), EmbeddingError> {
        IdBatch {
            n,
            fields: smallvec::smallvec![Bags { ids, offsets }],
        }
        .check([10].into_iter())
    }

    #[test]
    fn good_batches_pass() {
        check(&[0, 9], None, 2).unwrap();
        check(&[], Some(&[0, 0, 0]), 2).unwrap();
        check(&[1, 1, 2], Some(&[0, 3, 3]), 2).unwrap();
        check(&[], None, 0).unwrap();
    }

    #[test]
    fn bad_batches_name_the_place() {
        /// Ids, offsets, samples, and what the message says.
        type Case = (&'static [u32], Option<&'static [u32]>, usize, &'static str);
        let cases: [Case; 6] = [
            (
                &[0, 10],
                None,
                2,
                "field 0: id 10 at position 1 is not below 10 rows",
            ),
            (&[0], None, 2, "expected 2 ids, found 1"),
            (&[0], Some(&[0, 1]), 2, "expected 3 offsets, found 2"),
            (&[0], Some(&[0, 1, 0]), 2, "rising"),
            (&[0], Some(&[1, 1, 1]), 2, "rising from 0"),
            (&[0], Some(&[0, 1, 2]), 2, "to 1"),
        ];
        for (ids, offsets, n, message) in cases {
            let error = check(ids, offsets, n).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
