//! Which values of the tables are kept: one bit a value.

use rayon::prelude::*;
use smallvec::SmallVec;

use crate::error::check_length;
use crate::parts::Parts;
use crate::state::StateElement;
use crate::{BatchIndex, EmbeddingError, SavedState, StateTensor, StateValues, Table};

/// Bits of a word.
const BITS: usize = 32;

/// Rows one task handles; a multiple of [`BITS`], so that tasks share no word.
const ROWS_PER_TASK: usize = 1 << 12;

/// One bit for each value of some tables `[n_rows, dim]`, set where the value is kept.
///
/// The bit of column `j` of row `r` is number `r · dim + j` of its field, counted from the lowest bit of the
/// first word; bits behind the last value are 0, so equal masks have equal words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    dim: usize,
    fields: Vec<FieldMask>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldMask {
    n_rows: usize,
    words: Vec<u32>,
}

impl Mask {
    /// A mask of tables `[n_rows[f], dim]` that keeps everything.
    pub fn full(n_rows: &[usize], dim: usize) -> Self {
        Self::from_rows(n_rows, dim, |_, _, keep| keep.fill(true))
    }

    /// A mask of tables `[n_rows[f], dim]`: `keep(f, row, bits)` sets the bits `[dim]` of one row, which are
    /// false before. Rows go to several threads.
    pub fn from_rows(
        n_rows: &[usize],
        dim: usize,
        keep: impl Fn(usize, usize, &mut [bool]) + Sync,
    ) -> Self {
        let field = |(f, &n_rows): (usize, &usize)| {
            let mut words = vec![0; n_words(n_rows, dim)];
            let tasks = words.par_chunks_mut((ROWS_PER_TASK / BITS * dim).max(1));
            tasks.enumerate().for_each(|(task, words)| {
                let first = task * ROWS_PER_TASK;
                let rows = first..n_rows.min(first + ROWS_PER_TASK);
                set_rows(words, rows.len(), dim, |row, bits| {
                    keep(f, first + row, bits)
                });
            });
            FieldMask { n_rows, words }
        };
        let fields = n_rows.iter().enumerate().map(field).collect();
        Self { dim, fields }
    }

    /// The mask of tables `[n_rows[f], dim]` with the words of each field, as [`words`](Self::words) gives
    /// them.
    ///
    /// # Errors
    /// When a field has another number of words, or a bit is set behind the last value.
    pub fn from_words(
        n_rows: &[usize],
        dim: usize,
        words: Vec<Vec<u32>>,
    ) -> Result<Self, EmbeddingError> {
        if n_rows.len() != words.len() {
            let (expected, found) = (n_rows.len(), words.len());
            return Err(EmbeddingError::FieldCount { expected, found });
        }
        let mut fields = Vec::with_capacity(words.len());
        for (&n_rows, words) in n_rows.iter().zip(words) {
            check_length("words of a mask", n_words(n_rows, dim), words.len())?;
            check_end(&words, n_rows * dim)?;
            fields.push(FieldMask { n_rows, words });
        }
        Ok(Self { dim, fields })
    }

    /// The words of field `f`.
    pub fn words(&self, f: usize) -> &[u32] {
        &self.fields[f].words
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows of each field.
    pub fn n_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        self.fields.iter().map(|field| field.n_rows)
    }

    /// Values of all tables.
    pub fn n_values(&self) -> u64 {
        self.n_rows().map(|n_rows| (n_rows * self.dim) as u64).sum()
    }

    /// Values kept.
    pub fn n_kept(&self) -> u64 {
        let ones = |word: &u32| u64::from(word.count_ones());
        let fields = self.fields.iter();
        fields
            .map(|f| f.words.par_iter().map(ones).sum::<u64>())
            .sum()
    }

    /// Whether a value is kept; panics when there is none.
    pub fn is_kept(&self, f: usize, row: usize, column: usize) -> bool {
        assert!(column < self.dim, "column {column} of {}", self.dim);
        let bit = row * self.dim + column;
        self.fields[f].words[bit / BITS] >> (bit % BITS) & 1 == 1
    }

    /// Zeroes what is not kept of the rows of field `f` from `first` on, `[_, dim]`; panics when there are
    /// not so many.
    pub fn apply(&self, f: usize, first: usize, rows: &mut [f32]) {
        let rows = rows.chunks_exact_mut(self.dim.max(1));
        for (row, values) in (first..).zip(rows) {
            self.fields[f].apply(row, values);
        }
    }

    /// Zeroes what is not kept of a whole table of field `f`, on all threads.
    pub(crate) fn apply_to_table(&self, f: usize, table: &mut Table) {
        let tasks = table
            .values_mut()
            .par_chunks_mut(ROWS_PER_TASK * self.dim.max(1));
        let tasks = tasks.enumerate();
        tasks.for_each(|(task, rows)| self.apply(f, task * ROWS_PER_TASK, rows));
    }

