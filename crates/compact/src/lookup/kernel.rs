//! The lookup kernel for structures in which a row is one record.
//!
//! One loop over all ids of a batch: it asks for the index of the id that comes `2 · AHEAD` later, finds
//! the record of the one that comes `AHEAD` later and asks for it, and adds the row of the current one to
//! vectors in registers. So the latencies of index and record overlap with work on other rows.

use std::marker::PhantomData;

use super::format::Format;
use super::isa::Work;
use super::lanes::{LANES, Lanes};
use crate::bags::{Bags, Output, Pooling};
use crate::prefetch::prefetch_line;
use crate::structure::{ABSENT, AbsentRows, Head, Marks, Record, RecordForm, Storage};

/// Ids between finding a record and reading it. 16 to 32 reached the speed of memory in our benches.
const AHEAD: usize = 32;

/// Vectors that a pass keeps in registers; longer rows take several passes.
pub const MAX_VECTORS: usize = 8;

const LINE: usize = 64;

/// Words for the bits of the columns of a list.
const MASK_WORDS: usize = 4;

/// What a bag is.
pub trait Shape: Copy + 'static {
    /// Whether every bag is one id of weight 1.
    const SINGLE: bool;
}

#[derive(Clone, Copy)]
pub struct Single;
#[derive(Clone, Copy)]
pub struct Several;

impl Shape for Single {
    const SINGLE: bool = true;
}

impl Shape for Several {
    const SINGLE: bool = false;
}

/// Pools columns `16 · first_vector..` of all bags, at most `16 · N` of them.
///
/// Bags and output have been checked against the table and each other.
pub struct Kernel<'k, 'o, S, F, B, const N: usize> {
    pub storage: S,
    pub kind: PhantomData<(F, B)>,
    pub bags: &'k Bags<'k>,
    pub pooling: Pooling,
    pub out: Output<'o>,
    pub dim: usize,
    /// Power of two that all values are multiplied with.
    pub unit: f32,
    pub first_vector: usize,
}

impl<S: Storage, F: Format, B: Shape, const N: usize> Work for Kernel<'_, '_, S, F, B, N> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: ids, bags and output have been checked; the processor has the instructions of `L`.
        unsafe {
            match self.storage.head() {
                Some(head) if B::SINGLE => self.run_sorted::<L>(head),
                _ => self.run_in_order::<L>(),
            }
        }
    }
}

