//! What gathering keeps from one call to the next.

use super::super::lanes::LANES;
use super::{GATHERED, LONGEST};
use crate::bags::Output;

/// Floats of a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line([f32; LANES]);

/// A row that keeps nothing.
pub static ZEROS: [Line; LONGEST / LANES] = [Line([0.0; LANES]); LONGEST / LANES];

/// Memory for gathering rows.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    pub buffers: [Buffer; 2],
    /// Ids behind the head.
    pub behind: Vec<u32>,
    /// Their numbers among the stored rows, of those that are stored.
    pub stored: Vec<u32>,
    /// Where the rows of ids behind the head are, if some are not stored.
    pub addresses: Vec<usize>,
    /// Where the rows of all ids are: those of a group and of the next.
    pub all: Vec<usize>,
    /// Where the ids of each bag end.
    pub ends: Vec<u32>,
}

/// Decoded rows.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    rows: Vec<Line>,
    /// Address and bytes of the first row.
    first: (usize, usize),
    /// The addresses of the rows, one after the other, and of 16 more.
    sequence: Vec<usize>,
}

impl Gathered {
    /// Makes room for rows of `dim` values; takes no time if there is.
    pub fn make_room(&mut self, dim: usize) {
        let most = GATHERED + LANES;
        self.behind.resize(most, 0);
        self.stored.resize(most, 0);
        self.addresses.resize(most, 0);
        self.all.resize(2 * GATHERED + LANES, 0);
        for buffer in &mut self.buffers {
            buffer.make_room(dim.div_ceil(LANES));
        }
    }
}

impl Buffer {
    fn make_room(&mut self, n_lines: usize) {
        if self.rows.len() < GATHERED * n_lines {
            self.rows.resize(GATHERED * n_lines, Line([0.0; LANES]));
        }
        let row_bytes = n_lines * size_of::<Line>();
        let first = (self.rows.as_ptr().addr(), row_bytes);
        if self.first != first {
            self.first = first;
            self.sequence.clear();
            let sequence = (0..GATHERED + LANES).map(|i| first.0 + i * row_bytes);
            self.sequence.extend(sequence);
        }
    }

    /// Where rows of `dim` values go, and their addresses.
    pub fn rows(&mut self, dim: usize) -> (Output<'_>, &[usize]) {
        let (at, n) = (self.rows.as_mut_ptr(), self.rows.len() * LANES);
        // They will be read at their addresses.
        at.expose_provenance();
        // SAFETY: lines are nothing but floats.
        let values = unsafe { std::slice::from_raw_parts_mut(at.cast(), n) };
        let rows = Output::rows(values, dim.next_multiple_of(LANES));
        (rows, &self.sequence)
    }
}
