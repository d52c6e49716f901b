//! What kernels know of a structure: where the record of a row is, and what a record holds.

use std::mem::MaybeUninit;

use super::lines;
use crate::lookup::{LANES, Lanes};

/// The row number of a row that is not stored: all its values are 0.
pub const ABSENT: u32 = u32::MAX;

/// Where the kept values of a row are.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The marks if there are any, scale and bias of integers, the kept values.
    pub at: *const u8,
    /// Number of kept values; of masked ones about.
    pub kept: u32,
    /// Of lined floats, whose `at` is their first line: how many of its floats are in front of them, modulo 16.
    pub skip: u32,
    /// Of lined floats: a one for each.
    pub lanes: u64,
}

/// Records of a [`Records`].
pub const RING: usize = 32 * LANES;

/// Records that have been found and will be read: that of id `p` at `p % RING`.
#[derive(Debug)]
pub struct Records {
    /// Bytes from the storage's base to each record.
    pub start: [MaybeUninit<u64>; RING],
    pub kept: [MaybeUninit<u32>; RING],
    pub lanes: [MaybeUninit<u64>; RING],
    /// Of records that are in one line each: words of 4 bytes from the storage's base to the line.
    pub line: [MaybeUninit<u32>; RING],
    /// Words in front of the record in that line, modulo 16.
    pub skip: [MaybeUninit<u32>; RING],
    /// A one for each word of the record.
    pub in_line: [MaybeUninit<u32>; RING],
}

impl Records {
    /// None yet; takes no time.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            start: [const { MaybeUninit::uninit() }; RING],
            kept: [const { MaybeUninit::uninit() }; RING],
            lanes: [const { MaybeUninit::uninit() }; RING],
            line: [const { MaybeUninit::uninit() }; RING],
            skip: [const { MaybeUninit::uninit() }; RING],
            in_line: [const { MaybeUninit::uninit() }; RING],
        }
    }

    /// Notes record `p`.
    #[inline(always)]
    pub fn put(&mut self, p: usize, start: u64, kept: u32, lanes: u64) {
        let i = p % RING;
        self.start[i].write(start);
        self.kept[i].write(kept);
        self.lanes[i].write(lanes);
    }

    /// Notes record `p`, which is in a line.
    #[inline(always)]
    pub fn put_line(&mut self, p: usize, start: u64, lanes: u64) {
        let i = p % RING;
        let word = (start / lines::WORD as u64) as u32;
        self.line[i].write(word - word % LANES as u32);
        self.skip[i].write(word);
        self.in_line[i].write(lanes as u32);
    }

    /// The record at place `i`, noted as a line, of a storage with this base.
    ///
    /// # Safety
    /// It has been noted; `i` is below [`RING`].
    #[inline(always)]
    pub unsafe fn get_line(&self, i: usize, base: *const u8) -> Record {
        // SAFETY: said above.
        unsafe {
            let line = self.line.get_unchecked(i).assume_init() as usize;
            Record {
                at: base.wrapping_add(line * lines::WORD),
                kept: 0,
                skip: self.skip.get_unchecked(i).assume_init(),
                lanes: self.in_line.get_unchecked(i).assume_init().into(),
            }
        }
    }

    /// The record at place `i` of a storage with this base, in lines or not.
    ///
    /// # Safety
    /// As [`get_line`](Self::get_line).
    #[inline(always)]
    pub unsafe fn get<const LINED: bool>(&self, i: usize, base: *const u8) -> Record {
        // SAFETY: said above.
        let (start, kept, lanes) = unsafe {
            (
                self.start.get_unchecked(i).assume_init() as usize,
                self.kept.get_unchecked(i).assume_init(),
                self.lanes.get_unchecked(i).assume_init(),
            )
        };
        if LINED {
            let skip = start % lines::LINE;
            return Record {
                at: base.wrapping_add(start - skip),
                kept,
                skip: (skip / lines::WORD) as u32,
                lanes,
            };
        }
        Record::kept(base.wrapping_add(start), kept)
    }
}

impl Record {
    /// A row of `dim` values that keeps them all.
    #[inline(always)]
    pub fn full(at: *const u8, dim: u32) -> Self {
        Self::kept(at, dim)
    }