impl<S: Storage, F: Format, B: Shape, const N: usize> Kernel<'_, '_, S, F, B, N> {
    /// A vector that rows are added to.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn row<L: Lanes, T: Storage>(&self, storage: T) -> Row<L, T, F, N> {
        Row {
            straddles: storage.straddles(),
            storage,
            format: PhantomData,
            dim: self.dim,
            first_vector: self.first_vector(),
            // SAFETY: said above.
            sums: [unsafe { L::splat(0.0) }; N],
        }
    }

    /// The first vector of this pass: rows of fewer than [`MAX_VECTORS`] have but one.
    #[inline(always)]
    fn first_vector(&self) -> usize {
        if N < MAX_VECTORS {
            0
        } else {
            self.first_vector
        }
    }

    /// Where the pooled vector of sample `b` goes, from the first column of this pass on.
    #[inline(always)]
    fn out(&self, b: usize) -> *mut f32 {
        let at = self.out.start + b * self.out.stride + self.first_vector() * LANES;
        self.out.values.as_ptr().cast_mut().wrapping_add(at)
    }

    /// Columns from the first one of this pass on.
    #[inline(always)]
    fn n_columns(&self) -> usize {
        self.dim - self.first_vector() * LANES
    }

    /// Bag after bag.
    ///
    /// # Safety
    /// As [`run`](Work::run), and bags and output have been checked.
    #[inline(always)]
    unsafe fn run_in_order<L: Lanes>(&self) {
        let mut ahead = Ahead::new(self.bags.ids);
        // SAFETY: said above.
        unsafe {
            let mut row = self.row::<L, S>(self.storage);
            ahead.begin(&row);
            for b in 0..self.bags.n() {
                row.sums = [L::splat(0.0); N];
                if B::SINGLE {
                    row.add(ahead.next(&row, b), 1.0);
                    row.store(self.out(b), self.n_columns(), self.unit);
                    continue;
                }
                let range = self.bags.range_unchecked(b);
                let n_ids = range.len();
                for p in range {
                    let weight = self.bags.weights.map_or(1.0, |w| *w.get_unchecked(p));
                    row.add(ahead.next(&row, p), weight);
                }
                let scale = self.unit * self.share(n_ids);
                row.store(self.out(b), self.n_columns(), scale);
            }
        }
    }

    /// Single ids: first those of the head, then the others, then those of rows that are absent, so that
    /// no branch depends on which rows are looked up.
    ///
    /// # Safety
    /// As [`run_in_order`](Self::run_in_order), and every bag is one id of weight 1.
    #[inline(always)]
    unsafe fn run_sorted<L: Lanes>(&self, head: Head<'_>) {
        let mut sorted = Sorted::new();
        for (i, ids) in self.bags.ids.chunks(SORTED).enumerate() {
            let start = i * SORTED;
            // SAFETY: said above.
            unsafe {
                sorted.sort::<L>(ids, head.n_rows());
                self.pass::<L, Head<'_>>(head, &sorted.lists[0], start);
                self.pass::<L, S>(self.storage, &sorted.lists[1], start);
                let zeros = self.row::<L, S>(self.storage);
                let absent = &sorted.lists[2];
                for &place in &absent.places[..absent.n] {
                    zeros.store(self.out(start + place as usize), self.n_columns(), 1.0);
                }
            }
        }
    }

    /// Looks up one list, whose places count from sample `start`.
    ///
    /// # Safety
    /// As [`run_sorted`](Self::run_sorted).
    #[inline(always)]
    unsafe fn pass<L: Lanes, T: Storage>(&self, storage: T, list: &List, start: usize) {
        let mut ahead = Ahead::new(&list.ids[..list.n]);
        // SAFETY: said above.
        unsafe {
            let mut row = self.row::<L, T>(storage);
            ahead.begin(&row);
            for (p, &place) in list.places[..list.n].iter().enumerate() {
                row.sums = [L::splat(0.0); N];
                row.add(ahead.next(&row, p), 1.0);
                let out = self.out(start + place as usize);
                row.store(out, self.n_columns(), self.unit);
            }
        }
    }
}

/// Ids that are sorted together.
const SORTED: usize = 1024;

/// Ids of one kind, and which of the sorted ones they are.
struct List {
    ids: [u32; SORTED + LANES],
    places: [u32; SORTED + LANES],
    n: usize,
}

/// Ids in the head; behind it; absent.
struct Sorted {
    lists: [List; 3],
}

impl Sorted {
    #[inline(always)]
    fn new() -> Self {
        let list = || List {
            ids: [0; SORTED + LANES],
            places: [0; SORTED + LANES],
            n: 0,
        };
        Self {
            lists: [list(), list(), list()],
        }
    }

    /// Sorts at most [`SORTED`] ids.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn sort<L: Lanes>(&mut self, ids: &[u32], n_head: u32) {
        for list in &mut self.lists {
            list.n = 0;
        }
        for (i, ids) in ids.chunks(LANES).enumerate().take(SORTED / LANES) {
            let all = ((1_u32 << ids.len()) - 1) as u16;
            let places: [u32; LANES] = std::array::from_fn(|lane| (i * LANES + lane) as u32);
            let mut padded = [0; LANES];
            padded[..ids.len()].copy_from_slice(ids);
            // SAFETY: said above.
            unsafe {
                let in_head = L::below(&padded, n_head) & all;
                let stored = L::below(&padded, ABSENT) & all;
                let kinds = [in_head, stored & !in_head, all & !stored];
                for (list, kind) in self.lists.iter_mut().zip(kinds) {
                    list.push::<L>(&padded, &places, kind);
                }
            }
        }
    }
}

impl List {
    /// Appends the ids and places whose bits are set.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn push<L: Lanes>(&mut self, ids: &[u32; LANES], places: &[u32; LANES], mask: u16) {
        let at = self.n..self.n + LANES;
        // SAFETY: said above; there is room for a vector behind all ids.
        unsafe {
            let (ids_at, places_at) = (&mut self.ids[at.clone()], &mut self.places[at]);
            L::compress(ids, mask, ids_at.as_mut_ptr());
            L::compress(places, mask, places_at.as_mut_ptr());
        }
        self.n += mask.count_ones() as usize;
    }
}

