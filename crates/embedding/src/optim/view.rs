//! Rows that one task may change.

use super::slots::{Slot, Slots};
use crate::prefetch::prefetch;
use crate::{Table, state::StateElement};

/// The rows of a table from `first` on; without values where a rule keeps no such state.
#[derive(Default)]
pub struct RowsMut<'a, T> {
    values: &'a mut [T],
    width: usize,
    first: u32,
}

impl<'a, T: StateElement + Default> RowsMut<'a, T> {
    fn of_slot(slot: &'a mut Option<Slot<T>>) -> Self {
        let slot = slot.as_mut();
        slot.map_or_else(Self::default, |slot| Self::new(&mut slot.table))
    }

    fn new(table: &'a mut Table<T>) -> Self {
        Self {
            width: table.dim(),
            values: table.values_mut(),
            first: 0,
        }
    }

    /// The rows before `row` and those from it on.
    fn split_at(self, row: u32) -> (Self, Self) {
        let (width, first) = (self.width, self.first);
        let (before, after) = self.values.split_at_mut((row - first) as usize * width);
        let part = |values, first| Self {
            values,
            width,
            first,
        };
        (part(before, first), part(after, row))
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `row` of `width` values; the width is an argument so that it can be a constant.
    #[inline(always)]
    pub fn row(&mut self, row: u32, width: usize) -> &mut [T] {
        &mut self.values[(row - self.first) as usize * width..][..width]
    }

    #[inline(always)]
    fn prefetch(&self, row: u32, width: usize) {
        prefetch(self.values, (row - self.first) as usize * width, width);
    }
}

/// Rows of a table with the optimiser's state of these rows.
pub struct Part<'a> {
    pub w: RowsMut<'a, f32>,
    pub floats: RowsMut<'a, f32>,
    pub words: RowsMut<'a, u32>,
    pub decayed: RowsMut<'a, u32>,
}

impl<'a> Part<'a> {
    pub fn new(table: &'a mut Table, slots: &'a mut Slots) -> Self {
        Self {
            w: RowsMut::new(table),
            floats: RowsMut::of_slot(&mut slots.floats),
            words: RowsMut::of_slot(&mut slots.words),
            decayed: RowsMut::of_slot(&mut slots.decayed),
        }
    }

    /// The rows before `row` and those from it on.
    pub fn split_at(self, row: u32) -> (Self, Self) {
        let (w, w_after) = self.w.split_at(row);
        let (floats, floats_after) = self.floats.split_at(row);
        let (words, words_after) = self.words.split_at(row);
        let (decayed, decayed_after) = self.decayed.split_at(row);
        let before = Self {
            w,
            floats,
            words,
            decayed,
        };
        let after = Self {
            w: w_after,
            floats: floats_after,
            words: words_after,
            decayed: decayed_after,
        };
        (before, after)
    }

    /// Asks for row `row` of `dim` values with `floats` and `words` values of state.
    #[inline(always)]
    pub fn prefetch(&self, row: u32, dim: usize, floats: usize, words: usize) {
        self.w.prefetch(row, dim);
        if floats > 0 {
            self.floats.prefetch(row, floats);
        }
        if words > 0 {
            self.words.prefetch(row, words);
        }
    }
}
