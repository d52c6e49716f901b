//! Lookups in tables whose rows stand in a head, behind it, or nowhere.

use std::ops::Range;

use super::pass::{Begin, Pass, Setup, Sums};
use super::sorted::{Ends, List, SORTED, Sort, Sorted};
use super::{Request, Work};
use crate::bags::Bags;
use crate::structure::{Core, Head};

/// Places of singles that are sorted together.
static PLACES: [u32; SORTED] = {
    let mut places = [0; SORTED];
    let mut i = 0;
    while i < SORTED {
        places[i] = i as u32;
        i += 1;
    }
    places
};

/// Sorts ids and looks up each kind of them, some bags at a time.
pub struct SortPass<'p, 'r, 'o> {
    pub core: &'p Core<'p>,
    pub head: Head<'p>,
    pub request: Request<'r, 'o>,
}

/// Bags whose ids are sorted together: whole ones, or a piece of one that is too long.
struct Group {
    bags: Range<usize>,
    ids: Range<usize>,
    begin: Begin,
    finish: Finish,
}

/// What becomes of the sums of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// They are what was asked for.
    Scale,
    /// More rows will be added.
    Keep,
}

impl SortPass<'_, '_, '_> {
    /// Pools all bags.
    pub fn run(mut self) {
        let bags = self.request.bags;
        if bags.offsets.is_none() && bags.weights.is_none() {
            return self.singles();
        }
        let (mut b, mut done) = (0, 0);
        while b < bags.n() {
            let group = group(bags, b, done);
            self.pool(&group);
            (b, done) = match group.finish {
                Finish::Keep => (b, done + group.ids.len()),
                Finish::Scale => (group.bags.end, 0),
            };
        }
    }

    /// Single ids: those of the head, then the others; absent rows are zeros.
    fn singles(mut self) {
        let setup = self.request.setup;
        let Setup { dim, isa, unit, .. } = setup;
        for (i, ids) in self.request.bags.ids.chunks(SORTED).enumerate() {
            let b = i * SORTED;
            let sort = Sort {
                sorted: self.request.sorted,
                ids,
                notes: &PLACES[..ids.len()],
                ends: Ends::Unknown,
                n_head: self.head.n_rows(),
            };
            sort.run_on(isa);
            let Sorted { head, tail, absent } = &*self.request.sorted;
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
        let places = &PLACES[..group.ids.len()];
        let weights = bags.weights.map(|weights| &weights[group.ids.clone()]);
        let sort = Sort {
            sorted: self.request.sorted,
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
        let Sorted { head, tail, .. } = &*self.request.sorted;
        self.core.prefetch_index(tail.ids());
        let lengths = bags.lengths(self.request.pooling);
        let lengths = lengths.map(|lengths| &lengths[group.bags.start..=group.bags.end]);
        let mut begin = group.begin;
        if self.head.n_rows() > 0 {
            let sums = Sums {
                begin,
                unit: 1.0,
                lengths: None,
            };
            let out = self.request.out.from(group.bags.start);
            let in_head = Pass {
                bags: bags_of(head),
                out,
                sums,
                setup,
            };
            // SAFETY: sorted from checked ids, they are rows of the head.
            unsafe { in_head.run_stored(self.head) };
            begin = Begin::Output;
        }
        let sums = match group.finish {
            Finish::Keep => Sums {
                begin,
                unit: 1.0,
                lengths: None,
            },
            Finish::Scale => Sums {
                begin,
                unit,
                lengths,
            },
        };
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

/// The bags from `b` on that are sorted next; of bag `b` `done` ids have been pooled.
fn group(bags: &Bags<'_>, b: usize, done: usize) -> Group {
    let first = bags.range(b).start + done;
    let (begin, last) = match done {
        0 => (Begin::Zeros, bags.n().min(b + SORTED)),
        _ => (Begin::Output, b + 1),
    };
    let fits = |bag: &usize| bags.range(*bag).end - first <= SORTED;
    match (b..last).take_while(fits).last() {
        Some(last) => Group {
            bags: b..last + 1,
            ids: first..bags.range(last).end,
            begin,
            finish: Finish::Scale,
        },
        None => Group {
            bags: b..b + 1,
            ids: first..first + SORTED,
            begin,
            finish: Finish::Keep,
        },
    }
}
