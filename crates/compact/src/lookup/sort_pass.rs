//! Lookups in tables whose rows stand in a head, behind it, or nowhere.

use super::groups::{Group, groups};
use super::pass::{Begin, Pass, Setup, Sums};
use super::sorted::{Ends, List, SORTED, Sort, Sorted};
use super::{NUMBERS, Request, Work};
use crate::structure::{Core, Head};

/// Sorts ids and looks up each kind of them, some bags at a time.
pub struct SortPass<'p, 'r, 'o> {
    pub core: &'p Core<'p>,
    pub head: Head<'p>,
    pub request: Request<'r, 'o>,
    /// Room for sorted ids.
    pub sorted: &'r mut Sorted,
}

impl SortPass<'_, '_, '_> {
    /// Pools all bags.
    pub fn run(mut self) {
        let bags = self.request.bags;
        if bags.offsets.is_none() && bags.weights.is_none() {
            return self.singles();
        }
        groups(bags, SORTED).for_each(|group| self.pool(&group));
    }

    /// Single ids: those of the head, then the others; absent rows are zeros.
    fn singles(mut self) {
        let setup = self.request.setup;
        let Setup { dim, isa, unit, .. } = setup;
        for (i, ids) in self.request.bags.ids.chunks(SORTED).enumerate() {
            let b = i * SORTED;
            let sort = Sort {
                sorted: self.sorted,
                ids,
                notes: &NUMBERS[..ids.len()],
                ends: Ends::Unknown,
                n_head: self.head.n_rows(),
            };
            sort.run_on(isa);
            let Sorted { head, tail, absent } = &*self.sorted;
            self.core.prefetch_index(tail.ids());
            let sums = Sums {
                begin: Begin::Zeros,
                unit,
                lengths: None,
            };
            let out = self.request.out.from(b);
            let in_head = Pass {
                bags: head.singles(),
                out,
                sums,
                setup,
            };
            // SAFETY: sorted from checked ids, they are rows of the head, and their places samples.
            unsafe { in_head.run_stored(self.head) };
            let out = self.request.out.from(b);
            let behind = Pass {
                bags: tail.singles(),
                out,
                sums,
                setup,
            };
            // SAFETY: likewise stored rows behind the head.
            unsafe { behind.run(self.core) };
            for &place in absent.places() {
                self.request.out.row(b + place as usize, dim).fill(0.0);
            }
        }
    }

    /// Pools a group: in each bag first the ids of the head, then the others.
    fn pool(&mut self, group: &Group) {
        let setup = self.request.setup;
        let Setup { isa, unit, .. } = setup;
        let bags = self.request.bags;
        let places = &NUMBERS[..group.ids.len()];
        let weights = bags.weights.map(|weights| &weights[group.ids.clone()]);
        let sort = Sort {
            sorted: self.sorted,
            ids: &bags.ids[group.ids.clone()],
            notes: weights.map_or(places, bytemuck::cast_slice),
            ends: match bags.offsets {
                None => Ends::Each,
                Some(offsets) => Ends::At {
                    ends: &offsets[group.bags.start + 1..=group.bags.end],
                    from: group.ids.start,
                },
            },
            n_head: self.head.n_rows(),
        };
        sort.run_on(isa);
        let bags_of = match weights {
            None => List::bags,
            Some(_) => List::weighted_bags,
        };
        let Sorted { head, tail, .. } = &*self.sorted;
        self.core.prefetch_index(tail.ids());
        let mut sums = group.sums(bags, self.request.pooling, unit);
        if self.head.n_rows() > 0 {
            let out = self.request.out.from(group.bags.start);
            let in_head = Pass {
                bags: bags_of(head),
                out,
                sums: group.parts(),
                setup,
            };
            // SAFETY: sorted from checked ids, they are rows of the head.
            unsafe { in_head.run_stored(self.head) };
            sums.begin = Begin::Output;
        }
        let out = self.request.out.from(group.bags.start);
        let behind = Pass {
            bags: bags_of(tail),
            out,
            sums,
            setup,
        };
        // SAFETY: likewise stored rows behind the head.
        unsafe { behind.run(self.core) };
    }
}
