//! The steps of gathering, sixteen ids at a time.

use super::super::isa::Work;
use super::super::lanes::{LANES, Lanes};
use super::memory::ZEROS;
use crate::structure::{ABSENT, Head};

/// Takes the ids that are not in the head.
pub struct Split<'k> {
    pub ids: &'k [u32],
    pub n_head: u32,
    /// Room for all of them and 16 more.
    pub behind: &'k mut [u32],
    pub n: &'k mut usize,
}

impl Work for Split<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (blocks, rest) = self.ids.as_chunks();
        let mut n = 0;
        for ids in blocks {
            let to = &mut self.behind[n..][..LANES];
            // SAFETY: the processor has the instructions, says the caller; there is room for 16.
            unsafe {
                let behind = !L::below(ids, self.n_head);
                L::compress(ids, behind, to.as_mut_ptr());
                n += behind.count_ones() as usize;
            }
        }
        for &id in rest {
            self.behind[n] = id;
            n += usize::from(id >= self.n_head);
        }
        *self.n = n;
    }
}

/// Gives every id the address of its row.
pub struct Merge<'k> {
    pub ids: &'k [u32],
    pub head: Head<'k>,
    /// Addresses of the rows behind the head, and 16 more.
    pub behind: &'k [usize],
    /// Room for all and 16 more.
    pub all: &'k mut [usize],
}

impl Work for Merge<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (blocks, rest) = self.ids.as_chunks();
        let mut last = [0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let (start, row_bytes) = self.head.place();
        let mut n = 0;
        for (ids, all) in blocks.iter().chain([&last]).zip(self.all.as_chunks_mut().0) {
            let behind = self.behind[n..].first_chunk().expect("16 more");
            // SAFETY: the processor has the instructions, says the caller.
            unsafe {
                let in_head = L::below(ids, self.head.n_rows());
                L::merge(ids, in_head, (start, row_bytes), behind, all);
                n += in_head.count_zeros() as usize;
            }
        }
    }
}

/// Takes the numbers of stored rows, and gives every row its address.
pub struct Stored<'k> {
    pub ranks: &'k [u32],
    /// Where the stored rows will be, and 16 more.
    pub sequence: &'k [usize],
    /// Room for all of them and 16 more.
    pub stored: &'k mut [u32],
    /// Likewise.
    pub addresses: &'k mut [usize],
    pub n: &'k mut usize,
}

impl Work for Stored<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (blocks, rest) = self.ranks.as_chunks();
        let mut last = [ABSENT; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let zeros = (ZEROS.as_ptr().expose_provenance(), 0);
        let mut n = 0;
        let addresses = self.addresses.as_chunks_mut().0;
        for (ranks, addresses) in blocks.iter().chain([&last]).zip(addresses) {
            let sequence = self.sequence[n..].first_chunk().expect("16 more");
            let to = &mut self.stored[n..][..LANES];
            // SAFETY: the processor has the instructions, says the caller; there is room for 16.
            unsafe {
                let stored = L::below(ranks, ABSENT);
                L::compress(ranks, stored, to.as_mut_ptr());
                L::merge(ranks, !stored, zeros, sequence, addresses);
                n += stored.count_ones() as usize;
            }
        }
        *self.n = n;
    }
}
