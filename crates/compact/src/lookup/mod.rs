//! Lookups: from ids to pooled vectors.
//!
//! Ids of rows that stand in different places are [sorted] first; then a [kernel] runs, chosen by structure,
//! value type, dim and processor. [`naive`] decodes row after row and is what all of it is held against.

mod ahead;
mod format;
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
pub(crate) use ladder::Ladder;
pub(crate) use lanes::{LANES, Lanes, Portable};

use crate::bags::{Bags, Output, Pooling};
use crate::structure::Core;
pub(crate) use pass::Setup;
use pass::{Begin, Pass, PassBags, Sums};
use scatter::Scatter;
use sort_pass::SortPass;
pub(crate) use sorted::Sorted;

/// A lookup whose sizes and ids have been checked.
pub(crate) struct Request<'r, 'o> {
    pub bags: &'r Bags<'r>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub setup: Setup,
    /// Whether ids may be those of rows that are not stored.
    pub may_be_absent: bool,
    /// Room for sorted ids.
    pub sorted: &'r mut Sorted,
}

/// Pools the rows of every bag.
pub(crate) fn pool(core: &Core<'_>, request: Request<'_, '_>) {
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
    if head.n_rows() > 0 || request.may_be_absent {
        return SortPass {
            core,
            head,
            request,
        }
        .run();
    }
    let bags = request.bags;
    let pass = Pass {
        bags: PassBags {
            ids: bags.ids,
            ends: bags.offsets.map(|offsets| &offsets[1..]),
            weights: bags.weights,
            places: None,
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
