//! What is looked up, and where to.

use serde::{Deserialize, Serialize};

use crate::LookupError;
use crate::lookup::{Isa, Lanes, Work};

/// How the rows of a bag become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their sum; an empty bag gives zeros.
    Sum,
    /// Their sum divided by their number; an empty bag gives zeros.
    Mean,
}

/// The ids of one field in a batch: one id a sample, or a bag of any length.
#[derive(Clone, Copy, Debug)]
pub struct Bags<'a> {
    /// The ids, sample after sample.
    pub ids: &'a [u32],
    /// `[batch + 1]`: sample `b` owns `ids[offsets[b]..offsets[b + 1]]`. `None`: one id a sample.
    pub offsets: Option<&'a [u32]>,
    /// What each row is multiplied with; `None`: 1.
    pub weights: Option<&'a [f32]>,
}

impl<'a> Bags<'a> {
    /// One id a sample.
    pub fn single(ids: &'a [u32]) -> Self {
        Self {
            ids,
            offsets: None,
            weights: None,
        }
    }

    /// Sample `b` owns `ids[offsets[b]..offsets[b + 1]]`.
    pub fn new(ids: &'a [u32], offsets: &'a [u32]) -> Self {
        Self {
            ids,
            offsets: Some(offsets),
            weights: None,
        }
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.offsets
            .map_or(self.ids.len(), |offsets| offsets.len().saturating_sub(1))
    }

    /// The places in `ids` that belong to sample `b`.
    #[inline(always)]
    pub fn range(&self, b: usize) -> std::ops::Range<usize> {
        match self.offsets {
            None => b..b + 1,
            Some(offsets) => offsets[b] as usize..offsets[b + 1] as usize,
        }
    }

    /// The offsets that sums are divided by the differences of, if `pooling` asks for that.
    pub(crate) fn lengths(&self, pooling: Pooling) -> Option<&'a [u32]> {
        self.offsets.filter(|_| pooling == Pooling::Mean)
    }

    /// Checks lengths, offsets, and every id against the table's number of rows.
    ///
    /// # Errors
    /// Names the first that does not fit, with its position.
    pub(crate) fn check(&self, n_rows: u64) -> Result<(), LookupError> {
        if let Some(offsets) = self.offsets {
            check_offsets(offsets, self.ids.len())?;
        }
        if let Some(weights) = self.weights {
            check_len("weights", self.ids.len(), weights.len())?;
        }
        // The largest id first: without a branch for each it takes next to no time.
        if u64::from(largest(self.ids)) < n_rows || self.ids.is_empty() {
            return Ok(());
        }
        let bad = |id: &&u32| u64::from(**id) >= n_rows;
        let position = self.ids.iter().position(|id| bad(&id)).unwrap_or(0);
        Err(LookupError::Id {
            position,
            id: self.ids[position],
            n_rows,
        })
    }
}

/// The largest id, or 0.
fn largest(ids: &[u32]) -> u32 {
    let mut largest = 0;
    let work = Largest {
        ids,
        largest: &mut largest,
    };
    if ids.len() < FEW_IDS {
        work.run_portable();
    } else {
        work.run_on(Isa::best());
    }
    largest
}

/// So few ids that asking what the processor has would take longer than comparing them.
const FEW_IDS: usize = 64;

/// Compares with the processor's widest registers: the least that all x86-64 have cannot compare unsigned
/// numbers.
struct Largest<'k> {
    ids: &'k [u32],
    largest: &'k mut u32,
}

impl Work for Largest<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        *self.largest = self.ids.iter().fold(0, |largest, &id| largest.max(id));
    }
}

fn check_offsets(offsets: &[u32], n_ids: usize) -> Result<(), LookupError> {
    let error = |position, expected: String| LookupError::Offset {
        position,
        expected,
        found: offsets.get(position).copied().unwrap_or(0),
    };
    if offsets.first() != Some(&0) {
        return Err(error(0, "0".into()));
    }
    if let Some(i) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(error(i + 1, format!("{} or more", offsets[i])));
    }
    let last = offsets.len() - 1;
    if offsets[last] as usize != n_ids {
        return Err(error(last, format!("{n_ids}, the number of ids")));
    }
    Ok(())
}

pub(crate) fn check_len(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), LookupError> {
    if expected == found {
        return Ok(());
    }
    Err(LookupError::Length {
        what,
        expected,
        found,
    })
}

/// Where pooled vectors go: that of sample `b` to `values[start + b · stride ..][..dim]`.
#[derive(Debug)]
pub struct Output<'a> {
    /// Memory for all of them, for example `[batch, fields, dim]`.
    pub values: &'a mut [f32],
    /// Place of the first vector.
    pub start: usize,
    /// Distance of two vectors, `dim` or more.
    pub stride: usize,
}

impl<'a> Output<'a> {
    /// Vectors of `dim` values one after the other, `[batch, dim]`.
    pub fn rows(values: &'a mut [f32], dim: usize) -> Self {
        Self {
            values,
            start: 0,
            stride: dim,
        }
    }

    /// The vector of sample `b`.
    #[inline(always)]
    pub(crate) fn row(&mut self, b: usize, dim: usize) -> &mut [f32] {
        &mut self.values[self.start + b * self.stride..][..dim]
    }

    /// The same memory for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Output<'_> {
        Output {
            values: self.values,
            start: self.start,
            stride: self.stride,
        }
    }

    /// The vectors of sample `b` and those behind it, for a shorter time.
    pub(crate) fn from(&mut self, b: usize) -> Output<'_> {
        Output {
            start: self.start + b * self.stride,
            ..self.reborrow()
        }
    }

    /// Checks that `n` vectors of `dim` values fit without touching each other.
    pub(crate) fn check(&self, n: usize, dim: usize) -> Result<(), LookupError> {
        if n > 1 && self.stride < dim {
            return check_len("stride of the output", dim, self.stride);
        }
        let needed = n.checked_sub(1).map_or(Some(0), |last| {
            let last = self.stride.checked_mul(last)?;
            last.checked_add(self.start)?.checked_add(dim)
        });
        let needed = needed.unwrap_or(usize::MAX);
        check_len("output", needed.max(self.values.len()), self.values.len())
    }
}