    /// Zeroes what is not kept of the gradients `[U, dim]` of the unique rows of a batch.
    ///
    /// # Errors
    /// When the mask lacks a row of the batch, or the gradients have another length; nothing is changed
    /// then.
    pub fn apply_to_gradients(
        &self,
        index: &BatchIndex,
        gradients: &mut [f32],
    ) -> Result<(), EmbeddingError> {
        index.check_rows(self.n_rows())?;
        let expected = index.n_unique() * self.dim;
        check_length("gradients of unique rows", expected, gradients.len())?;
        let parts = Parts {
            index,
            dim: self.dim,
            leaf: |f: usize, rows: std::ops::Range<usize>, out: &mut [f32]| {
                let rows = index.rows(f)[rows].iter();
                for (&row, gradient) in rows.zip(out.chunks_exact_mut(self.dim)) {
                    self.fields[f].apply(row as usize, gradient);
                }
            },
        };
        parts.run(0..index.n_unique(), gradients);
        Ok(())
    }

    /// The words of every field as the tensor `<name>/mask`.
    pub fn state<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = StateTensor<'a>> {
        let fields = self.fields.iter().zip(names);
        fields.map(|(field, name)| StateTensor {
            name: tensor_name(name),
            n_rows: field.words.len(),
            dim: 1,
            values: StateValues::U32(&field.words),
        })
    }

    /// Takes the bits of a saved mask of the same tables.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape, or says which bit cannot be set.
    pub fn restore(
        &mut self,
        names: &[String],
        saved: &dyn SavedState,
    ) -> Result<(), EmbeddingError> {
        let dim = self.dim;
        let fields = self.fields.iter_mut().zip(names);
        for (field, name) in fields {
            let name = tensor_name(name);
            let words = find_words(saved, &name, field.words.len())?;
            check_end(words, field.n_rows * dim)?;
            field.words.copy_from_slice(words);
            saved.release(&name);
        }
        Ok(())
    }

    /// Refuses tables `[n_rows, dim]` of another shape.
    pub(crate) fn check(&self, tables: &[Table]) -> Result<(), EmbeddingError> {
        let masked = self.n_rows().map(|n_rows| (n_rows, self.dim));
        if masked.eq(tables.iter().map(|table| (table.n_rows(), table.dim()))) {
            return Ok(());
        }
        let shapes: SmallVec<[_; 4]> = self.n_rows().take(4).collect();
        Err(EmbeddingError::Setting {
            what: "mask of the embeddings".into(),
            expected: "the rows and dim of every table",
            found: format!(
                "dim {}, {} tables of {shapes:?} … rows",
                self.dim,
                self.fields.len()
            ),
        })
    }
}

impl FieldMask {
    /// Zeroes what is not kept of row `row`.
    #[inline]
    fn apply(&self, row: usize, values: &mut [f32]) {
        let first = row * values.len();
        for (values, bit) in values.chunks_mut(BITS).zip((first..).step_by(BITS)) {
            let bits = self.bits_from(bit);
            for (j, value) in values.iter_mut().enumerate() {
                // All ones where the bit is set: no value, not even a NaN, survives a 0.
                let keep = 0u32.wrapping_sub(bits >> j & 1);
                *value = f32::from_bits(value.to_bits() & keep);
            }
        }
    }

    /// The 32 bits from `bit` on, 0 where there are no more words.
    #[inline]
    fn bits_from(&self, bit: usize) -> u32 {
        let low = u64::from(self.words[bit / BITS]);
        let high = self.words.get(bit / BITS + 1).copied().unwrap_or(0);
        ((low | u64::from(high) << BITS) >> (bit % BITS)) as u32
    }
}

fn n_words(n_rows: usize, dim: usize) -> usize {
    (n_rows * dim).div_ceil(BITS)
}

fn tensor_name(field: &str) -> String {
    format!("{field}/mask")
}

/// Sets the bits of `n_rows` rows whose first is bit 0 of `words`.
fn set_rows(words: &mut [u32], n_rows: usize, dim: usize, keep: impl Fn(usize, &mut [bool])) {
    let mut bits = vec![false; dim];
    for row in 0..n_rows {
        bits.fill(false);
        keep(row, &mut bits);
        for (bit, &is_kept) in (row * dim..).zip(&bits) {
            words[bit / BITS] |= u32::from(is_kept) << (bit % BITS);
        }
    }
}

/// Refuses bits behind the last of `n_bits`.
fn check_end(words: &[u32], n_bits: usize) -> Result<(), EmbeddingError> {
    let last = words.last().copied().unwrap_or(0);
    if n_bits.is_multiple_of(BITS) || last >> (n_bits % BITS) == 0 {
        return Ok(());
    }
    Err(EmbeddingError::Setting {
        what: format!("last word of a mask of {n_bits} values"),
        expected: "no bit behind the last value",
        found: format!("{last:#034b}"),
    })
}

