//! A stored table, ready for lookups.

use crate::bags::{Bags, Output, Pooling};
use crate::lookup::{Isa, Lanes, Memory, Request, Setup, Work, naive};
use crate::sharing::{Combine, Sharing, cut_row, hashed_row};
use crate::structure::{Core, Presence};
use crate::{LookupError, Values, lookup};

/// A field's table, borrowed from the artefact; everything a lookup relies on has been checked.
///
/// A lookup takes one thread and allocates nothing once its [`Scratch`] has grown to the largest batch.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    pub(crate) n_rows: u64,
    pub(crate) dim: usize,
    pub(crate) pooling: Pooling,
    pub(crate) sharing: Sharing,
    /// One, or quotient and remainder.
    pub(crate) parts: Vec<Part<'a>>,
    /// `[width of the part, dim]`.
    pub(crate) projection: Option<&'a [f32]>,
    pub(crate) isa: Isa,
}

/// Rows that are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub n_rows: u32,
    pub dim: usize,
    pub presence: Option<Presence<'a>>,
    pub core: Core<'a>,
    pub values: Values,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
}

/// Memory that lookups use again and again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    ids: Vec<u32>,
    memory: Memory,
    rows: [Vec<f32>; 2],
    narrow: Vec<f32>,
}

impl<'a> Table<'a> {
    /// Ids of the field: they are below this.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Values of a pooled vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How bags are pooled.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The same table, read with the instructions of `isa` or, if the processor lacks them, of a lesser
    /// one.
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The rows stored as part `i`, without sharing, pooling and projection; `None` if there are not so many.
    pub(crate) fn part(&self, i: usize) -> Option<Self> {
        let part = *self.parts.get(i)?;
        Some(Table {
            n_rows: part.n_rows.into(),
            dim: part.dim,
            pooling: Pooling::Sum,
            sharing: Sharing::None,
            parts: vec![part],
            projection: None,
            isa: self.isa,
        })
    }

    /// Pools the rows of every bag into `out`.
    ///
    /// # Errors
    /// When an id is no row of the table (names its position), offsets or weights do not fit, or the
    /// output is too short. Nothing has been written then.
    pub fn lookup(
        &self,
        bags: &Bags<'_>,
        mut out: Output<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), LookupError> {
        self.check(bags, &out)?;
        let Some(matrix) = self.projection else {
            self.pool(bags, out, scratch);
            return Ok(());
        };
        let width = self.width();
        let mut narrow = std::mem::take(&mut scratch.narrow);
        grow(&mut narrow, bags.n() * width);
        self.pool(bags, Output::rows(&mut narrow, width), scratch);
        let project = Project {
            narrow: &narrow[..bags.n() * width],
            width,
            matrix,
            out: out.reborrow(),
            dim: self.dim,
        };
        project.run_on(self.isa);
        scratch.narrow = narrow;
        Ok(())
    }

    /// Asks for the memory that looking up an id reads first, so that lookups in several tables do not wait one
    /// after the other. Large batches need not ask: their lookups do.
    pub fn prefetch(&self, id: u32) {
        if u64::from(id) >= self.n_rows {
            return;
        }
        let first = &self.parts[0];
        match self.sharing {
            Sharing::None => first.prefetch(id),
            Sharing::Hash { seed } => first.prefetch(hashed_row(id, seed, first.n_rows)),
            Sharing::Cutoff => first.prefetch(cut_row(id, first.n_rows)),
            Sharing::QuotientRemainder { divisor, .. } => {
                first.prefetch(id / divisor);
                self.parts[1].prefetch(id % divisor);
            }
        }
    }

