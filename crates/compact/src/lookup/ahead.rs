//! Records found before they are needed.

use super::format::Format;
use super::lanes::Lanes;
use super::row::Row;
use crate::structure::{Record, Storage};

/// Ids between finding a record and reading it: with 16 the memory was waited for, 48 and 64 were no faster.
const AHEAD: usize = 32;

/// Records found before they are needed.
pub struct Ahead<'k> {
    ids: &'k [u32],
    /// That of id `p` at `p % AHEAD`; unused where finding it again is cheap.
    records: [Record; AHEAD],
}

impl<'k> Ahead<'k> {
    #[inline(always)]
    pub fn new(ids: &'k [u32]) -> Self {
        let records = [Record::NONE; AHEAD];
        Self { ids, records }
    }

    /// Finds the first records.
    ///
    /// # Safety
    /// The ids are rows of the storage; the processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn begin<L: Lanes, S: Storage, F: Format, const N: usize>(
        &mut self,
        row: &Row<L, S, F, N>,
    ) {
        if S::INDIRECT {
            for &id in &self.ids[..self.ids.len().min(2 * AHEAD)] {
                row.storage.prefetch_index(id);
            }
        }
        for p in 0..self.ids.len().min(AHEAD) {
            // SAFETY: said above.
            unsafe { self.find(row, p) };
        }
    }

    /// The record of an id.
    ///
    /// # Safety
    /// As [`begin`](Self::begin), and there is an id `p`.
    #[inline(always)]
    unsafe fn record<L: Lanes, S: Storage, F: Format, const N: usize>(
        &self,
        row: &Row<L, S, F, N>,
        p: usize,
    ) -> Record {
        // SAFETY: said above.
        unsafe { row.storage.locate::<L>(*self.ids.get_unchecked(p)) }
    }

    /// Finds the record of id `p` and asks for it.
    ///
    /// # Safety
    /// As [`record`](Self::record).
    #[inline(always)]
    unsafe fn find<L: Lanes, S: Storage, F: Format, const N: usize>(
        &mut self,
        row: &Row<L, S, F, N>,
        p: usize,
    ) {
        // SAFETY: said above.
        let record = unsafe { self.record(row, p) };
        row.prefetch(record);
        if S::COSTLY {
            self.records[p % AHEAD] = record;
        }
    }

    /// The record of id `p`; ids are asked for in order.
    ///
    /// # Safety
    /// As [`record`](Self::record).
    #[inline(always)]
    pub unsafe fn next<L: Lanes, S: Storage, F: Format, const N: usize>(
        &mut self,
        row: &Row<L, S, F, N>,
        p: usize,
    ) -> Record {
        // SAFETY: said above.
        unsafe {
            let record = if S::COSTLY {
                self.records[p % AHEAD]
            } else {
                self.record(row, p)
            };
            if S::INDIRECT && p + 2 * AHEAD < self.ids.len() {
                row.storage
                    .prefetch_index(*self.ids.get_unchecked(p + 2 * AHEAD));
            }
            if p + AHEAD < self.ids.len() {
                self.find(row, p + AHEAD);
            }
            record
        }
    }
}
