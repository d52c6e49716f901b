//! Ids sorted by where their rows stand.

use super::lanes::{LANES, Lanes};
use crate::structure::ABSENT;

/// Ids that are sorted together.
pub const SORTED: usize = 1024;

/// Ids of one kind, and which of all ids they are.
#[derive(Clone, Debug)]
pub struct List {
    ids: Vec<u32>,
    places: Vec<u32>,
    n: usize,
}

/// Ids in the head, behind it, and absent ones.
///
/// It lives with the caller: arrays of this size in hundreds of kernels take the compiler minutes.
#[derive(Clone, Debug)]
pub struct Sorted {
    /// Where the ids of each bag of a group end in head and tail.
    pub ends: Vec<[usize; 2]>,
    /// In the head.
    pub head: List,
    /// Behind it.
    pub tail: List,
    /// Not stored.
    pub absent: List,
}

impl Default for Sorted {
    fn default() -> Self {
        Self {
            ends: vec![[0; 2]; SORTED],
            head: List::new(),
            tail: List::new(),
            absent: List::new(),
        }
    }
}

impl Sorted {
    /// Forgets all ids.
    pub fn clear(&mut self) {
        (self.head.n, self.tail.n, self.absent.n) = (0, 0, 0);
    }

    /// Adds ids, the first of which has place `first`: [`SORTED`] in all since the last
    /// [`clear`](Self::clear); others are left out.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn add<L: Lanes>(&mut self, ids: &[u32], first: usize, n_head: u32) {
        let mut place = first as u32;
        for ids in ids.chunks(LANES) {
            let all = ((1_u32 << ids.len()) - 1) as u16;
            let places: [u32; LANES] = std::array::from_fn(|lane| place + lane as u32);
            let mut padded = [0; LANES];
            padded[..ids.len()].copy_from_slice(ids);
            // SAFETY: said above.
            unsafe {
                let in_head = L::below(&padded, n_head) & all;
                let stored = L::below(&padded, ABSENT) & all;
                self.head.push::<L>(&padded, &places, in_head);
                self.tail.push::<L>(&padded, &places, stored & !in_head);
                self.absent.push::<L>(&padded, &places, all & !stored);
            }
            place += LANES as u32;
        }
    }
}

impl List {
    fn new() -> Self {
        Self {
            ids: vec![0; SORTED + LANES],
            places: vec![0; SORTED + LANES],
            n: 0,
        }
    }

    /// Number of ids.
    #[inline(always)]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The ids.
    #[inline(always)]
    pub fn ids(&self) -> &[u32] {
        &self.ids[..self.n]
    }

    /// Their places.
    #[inline(always)]
    pub fn places(&self) -> &[u32] {
        &self.places[..self.n]
    }

    /// Appends the ids and places whose bits are set.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn push<L: Lanes>(&mut self, ids: &[u32; LANES], places: &[u32; LANES], mask: u16) {
        let at = self.n.min(SORTED)..self.n.min(SORTED) + LANES;
        // SAFETY: said above; there is room for a vector behind all ids.
        unsafe {
            let (ids_at, places_at) = (&mut self.ids[at.clone()], &mut self.places[at]);
            L::compress(ids, mask, ids_at.as_mut_ptr());
            L::compress(places, mask, places_at.as_mut_ptr());
        }
        self.n = (self.n + mask.count_ones() as usize).min(SORTED);
    }
}
