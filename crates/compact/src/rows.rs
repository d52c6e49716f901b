//! The rows that are to be stored.

use crate::EncodeError;

/// The largest number of values of a row.
pub const MAX_DIM: usize = i16::MAX as usize;

/// Exact rows, `[n_rows, dim]`; what was pruned is 0.
///
/// A method that keeps masks applies them to its rows before it hands them over: a pruned value and a
/// value of 0 are the same to every lookup. Minus zero is a value.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    dim: usize,
    /// The rows meant, if not all of them.
    selected: Option<&'a [u32]>,
}

impl<'a> Rows<'a> {
    /// Rows of `dim` values each.
    ///
    /// # Errors
    /// When `dim` is 0 or beyond 32,767, the values do not make whole rows, or there are 2³² rows or more.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self, EncodeError> {
        let error = |what, expected, found: usize| EncodeError::Shape {
            what,
            expected,
            found,
        };
        if dim == 0 || dim > MAX_DIM {
            return Err(error("dim", "1 to 32,767", dim));
        }
        if !values.len().is_multiple_of(dim) {
            return Err(error("number of values", "whole rows", values.len()));
        }
        if values.len() / dim >= u32::MAX as usize {
            return Err(error(
                "number of rows",
                "less than 2^32 - 1",
                values.len() / dim,
            ));
        }
        Ok(Self {
            values,
            dim,
            selected: None,
        })
    }

    /// The rows with these numbers only.
    pub(crate) fn select(self, selected: &'a [u32]) -> Self {
        Self {
            selected: Some(selected),
            ..self
        }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.selected
            .map_or(self.values.len() / self.dim, <[u32]>::len)
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        let i = self.selected.map_or(i, |selected| selected[i] as usize);
        &self.values[i * self.dim..][..self.dim]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> {
        let rows = *self;
        (0..self.n_rows()).map(move |i| rows.row(i))
    }

    /// All values as one slice, unless rows were selected.
    pub(crate) fn as_slice(&self) -> Option<&'a [f32]> {
        self.selected.is_none().then_some(self.values)
    }

    /// The largest absolute value.
    pub(crate) fn largest(&self) -> f32 {
        let of_row = |row: &[f32]| row.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        self.iter().map(of_row).fold(0.0, f32::max)
    }

    /// Refuses NaN and infinities, which integers cannot stand for.
    ///
    /// # Errors
    /// Names the first.
    pub(crate) fn check_finite(&self) -> Result<(), EncodeError> {
        for (row, values) in self.iter().enumerate() {
            if let Some(column) = values.iter().position(|x| !x.is_finite()) {
                let value = values[column];
                return Err(EncodeError::NotFinite { row, column, value });
            }
        }
        Ok(())
    }
}

/// Whether a value has to be stored: all but plus zero.
pub fn is_kept(x: f32) -> bool {
    x.to_bits() != 0
}

/// Number of kept values of a row.
pub fn n_kept(row: &[f32]) -> usize {
    row.iter().filter(|&&x| is_kept(x)).count()
}

/// Length of the shortest prefix that holds all kept values of a row.
pub fn prefix_len(row: &[f32]) -> usize {
    row.iter()
        .rposition(|&x| is_kept(x))
        .map_or(0, |last| last + 1)
}