/// The saved words called `name`.
fn find_words<'a>(
    saved: &'a dyn SavedState,
    name: &str,
    n_words: usize,
) -> Result<&'a [u32], EmbeddingError> {
    let found = saved.find(name);
    let words = found.and_then(|tensor| u32::unwrap(tensor.values));
    let words = words.filter(|words| words.len() == n_words);
    words.ok_or_else(|| EmbeddingError::StateMismatch {
        name: name.to_owned(),
        expected: format!("{:?}", (n_words, 1)),
        found: found.map_or("nothing".into(), |t| format!("{:?}", (t.n_rows, t.dim))),
    })
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::{Bags, IdBatch, Pooling};

    /// Keeps about a third, differently in every field, row and column.
    fn third(f: usize, row: usize, keep: &mut [bool]) {
        let kept = |j: usize| (7 * f + 5 * row + j * j).is_multiple_of(3);
        keep.iter_mut().enumerate().for_each(|(j, k)| *k = kept(j));
    }

    #[test]
    fn bits_are_those_of_the_predicate_for_all_dims() {
        for dim in [1, 3, 16, 31, 32, 33, 70] {
            let n_rows = [5, 0, 9000];
            let mask = Mask::from_rows(&n_rows, dim, third);
            let mut n_kept = 0;
            for (f, &n_rows) in n_rows.iter().enumerate() {
                for row in 0..n_rows {
                    let mut expected = vec![false; dim];
                    third(f, row, &mut expected);
                    let found: Vec<_> = (0..dim).map(|j| mask.is_kept(f, row, j)).collect();
                    assert_eq!(found, expected, "dim {dim} row {row}");
                    n_kept += expected.iter().filter(|&&k| k).count() as u64;
                    let mut values = vec![f32::NAN; dim];
                    mask.apply(f, row, &mut values);
                    assert!(values.iter().zip(expected).all(|(v, k)| v.is_nan() == k));
                }
            }
            assert_eq!(mask.n_kept(), n_kept);
            assert_eq!(mask.n_values(), 9005 * dim as u64);
        }
    }

    #[test]
    fn a_full_mask_keeps_everything() {
        let mask = Mask::full(&[3, 50], 3);
        assert_eq!((mask.n_kept(), mask.n_values()), (159, 159));
    }

    #[test]
    fn a_hand_worked_mask_of_3_rows_by_2() {
        let mask = Mask::from_rows(&[3], 2, |_, row, keep| keep[row % 2] = true);
        assert_eq!(mask.words(0), [0b01_10_01]);
        let mut rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        mask.apply(0, 0, &mut rows);
        assert_eq!(rows, [1.0, 0.0, 0.0, 4.0, 5.0, 0.0]);
    }

    #[test]
    fn words_and_state_go_there_and_back() {
        let (n_rows, names) = ([5, 100], ["A".to_owned(), "B".to_owned()]);
        let mask = Mask::from_rows(&n_rows, 3, third);
        let words = (0..2).map(|f| mask.words(f).to_vec()).collect();
        assert_eq!(Mask::from_words(&n_rows, 3, words).unwrap(), mask);
        let saved: Vec<_> = mask.state(&names).collect();
        let mut restored = Mask::full(&n_rows, 3);
        assert_ne!(restored, mask);
        restored.restore(&names, &saved).unwrap();
        assert_eq!(restored, mask);
        let error = Mask::full(&[5, 80], 3).restore(&names, &saved).unwrap_err();
        let expected = "state `B/mask`: expected (8, 1), found (10, 1)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn words_that_do_not_fit_are_refused() {
        let error = |words| Mask::from_words(&[5], 3, words).unwrap_err().to_string();
        assert!(error(vec![]).contains("expected ids of 1 fields, found 0"));
        assert!(error(vec![vec![0, 0]]).contains("expected 1 values, found 2"));
        assert!(error(vec![vec![1 << 15]]).contains("no bit behind the last value"));
    }

    #[test]
    fn gradients_are_masked_by_the_row_they_belong_to() {
        let bags = |ids| Bags { ids, offsets: None };
        let batch = IdBatch {
            n: 2,
            fields: smallvec![bags(&[4, 1][..]), bags(&[2, 2][..])],
        };
        let index = BatchIndex::new(&batch, &[Pooling::Sum; 2]).unwrap();
        let mask = Mask::from_rows(&[5, 3], 3, third);
        let mut gradients = vec![1.0; 9];
        mask.apply_to_gradients(&index, &mut gradients).unwrap();
        let kept = |(f, row)| (0..3).map(move |j| (f, row, j));
        let places = [(0, 1), (0, 4), (1, 2)].into_iter().flat_map(kept);
        for ((f, row, j), g) in places.zip(gradients) {
            assert_eq!(g == 1.0, mask.is_kept(f, row, j), "{f} {row} {j}");
        }
        let short = Mask::full(&[4, 3], 3);
        assert!(short.apply_to_gradients(&index, &mut [0.0; 9]).is_err());
    }
}
