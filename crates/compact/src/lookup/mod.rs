//! Lookups: from ids to pooled vectors.
//!
//! Ids of rows that stand in different places are [sorted] first, or their rows [gathered](gather); then a
//! [kernel] runs, chosen by structure, value type, dim and processor. [`naive`] decodes row after row and is what
//! all of it is held against.

mod ahead;
mod format;
mod gather;
mod groups;
mod isa;
mod kernel;
mod ladder;
mod lanes;
pub mod naive;
mod pass;
mod row;
mod scatter;
mod sort_pass;
mod sorted;

pub use isa::Isa;
pub(crate) use isa::Work;
pub(crate) use ladder::{Ladder, MOST_IN_LINE};
pub(crate) use lanes::{LANES, Lanes, Portable};

use crate::bags::{Bags, Output, Pooling};
use crate::structure::{Core, Presence};
use gather::{GATHERED, GatherPass, Gathered, is_gathered};
pub(crate) use pass::Setup;
use pass::{Begin, Pass, PassBags, Sums};
use scatter::Scatter;
use sort_pass::SortPass;
use sorted::Sorted;

/// A lookup whose sizes and ids have been checked.
pub(crate) struct Request<'r, 'o> {
    pub bags: &'r Bags<'r>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub setup: Setup,
    /// Which rows are stored; `None`: all.
    pub presence: Option<Presence<'r>>,
}

/// Memory for finding rows, used again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Numbers of rows among the stored ones.
    ranks: Vec<u32>,
    sorted: Sorted,
    gathered: Gathered,
}

/// Numbers from 0 on.
static NUMBERS: [u32; 2 * GATHERED] = {
    let mut numbers = [0; 2 * GATHERED];
    let mut i = 0;
    while i < numbers.len() {
        numbers[i] = i as u32;
        i += 1;
    }
    numbers
};

/// Pools the rows of every bag.
pub(crate) fn pool(core: &Core<'_>, request: Request<'_, '_>, memory: &mut Memory) {
    let Memory {
        ranks,
        sorted,
        gathered,
    } = memory;
    if is_gathered(core, &request.setup) {
        return GatherPass {
            core,
            head: core.head(),
            request,
            ranks,
            gathered,
        }
        .run();
    }
    let Some(presence) = request.presence else {
        return pool_ranked(core, request, sorted);
    };
    presence.ranks(request.bags.ids, ranks, request.setup.isa);
    let bags = Bags {
        ids: ranks,
        ..*request.bags
    };
    let bags = &bags;
    pool_ranked(core, Request { bags, ..request }, sorted);
}

/// The same of numbers of stored rows.
fn pool_ranked(core: &Core<'_>, request: Request<'_, '_>, sorted: &mut Sorted) {
    if let Core::Positions(positions) = core {
        let scatter = Scatter {
            positions,
            bags: request.bags,
            pooling: request.pooling,
            out: request.out,
            dim: request.setup.dim,
            unit: request.setup.unit,
        };
        return scatter.run_on(request.setup.isa);
    }
    let head = core.head();
    if head.n_rows() > 0 || request.presence.is_some() {
        return SortPass {
            core,
            head,
            request,
            sorted,
        }
        .run();
    }
    let bags = request.bags;
    let pass = Pass {
        bags: PassBags {
            ends: bags.offsets.map(|offsets| &offsets[1..]),
            weights: bags.weights,
            ..PassBags::of(bags.ids)
        },
        out: request.out,
        sums: Sums {
            begin: Begin::Zeros,
            unit: request.setup.unit,
            lengths: bags.lengths(request.pooling),
        },
        setup: request.setup,
    };
    // SAFETY: all of it has been checked, and every row is stored behind a head of none.
    unsafe { pass.run(core) }
}
