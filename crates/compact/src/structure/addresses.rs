//! Rows of floats anywhere in memory.

use super::{Marks, Record, Storage, StoredRow, straddles};
use crate::lookup::Lanes;

/// Rows of `dim` floats, each at an exposed address.
#[derive(Clone, Copy, Debug)]
pub struct Addresses<'a> {
    pub at: &'a [usize],
    pub dim: u32,
}

// SAFETY: who makes one has floats at every address.
unsafe impl Storage for Addresses<'_> {
    const MARKS: Marks = Marks::None;
    const INDIRECT: bool = false;

    #[inline(always)]
    fn base(&self) -> *const u8 {
        std::ptr::null()
    }

    #[inline(always)]
    fn straddles(&self) -> bool {
        straddles(self.dim as usize * size_of::<f32>())
    }

    #[inline(always)]
    fn prefetch_index(&self, _: u32) {}

    #[inline(always)]
    unsafe fn locate<L: Lanes>(&self, row: u32) -> Record {
        // SAFETY: said by the caller.
        let at = unsafe { *self.at.get_unchecked(row as usize) };
        Record::full(std::ptr::with_exposed_provenance(at), self.dim)
    }

    fn row(&self, row: u32) -> StoredRow<'_> {
        let at = std::ptr::with_exposed_provenance(self.at[row as usize]);
        let n_bytes = self.dim as usize * size_of::<f32>();
        StoredRow {
            marks: (Marks::None, &[]),
            kept: self.dim as usize,
            // SAFETY: said above.
            values: unsafe { std::slice::from_raw_parts(at, n_bytes) },
        }
    }
}