    /// Writes the row of an id, decoded value by value: for a look at single rows.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn row(&self, id: u32, out: &mut [f32], scratch: &mut Scratch) -> Result<(), LookupError> {
        crate::bags::check_len("row", self.dim, out.len())?;
        Bags::single(&[id]).check(self.n_rows)?;
        let Some(matrix) = self.projection else {
            self.decode(id, out, &mut scratch.narrow);
            return Ok(());
        };
        let [row, more] = &mut scratch.rows;
        grow(row, self.width());
        let row = &mut row[..self.width()];
        self.decode(id, row, more);
        out.fill(0.0);
        for (x, weights) in row.iter().zip(matrix.chunks_exact(self.dim)) {
            out.iter_mut().zip(weights).for_each(|(y, w)| *y += x * w);
        }
        Ok(())
    }

    pub(crate) fn check(&self, bags: &Bags<'_>, out: &Output<'_>) -> Result<(), LookupError> {
        bags.check(self.n_rows)?;
        out.check(bags.n(), self.dim)
    }

    /// Values of a row before the projection.
    fn width(&self) -> usize {
        match (self.projection, self.sharing) {
            (None, _) => self.dim,
            (
                _,
                Sharing::QuotientRemainder {
                    combine: Combine::Concat,
                    ..
                },
            ) => self.parts.iter().map(|part| part.dim).sum(),
            _ => self.parts[0].dim,
        }
    }

    fn pool(&self, bags: &Bags<'_>, out: Output<'_>, scratch: &mut Scratch) {
        match self.sharing {
            Sharing::None => self.pool_part(0, bags, out, &mut scratch.memory),
            Sharing::Hash { seed } => {
                let n_rows = self.parts[0].n_rows;
                let map = |id| hashed_row(id, seed, n_rows);
                let ids = mapped(bags, &mut scratch.ids, map);
                self.pool_part(0, &ids, out, &mut scratch.memory);
            }
            Sharing::Cutoff => {
                let n_rows = self.parts[0].n_rows;
                let ids = mapped(bags, &mut scratch.ids, |id| cut_row(id, n_rows));
                self.pool_part(0, &ids, out, &mut scratch.memory);
            }
            Sharing::QuotientRemainder { divisor, combine } => match combine {
                Combine::Concat => self.pool_side_by_side(bags, out, divisor, scratch),
                Combine::Sum => self.pool_sum(bags, out, divisor, scratch),
                Combine::Product => self.pool_product(bags, out, divisor, scratch),
            },
        }
    }

    fn pool_part(&self, i: usize, bags: &Bags<'_>, out: Output<'_>, memory: &mut Memory) {
        let part = &self.parts[i];
        let request = Request {
            bags,
            pooling: self.pooling,
            out,
            setup: Setup {
                dim: part.dim,
                values: part.values,
                unit: part.unit,
                isa: self.isa,
            },
            presence: part.presence,
        };
        lookup::pool(&part.core, request, memory);
    }

    fn pool_side_by_side(
        &self,
        bags: &Bags<'_>,
        mut out: Output<'_>,
        divisor: u32,
        scratch: &mut Scratch,
    ) {
        let quotients = mapped(bags, &mut scratch.ids, |id| id / divisor);
        self.pool_part(0, &quotients, out.reborrow(), &mut scratch.memory);
        let remainders = mapped(bags, &mut scratch.ids, |id| id % divisor);
        let start = out.start + self.parts[0].dim;
        self.pool_part(1, &remainders, Output { start, ..out }, &mut scratch.memory);
    }

    fn pool_sum(&self, bags: &Bags<'_>, mut out: Output<'_>, divisor: u32, scratch: &mut Scratch) {
        let width = self.parts[0].dim;
        let quotients = mapped(bags, &mut scratch.ids, |id| id / divisor);
        self.pool_part(0, &quotients, out.reborrow(), &mut scratch.memory);
        let remainders = mapped(bags, &mut scratch.ids, |id| id % divisor);
        let other = &mut scratch.rows[0];
        grow(other, bags.n() * width);
        let rows = Output::rows(other, width);
        self.pool_part(1, &remainders, rows, &mut scratch.memory);
        for (b, row) in other.chunks_exact(width).enumerate().take(bags.n()) {
            let sums = out.row(b, width).iter_mut();
            sums.zip(row).for_each(|(sum, x)| *sum += x);
        }
    }

    /// Products are not linear: both rows of every id first, then their products are pooled.
    fn pool_product(
        &self,
        bags: &Bags<'_>,
        mut out: Output<'_>,
        divisor: u32,
        scratch: &mut Scratch,
    ) {
        let width = self.parts[0].dim;
        let single = Bags::single(bags.ids);
        let n_ids = bags.ids.len();
        for (i, rows) in scratch.rows.iter_mut().enumerate() {
            let map = |id| if i == 0 { id / divisor } else { id % divisor };
            let ids = mapped(&single, &mut scratch.ids, map);
            grow(rows, n_ids * width);
            self.pool_part(i, &ids, Output::rows(rows, width), &mut scratch.memory);
        }
        let [left, right] = &scratch.rows;
        for b in 0..bags.n() {
            let range = bags.range(b);
            let scale = match self.pooling {
                Pooling::Sum => 1.0,
                Pooling::Mean => 1.0 / range.len().max(1) as f32,
            };
            let sums = out.row(b, width);
            sums.fill(0.0);
            for p in range {
                let weight = scale * bags.weights.map_or(1.0, |weights| weights[p]);
                let pairs = left[p * width..].iter().zip(&right[p * width..]);
                let sums = sums.iter_mut().zip(pairs);
                sums.for_each(|(sum, (x, y))| *sum += weight * x * y);
            }
        }
    }

    /// Writes the row of an id before the projection.
    fn decode(&self, id: u32, out: &mut [f32], more: &mut Vec<f32>) {
        match self.sharing {
            Sharing::None => self.parts[0].decode(id, out),
            Sharing::Hash { seed } => {
                let part = &self.parts[0];
                part.decode(hashed_row(id, seed, part.n_rows), out);
            }
            Sharing::Cutoff => {
                let part = &self.parts[0];
                part.decode(cut_row(id, part.n_rows), out);
            }
            Sharing::QuotientRemainder { divisor, combine } => {
                let (quotient, remainder) = (id / divisor, id % divisor);
                let [first, second] = [0, 1].map(|i| &self.parts[i]);
                grow(more, second.dim);
                let other = &mut more[..second.dim];
                second.decode(remainder, other);
                first.decode(quotient, &mut out[..first.dim]);
                match combine {
                    Combine::Concat => out[first.dim..].copy_from_slice(other),
                    Combine::Sum => out.iter_mut().zip(other).for_each(|(x, y)| *x += *y),
                    Combine::Product => out.iter_mut().zip(other).for_each(|(x, y)| *x *= *y),
                }
            }
        }
    }
}

