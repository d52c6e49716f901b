//! Ranges of rows, and where their records are.

use super::lanes::LANES;

/// At most 16 ranges of rows, the first from row 0 on; the records of a range stand one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Ladder {
    /// First rows of the ranges behind the first; the largest number where there is no such range.
    pub bounds: [u32; LANES],
    /// Where row 0 of the table would begin if its records were as long: the first row's place less the bytes
    /// of as many rows as come before, modulo 2⁶⁴.
    pub origins: [u64; LANES],
    /// Bytes of a record.
    pub row_bytes: [u32; LANES],
    /// Number of values that a record keeps.
    pub kept: [u32; LANES],
    /// As many ones, at most 64.
    pub lanes: [u64; LANES],
    /// 63 where records are found as lines, 0 where as they are.
    pub in_line: u64,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first byte, or that of its first line.
    pub start: u64,
    /// Number of values it keeps.
    pub kept: u32,
    /// Which of the floats of its lines they are.
    pub lanes: u64,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            bounds: [u32::MAX; LANES],
            origins: [0; LANES],
            row_bytes: [0; LANES],
            kept: [0; LANES],
            lanes: [0; LANES],
            in_line: 0,
        }
    }
}

impl Ladder {
    /// The range of a row, which is less than the largest number.
    #[inline(always)]
    pub fn step(&self, row: u32) -> usize {
        let before = self.bounds.iter().map(|&first| usize::from(first <= row));
        before.sum::<usize>() % LANES
    }

    /// First byte of the record of a row of range `s`.
    #[inline(always)]
    pub fn start(&self, s: usize, row: u32) -> u64 {
        let before = u64::from(row) * u64::from(self.row_bytes[s]);
        self.origins[s].wrapping_add(before)
    }

    /// The record of a row.
    #[inline(always)]
    pub fn find(&self, row: u32) -> Found {
        let s = self.step(row);
        let start = self.start(s, row);
        let skip = start & self.in_line;
        Found {
            start: start - skip,
            kept: self.kept[s],
            lanes: self.lanes[s] << (skip / 4),
        }
    }
}
