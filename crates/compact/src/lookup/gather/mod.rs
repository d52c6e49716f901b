//! Lookups of floats in tables with a head: rows behind it are decoded first, then all are added as dense ones.
//!
//! Bags whose ids are sorted by where their rows stand have two lists of unforeseeable lengths, and the end of
//! each is mispredicted. Here every bag stays whole: the ids behind the head are looked up one by one into a
//! buffer that stays in the cache, each id gets the address of its row, in the head or in that buffer, and one
//! kernel adds what the addresses say, in the order of the ids. Groups of bags take turns in two buffers, so
//! that rows of the next group are asked for while those of one are added.

mod memory;
mod works;

pub use memory::Gathered;
use works::{Merge, Split, Stored};

use super::ahead::ids_ahead;
use super::format::F32;
use super::groups::{Group, groups};
use super::isa::Work;
use super::lanes::LANES;
use super::pass::{Begin, Pass, PassBags, Setup, Sums};
use super::{NUMBERS, Request};
use crate::Values;
use crate::bags::Output;
use crate::structure::{Addresses, Core, Head};

/// Ids that are gathered together: each time the first rows behind the head are waited for. At 95 % pruned, d = 16
/// and 20 ids a bag a Zen 5 took 2.2 ns with 2,048, 2.1 with 4,096 and with 8,192, and decoded rows should stay in L2.
pub const GATHERED: usize = 4096;
/// A group, and what is asked for of the next, have numbers.
const _: () = assert!(GATHERED + ids_ahead(1) <= NUMBERS.len());
/// The longest rows that gain: at most 4 lines.
pub const LONGEST: usize = 64;

/// Gathers rows and adds them, some bags at a time.
pub struct GatherPass<'p, 'r, 'o> {
    pub core: &'p Core<'p>,
    pub head: Head<'p>,
    pub request: Request<'r, 'o>,
    pub ranks: &'r mut Vec<u32>,
    pub gathered: &'r mut Gathered,
}

/// Whether rows are pooled in this way.
pub fn is_gathered(core: &Core<'_>, setup: &Setup) -> bool {
    let has_records = !matches!(core, Core::Positions(_));
    has_records && core.head().n_rows() > 0 && setup.values == Values::F32 && setup.dim <= LONGEST
}

impl GatherPass<'_, '_, '_> {
    /// Pools all bags.
    pub fn run(mut self) {
        let bags = self.request.bags;
        self.gathered.make_room(self.request.setup.dim);
        let mut groups = groups(bags, GATHERED);
        let most_ahead = ids_ahead(self.request.setup.dim.div_ceil(LANES));
        let (mut turn, mut n_asked) = (0, 0);
        let mut current = groups.next();
        if let Some(group) = &current {
            self.gather(group, turn, 0);
        }
        while let Some(group) = current {
            let next = groups.next();
            turn = 1 - turn;
            let n = group.ids.len();
            let n_next = next.as_ref().map_or(0, |next| {
                self.gather(next, turn, n);
                next.ids.len()
            });
            let n_ahead = n_next.min(most_ahead);
            self.pool(&group, n_asked, n_ahead);
            n_asked = n_ahead;
            self.gathered.all.copy_within(n..n + n_next, 0);
            current = next;
        }
    }

    /// Gives each id of a group the address of its row, the first of them at `place`, after decoding the rows
    /// behind the head.
    fn gather(&mut self, group: &Group, turn: usize, place: usize) {
        let ids = &self.request.bags.ids[group.ids.clone()];
        let setup = self.request.setup;
        let memory = &mut *self.gathered;
        let (out, sequence) = memory.buffers[turn].rows(setup.dim);
        let mut n = 0;
        let split = Split {
            ids,
            n_head: self.head.n_rows(),
            behind: &mut memory.behind,
            n: &mut n,
        };
        split.run_on(setup.isa);
        let mut rows = &memory.behind[..n];
        let mut addresses = sequence;
        if let Some(presence) = self.request.presence {
            presence.ranks(rows, self.ranks, setup.isa);
            let stored = Stored {
                ranks: self.ranks,
                sequence,
                stored: &mut memory.stored,
                addresses: &mut memory.addresses,
                n: &mut n,
            };
            stored.run_on(setup.isa);
            rows = &memory.stored[..n];
            addresses = &memory.addresses;
        }
        decode(self.core, rows, out, setup);
        let merge = Merge {
            ids,
            head: self.head,
            behind: addresses,
            all: &mut memory.all[place..],
        };
        merge.run_on(setup.isa);
    }

    /// Adds the rows of a group, the first `n_asked` of which have been asked for, and asks for the `n_next` whose
    /// addresses are behind theirs.
    fn pool(&mut self, group: &Group, n_asked: usize, n_next: usize) {
        let Setup { dim, unit, .. } = self.request.setup;
        let bags = self.request.bags;
        let Gathered { all, ends, .. } = &mut *self.gathered;
        let n = group.ids.len();
        let pass = Pass {
            bags: PassBags {
                n_next,
                n_asked,
                ends: bags.offsets.map(|offsets| group.ends(offsets, ends)),
                weights: bags.weights.map(|weights| &weights[group.ids.clone()]),
                ..PassBags::of(&NUMBERS[..n + n_next])
            },
            out: self.request.out.from(group.bags.start),
            sums: group.sums(bags, self.request.pooling, unit),
            setup: self.request.setup,
        };
        let addresses = Addresses {
            at: all,
            dim: dim as u32,
        };
        // SAFETY: there is an address for every number, where `dim` floats are.
        unsafe { pass.by_width::<_, F32>(addresses) };
    }
}

/// Decodes stored rows that are not in the head, one after the other.
fn decode(core: &Core<'_>, rows: &[u32], out: Output<'_>, setup: Setup) {
    let pass = Pass {
        bags: PassBags::of(rows),
        out,
        sums: Sums {
            begin: Begin::Zeros,
            unit: 1.0,
            lengths: None,
        },
        setup,
    };
    // SAFETY: the caller's rows have been checked; there is room for as many as are gathered together.
    unsafe { pass.run(core) };
}
