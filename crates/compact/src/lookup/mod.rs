//! Lookups: from ids to pooled vectors.
//!
//! Which kernel runs depends on structure, value type, dim and processor. [`naive`] decodes row after row
//! and is what every kernel is held against.

mod ahead;
mod format;
mod isa;
mod kernel;
mod lanes;
pub mod naive;
mod row;
mod scatter;
mod sorted;

pub use isa::Isa;
pub(crate) use isa::Work;
pub(crate) use lanes::Lanes;

use std::cell::Cell;
use std::marker::PhantomData;

use crate::Values;
use crate::bags::{Bags, Output, Pooling};
use crate::structure::{Core, Storage, WithAbsent};
use format::Format;
use kernel::{Kernel, MAX_VECTORS, Several, Shape, Single};
use lanes::LANES;
use scatter::Scatter;
pub(crate) use sorted::Sorted;

/// A lookup whose sizes and ids have been checked.
pub(crate) struct Request<'r, 'o> {
    pub bags: &'r Bags<'r>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub dim: usize,
    pub values: Values,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
    /// Whether ids may be those of rows that are not stored.
    pub may_be_absent: bool,
    pub isa: Isa,
    /// Room for sorted ids.
    pub sorted: &'r mut Sorted,
}

/// Pools the rows of every bag.
pub(crate) fn pool(core: &Core<'_>, request: Request<'_, '_>) {
    match core {
        Core::Dense(dense) if request.may_be_absent => by_values(&WithAbsent(*dense), request),
        Core::Dense(dense) => by_values(dense, request),
        Core::Lines(lines) if request.may_be_absent => by_values(&WithAbsent(*lines), request),
        Core::Lines(lines) => by_values(lines, request),
        Core::Prefix(ragged) => by_values(ragged, request),
        Core::Bitmap(ragged) => by_values(ragged, request),
        Core::List(ragged) => by_values(ragged, request),
        Core::Positions(positions) => {
            let isa = request.isa;
            let scatter = Scatter {
                positions,
                bags: request.bags,
                pooling: request.pooling,
                out: request.out,
                dim: request.dim,
                unit: request.unit,
            };
            scatter.run_on(isa);
        }
    }
}

fn by_values<S: Storage>(storage: &S, request: Request<'_, '_>) {
    match request.values {
        Values::F32 => by_width::<S, format::F32>(storage, request),
        Values::F16 => by_width::<S, format::F16>(storage, request),
        Values::Int8 => by_width::<S, format::Int8>(storage, request),
        Values::Int4 => by_width::<S, format::Int4>(storage, request),
    }
}

fn by_width<S: Storage, F: Format>(storage: &S, mut request: Request<'_, '_>) {
    let n_vectors = request.dim.div_ceil(LANES);
    for first in (0..n_vectors).step_by(MAX_VECTORS) {
        let request = request.reborrow();
        match n_vectors {
            1 => by_shape::<S, F, 1>(storage, request, first),
            2 => by_shape::<S, F, 2>(storage, request, first),
            3..=4 => by_shape::<S, F, 4>(storage, request, first),
            _ => by_shape::<S, F, MAX_VECTORS>(storage, request, first),
        }
    }
}

fn by_shape<S: Storage, F: Format, const N: usize>(
    storage: &S,
    request: Request<'_, '_>,
    first_vector: usize,
) {
    if request.bags.offsets.is_none() && request.bags.weights.is_none() {
        run::<S, F, Single, N>(storage, request, first_vector);
    } else {
        run::<S, F, Several, N>(storage, request, first_vector);
    }
}

fn run<S: Storage, F: Format, B: Shape, const N: usize>(
    storage: &S,
    request: Request<'_, '_>,
    first_vector: usize,
) {
    let kernel = Kernel::<S, F, B, N> {
        storage: *storage,
        kind: PhantomData,
        bags: request.bags,
        pooling: request.pooling,
        out: request.out,
        dim: request.dim,
        unit: request.unit,
        first_vector,
        sorted: Cell::new(Some(request.sorted)),
    };
    kernel.run_on(request.isa);
}

impl Request<'_, '_> {
    fn reborrow(&mut self) -> Request<'_, '_> {
        Request {
            out: self.out.reborrow(),
            sorted: self.sorted,
            ..*self
        }
    }
}
