//! Ids sorted by where their rows stand.
//!
//! Rows may stand in a head, behind it, or nowhere. A branch on that for each id would be mispredicted all the
//! time, so ids are sorted first, sixteen at a time, and every kernel gets ids of one kind.

use super::isa::Work;
use super::lanes::{LANES, Lanes};
use super::pass::PassBags;
use crate::structure::ABSENT;

/// Ids that are sorted together.
pub const SORTED: usize = 2048;

/// Ids of one kind.
#[derive(Clone, Debug)]
pub struct List {
    ids: Vec<u32>,
    /// Of each id what goes with it: its place, or the bits of its weight.
    notes: Vec<u32>,
    n: usize,
    /// Where the ids of each bag end.
    ends: Vec<u32>,
    /// For every sixteen of all ids: how many of the list came before, and which of them are in it.
    blocks: [(u32, u16); SORTED / LANES + 1],
}

/// Ids in the head, behind it, and absent ones.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// In the head.
    pub head: List,
    /// Behind it.
    pub tail: List,
    /// Not stored.
    pub absent: List,
}

/// Where the ids of each bag end.
#[derive(Clone, Copy, Debug)]
pub enum Ends<'k> {
    /// Nobody asks.
    Unknown,
    /// Every id is a bag.
    Each,
    /// In front of these places; that of the first id is `from`. Later ones are the last's.
    At { ends: &'k [u32], from: usize },
}

/// Sorts at most [`SORTED`] ids.
pub struct Sort<'k> {
    pub sorted: &'k mut Sorted,
    pub ids: &'k [u32],
    /// What goes with each id; as many.
    pub notes: &'k [u32],
    pub ends: Ends<'k>,
    /// Rows in the head.
    pub n_head: u32,
}

impl Work for Sort<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Sorted { head, tail, absent } = self.sorted;
        for list in [&mut *head, &mut *tail, &mut *absent] {
            list.clear();
        }
        let (blocks, rest) = self.ids.as_chunks();
        let (notes, rest_notes) = self.notes.as_chunks();
        let last = (&padded(rest), &padded(rest_notes));
        for (i, (ids, notes)) in blocks.iter().zip(notes).chain([last]).enumerate() {
            let n = (self.ids.len() - i * LANES).min(LANES);
            let all = ((1_u32 << n) - 1) as u16;
            // SAFETY: said by the caller.
            unsafe {
                let in_head = L::below(ids, self.n_head) & all;
                let stored = L::below(ids, ABSENT) & all;
                head.push::<L>([ids, notes], i, in_head);
                tail.push::<L>([ids, notes], i, stored & !in_head);
                if stored != all {
                    absent.push::<L>([ids, notes], i, all & !stored);
                }
            }
        }
        for list in [head, tail] {
            let n = self.ids.len();
            match self.ends {
                Ends::Unknown => {}
                Ends::Each => list.end(1..n + 1),
                Ends::At { ends, from } => {
                    list.end(ends.iter().map(|&end| (end as usize - from).min(n)));
                }
            }
        }
    }
}

/// The last, fewer than sixteen.
fn padded(rest: &[u32]) -> [u32; LANES] {
    let mut last = [0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    last
}

impl Default for List {
    fn default() -> Self {
        Self {
            ids: vec![0; SORTED + LANES],
            notes: vec![0; SORTED + LANES],
            n: 0,
            ends: Vec::with_capacity(SORTED),
            blocks: [(0, 0); SORTED / LANES + 1],
        }
    }
}

impl List {
    /// The ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids[..self.n]
    }

    /// Their places, if that is what they were sorted with.
    pub fn places(&self) -> &[u32] {
        &self.notes[..self.n]
    }

    /// Each a bag, with a place.
    pub fn singles(&self) -> PassBags<'_> {
        PassBags {
            places: Some(self.places()),
            ..PassBags::of(self.ids())
        }
    }

    /// In bags, with weights.
    pub fn weighted_bags(&self) -> PassBags<'_> {
        PassBags {
            weights: Some(bytemuck::cast_slice(&self.notes[..self.n])),
            ..self.bags()
        }
    }

    /// In bags, the first of which is that of the first sample.
    pub fn bags(&self) -> PassBags<'_> {
        PassBags {
            ends: Some(&self.ends),
            ..PassBags::of(self.ids())
        }
    }

    #[inline(always)]
    fn clear(&mut self) {
        self.n = 0;
        self.ends.clear();
    }

    /// Appends the ids of block `i` whose bits are set, and their notes.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn push<L: Lanes>(&mut self, block: [&[u32; LANES]; 2], i: usize, mask: u16) {
        let at = self.n..self.n + LANES;
        self.blocks[i] = (self.n as u32, mask);
        // SAFETY: said above; there is room for 16.
        unsafe {
            L::compress(block[0], mask, self.ids[at.clone()].as_mut_ptr());
            L::compress(block[1], mask, self.notes[at].as_mut_ptr());
        }
        self.n += mask.count_ones() as usize;
    }

    /// Finds where the ids of each bag end.
    #[inline(always)]
    fn end(&mut self, ends: impl Iterator<Item = usize>) {
        let blocks = &self.blocks;
        self.ends.extend(ends.map(|at| {
            let (before, mask) = blocks[at / LANES];
            before + (mask & ((1 << (at % LANES)) - 1)).count_ones()
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Isa;

    fn sort(isa: Isa, ids: &[u32], weights: &[f32], ends: &[u32]) -> Sorted {
        let mut sorted = Sorted::default();
        let sort = Sort {
            sorted: &mut sorted,
            ids,
            notes: bytemuck::cast_slice(weights),
            ends: Ends::At { ends, from: 7 },
            n_head: 3,
        };
        sort.run_on(isa);
        sorted
    }

    proptest! {
        #[test]
        fn every_id_is_in_its_list_and_bag(
            bags in prop::collection::vec(prop::collection::vec(0..6_u32, 0..40), 0..25),
        ) {
            let bags: Vec<Vec<u32>> = bags
                .into_iter()
                .map(|bag| bag.into_iter().map(|id| if id == 5 { ABSENT } else { id }).collect())
                .collect();
            let ids = bags.concat();
            let weights: Vec<f32> = (0..ids.len()).map(|i| i as f32).collect();
            let ends: Vec<u32> = bags
                .iter()
                .scan(7, |end, bag| { *end += bag.len() as u32; Some(*end) })
                .collect();
            for isa in Isa::available() {
                let sorted = sort(isa, &ids, &weights, &ends);
                let kinds: [fn(u32) -> bool; 3] =
                    [|id| id < 3, |id| (3..6).contains(&id), |id| id == ABSENT];
                for (list, is_of) in [&sorted.head, &sorted.tail, &sorted.absent].into_iter().zip(kinds) {
                    let of: Vec<usize> = (0..ids.len()).filter(|&i| is_of(ids[i])).collect();
                    let expected: Vec<u32> = of.iter().map(|&i| ids[i]).collect();
                    prop_assert_eq!(list.ids(), expected);
                    let expected: Vec<f32> = of.iter().map(|&i| i as f32).collect();
                    prop_assert_eq!(list.weighted_bags().weights.unwrap(), expected);
                }
                for (list, is_of) in [&sorted.head, &sorted.tail].into_iter().zip(kinds) {
                    let counts = bags.iter().scan(0, |n, bag| {
                        *n += bag.iter().filter(|id| is_of(**id)).count() as u32;
                        Some(*n)
                    });
                    prop_assert_eq!(&list.ends, &counts.collect::<Vec<_>>());
                }
            }
        }
    }
}
