//! Records found before they are needed.

use std::marker::PhantomData;

use super::format::Format;
use super::lanes::{LANES, Lanes};
use super::row::Row;
use crate::structure::{RING, Record, Records, Storage};

/// Cache lines that are asked for and have not been read, about. The least time between asking and reading has to
/// be that of reading from memory, some hundred nanoseconds: on a Zen 5 a dense row of 64 bytes took 2.6 ns with 64
/// lines, 1.85 with 128 and 1.2 with 320, which are less than half of an L1 cache. A Sapphire Rapids waited with 16
/// and took as long with 32, 48 and 64.
const LINES: usize = 320;

/// Ids between finding a record and reading it, for rows of so many lines.
pub const fn ids_ahead(lines: usize) -> usize {
    let ids = LINES / lines / LANES * LANES;
    if ids < LEAST { LEAST } else { ids }
}

/// Ids ahead of long rows.
const LEAST: usize = 64;

/// Ids between finding a record and asking for it: what was stored just now would be waited for.
const fn found_ahead<S: Storage>() -> usize {
    if S::INDIRECT { LANES } else { MOST_FOUND_AHEAD }
}

/// Where sixteen rows are found with one long chain of instructions.
const MOST_FOUND_AHEAD: usize = 3 * LANES;

/// Ids between asking for the index and asking for the record.
const INDEX_AHEAD: usize = 96;

/// Records that were found stay until they are read.
const _: () = assert!(LINES + MOST_FOUND_AHEAD + LANES <= RING);

/// Records found before they are needed: sixteen at a time where finding them is work.
pub struct Ahead<'k, R> {
    ids: &'k [u32],
    /// Unused where finding a record again is cheap.
    records: Records,
    /// The id whose record is at the first place, of those that are read now: places then grow with ids, where the
    /// remainder of each would be instructions that the reading of rows waits for.
    turn: usize,
    /// What rows are added to.
    row: PhantomData<R>,
}

impl<'k, L: Lanes, S: Storage, F: Format, const N: usize, const LINED: bool>
    Ahead<'k, Row<L, S, F, N, LINED>>
{
    #[inline(always)]
    pub fn new(ids: &'k [u32]) -> Self {
        Self {
            ids,
            records: Records::new(),
            turn: 0,
            row: PhantomData,
        }
    }

    /// Finds the first records, and asks for them but for the first `n_asked`.
    ///
    /// # Safety
    /// The ids are rows of the storage; the processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn begin(&mut self, row: &Row<L, S, F, N, LINED>, n_asked: usize) {
        if S::INDIRECT {
            let ids = self.ids.iter().take(row.ids_ahead() + INDEX_AHEAD);
            ids.for_each(|&id| row.storage.prefetch_index(id));
        }
        let n = self.ids.len().min(row.ids_ahead());
        // SAFETY: said above.
        unsafe {
            if S::COSTLY {
                for p in (0..found_ahead::<S>()).step_by(LANES) {
                    self.find_block(row, p);
                }
                for p in (0..n).step_by(LANES) {
                    self.find_block(row, p + found_ahead::<S>());
                    self.ask_for_block(row, p);
                }
                return;
            }
            for p in n_asked..n {
                row.prefetch(self.record(row, p));
            }
        }
    }

    /// The record of an id.
    ///
    /// # Safety
    /// As [`begin`](Self::begin), and there is an id `p`.
    #[inline(always)]
    unsafe fn record(&self, row: &Row<L, S, F, N, LINED>, p: usize) -> Record {
        // SAFETY: said above.
        unsafe { row.storage.locate::<L>(*self.ids.get_unchecked(p)) }
    }

    /// Finds the records of ids `p..p + 16`, as far as there are such.
    ///
    /// # Safety
    /// As [`begin`](Self::begin).
    #[inline(always)]
    unsafe fn find_block(&mut self, row: &Row<L, S, F, N, LINED>, p: usize) {
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
            if Row::<L, S, F, N, LINED>::ONE_LINE {
                row.storage
                    .locate_block::<L, true>(block, &mut self.records, p);
            } else {
                row.storage
                    .locate_block::<L, false>(block, &mut self.records, p);
            }
        }
    }

    /// Asks for the records of ids `p..p + 16`, which were found a while ago.
    ///
    /// # Safety
    /// They have been found if there is an id `p`.
    #[inline(always)]
    unsafe fn ask_for_block(&self, row: &Row<L, S, F, N, LINED>, p: usize) {
        if p >= self.ids.len() {
            return;
        }
        let first = p % RING;
        for place in first..first + LANES {
            // SAFETY: said above.
            row.prefetch(unsafe { self.kept(row, place) });
        }
    }

    /// The record of id `p`, one of those that are [ready](Self::advance), in order.
    ///
    /// # Safety
    /// As [`record`](Self::record).
    #[inline(always)]
    pub unsafe fn found(&self, row: &Row<L, S, F, N, LINED>, p: usize) -> Record {
        // SAFETY: said above.
        unsafe {
            if S::COSTLY {
                return self.kept(row, p - self.turn);
            }
            let ahead = row.ids_ahead();
            if p + ahead < self.ids.len() {
                row.prefetch(self.record(row, p + ahead));
            }
            self.record(row, p)
        }
    }

    /// The record that is kept at a place.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    unsafe fn kept(&self, row: &Row<L, S, F, N, LINED>, place: usize) -> Record {
        let base = row.storage.base();
        // SAFETY: said above.
        unsafe {
            if Row::<L, S, F, N, LINED>::ONE_LINE {
                self.records.get_line(place, base)
            } else {
                self.records.get::<LINED>(place, base)
            }
        }
    }

    /// Makes ids from `p` on ready to be [`found`](Self::found), in order: those in front of what is returned, at most
    /// `end`. Where finding is costly, sixteen that come later are asked for and sixteen found.
    ///
    /// # Safety
    /// As [`begin`](Self::begin).
    #[inline(always)]
    pub unsafe fn advance(&mut self, row: &Row<L, S, F, N, LINED>, p: usize, end: usize) -> usize {
        if !S::COSTLY {
            return end;
        }
        self.turn = p - p % RING;
        let stop = end.min((p / LANES + 1) * LANES);
        if !p.is_multiple_of(LANES) {
            return stop;
        }
        let ahead = p + row.ids_ahead();
        if S::INDIRECT {
            let ids = self.ids.get(ahead + INDEX_AHEAD..).unwrap_or_default();
            ids.iter()
                .take(LANES)
                .for_each(|&id| row.storage.prefetch_index(id));
        }
        // SAFETY: said above.
        unsafe {
            self.ask_for_block(row, ahead);
            self.find_block(row, ahead + found_ahead::<S>());
        }
        stop
    }
}
