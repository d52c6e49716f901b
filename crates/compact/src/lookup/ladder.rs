//! Ranges of rows, and where their records are.

use super::lanes::LANES;

/// Bytes of a word.
const WORD: u64 = 4;

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
    /// [`origins`](Self::origins) in words of 4 bytes, modulo 2³².
    pub origin_words: [u32; LANES],
    /// Words of a record.
    pub row_words: [u32; LANES],
    /// [`lanes`](Self::lanes) of records that are in one line.
    pub line_lanes: [u32; LANES],
}

/// Most ranges of records that are in one line each: 0, 1, 2, 4, 8 and 16 floats.
pub const MOST_IN_LINE: usize = 6;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first byte.
    pub start: u64,
    /// Number of values it keeps.
    pub kept: u32,
    /// As many ones.
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
            origin_words: [0; LANES],
            row_words: [0; LANES],
            line_lanes: [0; LANES],
        }
    }
}

impl Ladder {
    /// Range `s`: from row `first` on, whose record begins at `start`, records of `row_bytes` that keep `kept`
    /// values.
    pub fn put(&mut self, s: usize, (first, start): (u32, usize), row_bytes: usize, kept: u32) {
        if s > 0 {
            self.bounds[s - 1] = first;
        }
        let before = u64::from(first) * row_bytes as u64;
        self.origins[s] = (start as u64).wrapping_sub(before);
        self.row_bytes[s] = row_bytes as u32;
        self.kept[s] = kept;
        self.lanes[s] = u64::MAX.unbounded_shr(64_u32.saturating_sub(kept));
        self.origin_words[s] = (self.origins[s] / WORD) as u32;
        self.row_words[s] = self.row_bytes[s] / WORD as u32;
        self.line_lanes[s] = self.lanes[s] as u32;
    }

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
        Found {
            start: self.start(s, row),
            kept: self.kept[s],
            lanes: self.lanes[s],
        }
    }
}
