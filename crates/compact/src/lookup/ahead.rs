//! Records found before they are needed.

use super::format::Format;
use super::lanes::{LANES, Lanes};
use super::row::Row;
use crate::structure::{RING, Record, Records, Storage};

/// Ids between finding a record and reading it, at least. With 32 a Zen 5 took 1.3 times as long for dense rows;
/// a Sapphire Rapids waited for memory with 16 and took as long with 32, 48 and 64.
const AHEAD: usize = 64;

/// Records that were found stay until they are read.
const _: () = assert!(AHEAD + LANES <= RING && AHEAD.is_multiple_of(LANES));

/// Records found before they are needed: sixteen at a time where finding them is work.
pub struct Ahead<'k> {
    ids: &'k [u32],
    /// That of id `p` at `p % RING`; unused where finding it again is cheap.
    records: Records,
}

impl<'k> Ahead<'k> {
    #[inline(always)]
    pub fn new(ids: &'k [u32]) -> Self {
        let records = Records::NONE;
        Self { ids, records }
    }

    /// Finds the first records.
    ///
    /// # Safety
    /// The ids are rows of the storage; the processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn begin<L: Lanes, S: Storage, F: Format, const N: usize, const LINED: bool>(
        &mut self,
        row: &Row<L, S, F, N, LINED>,
    ) {
        if S::INDIRECT {
            for &id in &self.ids[..self.ids.len().min(2 * AHEAD)] {
                row.storage.prefetch_index(id);
            }
        }
        // SAFETY: said above.
        unsafe {
            if S::COSTLY {
                for p in (0..AHEAD).step_by(LANES) {
                    self.find_block(row, p);
                }
                return;
            }
            for p in 0..self.ids.len().min(AHEAD) {
                row.prefetch(self.record(row, p));
            }
        }
    }

    /// The record of an id.
    ///
    /// # Safety
    /// As [`begin`](Self::begin), and there is an id `p`.
    #[inline(always)]
    unsafe fn record<L: Lanes, S: Storage, F: Format, const N: usize, const LINED: bool>(
        &self,
        row: &Row<L, S, F, N, LINED>,
        p: usize,
    ) -> Record {
        // SAFETY: said above.
        unsafe { row.storage.locate::<L>(*self.ids.get_unchecked(p)) }
    }

    /// Finds the records of ids `p..p + 16`, as far as there are such, and asks for them.
    ///
    /// # Safety
    /// As [`begin`](Self::begin).
    #[inline(always)]
    unsafe fn find_block<L: Lanes, S: Storage, F: Format, const N: usize, const LINED: bool>(
        &mut self,
        row: &Row<L, S, F, N, LINED>,
        p: usize,
    ) {
        let Some(ids) = self.ids.get(p..).filter(|ids| !ids.is_empty()) else {
            return;
        };
        let padded;
        let block = match ids.first_chunk() {
            Some(block) => block,
            None => {
                let mut last = [ids[0]; LANES];
                last[..ids.len()].copy_from_slice(ids);
                padded = last;
                &padded
            }
        };
        // SAFETY: said above.
        unsafe {
            row.storage.locate_block::<L>(block, &mut self.records, p);
        }
        // The records' memory is looked at again: taking vectors apart that were stored there is slower.
        let records = std::hint::black_box(&self.records);
        let first = p / LANES % (RING / LANES) * LANES;
        for i in 0..LANES {
            row.prefetch(records.get(first + i, row.storage.base()));
        }
    }

    /// The record of id `p`; ids are asked for in order.
    ///
    /// # Safety
    /// As [`record`](Self::record).
    #[inline(always)]
    pub unsafe fn next<L: Lanes, S: Storage, F: Format, const N: usize, const LINED: bool>(
        &mut self,
        row: &Row<L, S, F, N, LINED>,
        p: usize,
    ) -> Record {
        // SAFETY: said above.
        unsafe {
            if S::INDIRECT && p + 2 * AHEAD < self.ids.len() {
                row.storage
                    .prefetch_index(*self.ids.get_unchecked(p + 2 * AHEAD));
            }
            if S::COSTLY {
                if p.is_multiple_of(LANES) {
                    self.find_block(row, p + AHEAD);
                }
                return self.records.get(p, row.storage.base());
            }
            if p + AHEAD < self.ids.len() {
                row.prefetch(self.record(row, p + AHEAD));
            }
            self.record(row, p)
        }
    }
}