impl<S, F, B, const N: usize> Kernel<'_, '_, S, F, B, N> {
    #[inline(always)]
    fn share(&self, n_ids: usize) -> f32 {
        match self.pooling {
            Pooling::Sum => 1.0,
            Pooling::Mean => 1.0 / n_ids.max(1) as f32,
        }
    }
}

/// A vector that rows are added to.
struct Row<L, S, F, const N: usize> {
    storage: S,
    format: PhantomData<F>,
    dim: usize,
    first_vector: usize,
    straddles: bool,
    sums: [L; N],
}

impl<L: Lanes, S: Storage, F: Format, const N: usize> Row<L, S, F, N> {
    /// Most cache lines of what a pass reads of a record.
    const LINES: usize = (F::FIXED + N * LANES * F::BITS / 8 + LINE - 2) / LINE + 1;

    /// Adds a row, times `weight`.
    ///
    /// # Safety
    /// The record is one of the storage, or empty; the processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn add(&mut self, record: Record, weight: f32) {
        // SAFETY: a structure's record has scale and bias, as many values as it keeps, and a mask if it
        // has its own form and is masked.
        unsafe {
            if S::MARKS != Marks::None && record.form == RecordForm::Own {
                self.add_marked(record, weight);
            } else if S::ABSENT_ROWS != AbsentRows::Skipped || record.kept > 0 {
                self.add_first(record, weight);
            }
        }
    }

    /// Adds a row that keeps its first values.
    ///
    /// # Safety
    /// As [`add`](Self::add).
    #[inline(always)]
    unsafe fn add_first(&mut self, record: Record, weight: f32) {
        // SAFETY: said above.
        unsafe {
            let affine = F::affine(record.at);
            let values = record.at.add(F::FIXED);
            let weight = L::splat(weight);
            for (v, sum) in self.sums.iter_mut().enumerate() {
                let first = (self.first_vector + v) * LANES;
                let n = (record.kept as usize).saturating_sub(first).min(LANES);
                let row: L = F::load(values, first, n, affine);
                *sum = row.mul_add(weight, *sum);
            }
        }
    }

    /// Adds a row whose marks say what it keeps.
    ///
    /// # Safety
    /// As [`add`](Self::add).
    #[inline(always)]
    unsafe fn add_marked(&mut self, record: Record, weight: f32) {
        // Of a row that keeps nothing the marks are those of another.
        let any = u16::from(record.kept > 0).wrapping_neg();
        let n_columns = record.kept as usize;
        let mut bits = [0; MASK_WORDS];
        // SAFETY: said above; a list has as many columns as values.
        unsafe {
            let mask = match S::MARKS {
                Marks::Columns => {
                    let n_words = if self.dim <= 64 { 1 } else { MASK_WORDS };
                    L::columns(record.at, n_columns, &mut bits[..n_words]);
                    bits.as_ptr().cast()
                }
                _ => record.at,
            };
            let values = record.at.add(S::MARKS.bytes(self.dim, n_columns));
            let affine = F::affine(values);
            let values = values.add(F::FIXED);
            let weight = L::splat(weight);
            let mut first = if N < MAX_VECTORS {
                0
            } else {
                self.skipped(mask)
            };
            for v in 0..N {
                let mask = self.mask(mask, self.first_vector + v) & any;
                let row: L = F::expand(values, first, mask, affine);
                first += mask.count_ones() as usize;
                self.sums[v] = row.mul_add(weight, self.sums[v]);
            }
        }
    }

    /// Kept columns among `16 · v..16 · v + 16`, as bits.
    ///
    /// # Safety
    /// `mask` is that of a record, or the bits of its columns.
    #[inline(always)]
    unsafe fn mask(&self, mask: *const u8, v: usize) -> u16 {
        let n = self.dim.saturating_sub(v * LANES).min(LANES);
        if n == 0 {
            return 0;
        }
        // SAFETY: every 16 columns have two bytes.
        let bits = unsafe { mask.add(2 * v).cast::<u16>().read_unaligned() };
        u16::from_le(bits) & ((1_u32 << n) - 1) as u16
    }

    /// Number of kept values in front of the first vector.
    ///
    /// # Safety
    /// As [`mask`](Self::mask).
    #[inline(always)]
    unsafe fn skipped(&self, mask: *const u8) -> usize {
        let mut n = 0;
        for v in 0..self.first_vector {
            // SAFETY: said above.
            n += unsafe { self.mask(mask, v) }.count_ones() as usize;
        }
        n
    }

    /// Writes the sums, times `scale`: the first `n_columns` of them.
    ///
    /// # Safety
    /// There is room; the processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn store(&self, out: *mut f32, n_columns: usize, scale: f32) {
        // SAFETY: said above.
        unsafe {
            let scale = L::splat(scale);
            for (v, sum) in self.sums.iter().enumerate() {
                let n = n_columns.saturating_sub(v * LANES).min(LANES);
                sum.mul(scale).store(out.wrapping_add(v * LANES), n);
            }
        }
    }

    /// Asks for what a pass reads of a record.
    #[inline(always)]
    fn prefetch(&self, record: Record) {
        let skipped = self.first_vector * LANES * F::BITS / 8;
        let bytes = F::FIXED + (record.kept as usize * F::BITS).div_ceil(8);
        let (at, bytes) = if S::MARKS != Marks::None && record.form == RecordForm::Own {
            let marks = S::MARKS.bytes(self.dim, record.kept as usize);
            (record.at, bytes + marks)
        } else {
            (
                record.at.wrapping_add(skipped),
                bytes.saturating_sub(skipped),
            )
        };
        let last = bytes.saturating_sub(1);
        prefetch_line(at);
        // The last line without a look at the length, which may be hard to predict.
        if self.straddles || Self::LINES > 2 {
            prefetch_line(at.wrapping_add(last));
        }
        for line in 1..Self::LINES - 1 {
            if line * LINE < last {
                prefetch_line(at.wrapping_add(line * LINE));
            }
        }
    }
}