impl Part<'_> {
    /// Asks for what finding the row, or reading it, reads first.
    fn prefetch(&self, row: u32) {
        match self.presence {
            Some(presence) => presence.prefetch(row),
            None => self.core.prefetch(row, self.values),
        }
    }

    fn decode(&self, row: u32, out: &mut [f32]) {
        let row = self.presence.map_or(row, |presence| presence.rank(row));
        naive::decode(&self.core, self.values, row, out);
        out.iter_mut().for_each(|x| *x *= self.unit);
    }
}

/// The same bags of other ids.
fn mapped<'s>(bags: &Bags<'s>, ids: &'s mut Vec<u32>, map: impl Fn(u32) -> u32) -> Bags<'s> {
    ids.clear();
    ids.extend(bags.ids.iter().map(|&id| map(id)));
    Bags { ids, ..*bags }
}

/// Makes room for `n` values; they hold anything.
fn grow(values: &mut Vec<f32>, n: usize) {
    if values.len() < n {
        values.resize(n, 0.0);
    }
}

/// `out = narrow · matrix`.
struct Project<'p, 'o> {
    narrow: &'p [f32],
    width: usize,
    matrix: &'p [f32],
    out: Output<'o>,
    dim: usize,
}

impl Work for Project<'_, '_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        for (b, narrow) in self.narrow.chunks_exact(self.width).enumerate() {
            let row = self.out.row(b, self.dim);
            row.fill(0.0);
            for (&x, weights) in narrow.iter().zip(self.matrix.chunks_exact(self.dim)) {
                let sums = row.iter_mut().zip(weights);
                sums.for_each(|(y, &w)| *y = x.mul_add(w, *y));
            }
        }
    }
}
