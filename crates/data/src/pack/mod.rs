//! Packed columns on disk.
//!
//! A pack is the rows of one split in blocks of [`BLOCK_ROWS`], column by column within a block,
//! little-endian:
//!
//! ```text
//! header   magic "SLBPACK\0", version u32, n_dense u32, n_fields u32, block rows u32,
//!          for each field: rows of its table u32, kind u32 (0 single, 1 multi-valued),
//!          xxh3-64 of the header u64
//! blocks   labels u8 × R | for each dense column f32 × R | for each field its ids
//!            single:       ids × R
//!            multi-valued: offsets u32 × (R + 1), ids × offsets[R]
//!          an id takes 1, 2 or 4 bytes, the fewest that hold the rows of its table
//! footer   for each block: offset u64, bytes u64, rows u64, xxh3-64 u64
//! trailer  number of blocks u64, rows u64, rows with label 1 u64, offset of the footer u64,
//!          xxh3-64 of footer and trailer so far u64, magic "SLBPEND\0"
//! ```
//!
//! Opening checks header, footer and trailer; a block is checked against its checksum each time it is
//! read, and every id against the rows of its table.

mod block;
mod reader;
mod writer;

pub use reader::PackReader;
pub use writer::PackWriter;

/// Rows of a block; the last one may have fewer.
pub const BLOCK_ROWS: usize = 4096;

const MAGIC: &[u8; 8] = b"SLBPACK\0";
const END_MAGIC: &[u8; 8] = b"SLBPEND\0";
const VERSION: u32 = 1;
/// Bytes of a footer entry and of the trailer.
const ENTRY: usize = 32;
const TRAILER: usize = 48;

/// The columns of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Number of dense columns.
    pub n_dense: usize,
    /// The fields in order.
    pub fields: Vec<FieldSchema>,
}

/// One field of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSchema {
    /// Rows of the field's table: every id is below.
    pub n_rows: u32,
    /// One id a row, or a bag.
    pub arity: Arity,
}

/// How many ids a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    Single,
    /// Any number.
    Multi,
}

impl FieldSchema {
    /// Bytes an id takes.
    fn id_bytes(self) -> usize {
        match self.n_rows {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        }
    }
}

impl Schema {
    fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let numbers = [
            VERSION,
            self.n_dense as u32,
            self.fields.len() as u32,
            BLOCK_ROWS as u32,
        ];
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        for field in &self.fields {
            bytes.extend(field.n_rows.to_le_bytes());
            bytes.extend(u32::from(field.arity == Arity::Multi).to_le_bytes());
        }
        bytes.extend(xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
        bytes
    }
}