/// Records found before they are needed.
struct Ahead<'k> {
    ids: &'k [u32],
    /// That of id `p` at `p % AHEAD`; unused where finding a record reads no memory.
    records: [Record; AHEAD],
}

impl<'k> Ahead<'k> {
    #[inline(always)]
    fn new(ids: &'k [u32]) -> Self {
        let records = [Record::EMPTY; AHEAD];
        Self { ids, records }
    }

    /// Finds the first records.
    ///
    /// # Safety
    /// The ids are rows of the storage; the processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn begin<L: Lanes, S: Storage, F: Format, const N: usize>(
        &mut self,
        row: &Row<L, S, F, N>,
    ) {
        if S::INDIRECT {
            for &id in &self.ids[..self.ids.len().min(2 * AHEAD)] {
                row.storage.prefetch_index(id);
            }
        }
        for p in 0..self.ids.len().min(AHEAD) {
            // SAFETY: said above.
            unsafe { self.find(row, p) };
        }
    }

    /// The record of an id.
    ///
    /// # Safety
    /// As [`begin`](Self::begin), and there is an id `p`.
    #[inline(always)]
    unsafe fn record<L: Lanes, S: Storage, F: Format, const N: usize>(
        &self,
        row: &Row<L, S, F, N>,
        p: usize,
    ) -> Record {
        // SAFETY: said above.
        unsafe {
            let id = *self.ids.get_unchecked(p);
            if S::ABSENT_ROWS == AbsentRows::Skipped && id == ABSENT {
                return Record::EMPTY;
            }
            row.storage.locate::<L>(id)
        }
    }

    /// Finds the record of id `p` and asks for it.
    ///
    /// # Safety
    /// As [`record`](Self::record).
    #[inline(always)]
    unsafe fn find<L: Lanes, S: Storage, F: Format, const N: usize>(
        &mut self,
        row: &Row<L, S, F, N>,
        p: usize,
    ) {
        // SAFETY: said above.
        let record = unsafe { self.record(row, p) };
        row.prefetch(record);
        if S::INDIRECT {
            self.records[p % AHEAD] = record;
        }
    }

    /// The record of id `p`; ids are asked for in order.
    ///
    /// # Safety
    /// As [`record`](Self::record).
    #[inline(always)]
    unsafe fn next<L: Lanes, S: Storage, F: Format, const N: usize>(
        &mut self,
        row: &Row<L, S, F, N>,
        p: usize,
    ) -> Record {
        // SAFETY: said above.
        unsafe {
            let record = if S::INDIRECT {
                self.records[p % AHEAD]
            } else {
                self.record(row, p)
            };
            if S::INDIRECT && p + 2 * AHEAD < self.ids.len() {
                row.storage
                    .prefetch_index(*self.ids.get_unchecked(p + 2 * AHEAD));
            }
            if p + AHEAD < self.ids.len() {
                self.find(row, p + AHEAD);
            }
            record
        }
    }
}