    /// A row that keeps `kept` values, in no lines.
    #[inline(always)]
    pub fn kept(at: *const u8, kept: u32) -> Self {
        Self {
            at,
            kept,
            skip: 0,
            lanes: 0,
        }
    }
}

/// The stored form of one row, for those who read it value by value.
#[derive(Clone, Copy, Debug)]
pub struct StoredRow<'a> {
    /// What names the kept columns; without marks they are the first ones.
    pub marks: (Marks, &'a [u8]),
    /// Number of kept values.
    pub kept: usize,
    /// Scale and bias of integers, and the kept values.
    pub values: &'a [u8],
}

impl StoredRow<'_> {
    /// A row that keeps nothing.
    pub const EMPTY: Self = Self {
        marks: (Marks::None, &[]),
        kept: 0,
        values: &[],
    };
}

/// What stands in front of a record to name the columns of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Nothing: they are the first ones.
    None,
    /// A bit for every column.
    Bits,
    /// A byte for every kept value.
    Columns,
}

impl Marks {
    /// Bytes for a row of `dim` columns that keeps `t` values.
    #[inline(always)]
    pub fn bytes(self, dim: usize, t: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Bits => dim.div_ceil(8),
            Self::Columns => t,
        }
    }
}

/// A structure in which every row is one record.
///
/// # Safety
/// For every row below the number of rows, and not in the head if it has one, [`locate`](Self::locate)
/// returns a record of which scale and bias can be read, if values have them, and `kept` values; its marks,
/// of masks two bytes for every 16 columns, and as many values as a mask has bits, behind any of which another
/// 64 bytes can be read; if they are [`lined`](Self::lined), also the lines they are in.
pub unsafe trait Storage: Copy + Sync {
    /// What names the columns of the values.
    const MARKS: Marks;
    /// Whether finding a row reads memory.
    const INDIRECT: bool;
    /// Whether finding a row again takes longer than keeping what was found: always where it reads memory.
    const COSTLY: bool = Self::INDIRECT;
    /// Whether records may have lanes.
    const LINED: bool = false;

    /// Whether records may cross cache lines that their length would not make them cross.
    fn straddles(&self) -> bool;

    /// The bytes that records are in.
    fn base(&self) -> *const u8;

    /// Asks for the memory that finding `row` will read.
    fn prefetch_index(&self, row: u32);

    /// Finds the record of a row.
    ///
    /// # Safety
    /// The row exists, not in the head, and the processor has the instructions of `L`.
    unsafe fn locate<L: Lanes>(&self, row: u32) -> Record;

    /// Whether records found in blocks have [lanes](Record::lanes): floats, at most 64, in lines of 64 bytes that
    /// may be read as a whole.
    #[inline(always)]
    fn lined(&self) -> bool {
        false
    }

    /// Finds the records of sixteen rows: those from `first`, a multiple of 16, on. Where each is in one line,
    /// `ONE_LINE`, they are noted as such.
    ///
    /// # Safety
    /// As [`locate`](Self::locate), of each row.
    #[inline(always)]
    unsafe fn locate_block<L: Lanes, const ONE_LINE: bool>(
        &self,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        // SAFETY: said above.
        unsafe { locate_each::<L, Self>(self, rows, records, first) };
    }

    /// The same as `locate` without any of the kernels' tricks: their oracle. Panics if there is no such row.
    fn row(&self, row: u32) -> StoredRow<'_>;
}

/// [`Storage::locate_block`], row by row, of records that are in no lines.
///
/// # Safety
/// As [`Storage::locate`], of each row.
#[inline(always)]
pub unsafe fn locate_each<L: Lanes, S: Storage>(
    storage: &S,
    rows: &[u32; LANES],
    records: &mut Records,
    first: usize,
) {
    for (p, &row) in (first..).zip(rows) {
        // SAFETY: said above.
        let Record { at, kept, .. } = unsafe { storage.locate::<L>(row) };
        let start = at.addr().wrapping_sub(storage.base().addr()) as u64;
        records.put(p, start, kept, 0);
    }
}

/// Whether rows of this size, one after the other, cross more cache lines than they have to.
pub fn straddles(row_bytes: usize) -> bool {
    row_bytes > 0
        && !lines::LINE.is_multiple_of(row_bytes)
        && !row_bytes.is_multiple_of(lines::LINE)
}
