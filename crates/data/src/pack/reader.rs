//! Opening a pack and reading its blocks.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use slimbed_files::IoContext;
use xxhash_rust::xxh3::xxh3_64;

use super::block::decode;
use super::{Arity, BLOCK_ROWS, END_MAGIC, ENTRY, FieldSchema, MAGIC, Schema, TRAILER, VERSION};
use crate::DataError;
use crate::batches::Batch;

/// A pack whose header and footer have been checked.
///
/// Blocks are read, not mapped: the system maps pages around each one it is asked for, and the resident
/// memory of a run would grow with the rows it has read.
#[derive(Debug)]
pub struct PackReader {
    path: PathBuf,
    file: File,
    n_bytes: u64,
    schema: Schema,
    blocks: Vec<Block>,
    n_rows: u64,
    n_positives: u64,
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
struct Block {
    offset: usize,
    n_bytes: usize,
    n_rows: usize,
    checksum: u64,
}

impl PackReader {
    /// Opens a pack; blocks are not read yet.
    ///
    /// # Errors
    /// When the file is damaged, cut off, or of another version.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).at("open", path)?;
        // SAFETY: the map is only read, here, and prepared folders appear by rename and are never changed
        // in place; a file that another program shortens meanwhile is beyond our reach.
        let map = unsafe { Mmap::map(&file) }.at("map", path)?;
        let (schema, parts) = check(&map).map_err(|problem| problem.at(path))?;
        let Footer {
            blocks,
            n_rows,
            n_positives,
        } = parts;
        Ok(Self {
            path: path.to_owned(),
            n_bytes: map.len() as u64,
            file,
            schema,
            blocks,
            n_rows,
            n_positives,
        })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Rows of the split.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Rows with label 1.
    pub fn n_positives(&self) -> u64 {
        self.n_positives
    }

    /// Blocks of the pack.
    pub fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Rows of block `i`; panics when there is none.
    pub fn block_rows(&self, i: usize) -> usize {
        self.blocks[i].n_rows
    }

    /// Bytes of the file.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Reads and checks block `i`; panics when there is none.
    ///
    /// # Errors
    /// When the block is damaged or cannot be read.
    pub fn read_block(&self, i: usize) -> Result<Batch, DataError> {
        let block = self.blocks[i];
        let mut bytes = vec![0; block.n_bytes];
        read_exact_at(&self.file, &mut bytes, block.offset as u64).at("read", &self.path)?;
        let bytes = bytes.as_slice();
        let problem = |expected: &str, found: String| {
            Problem {
                what: format!("block {i}"),
                expected: expected.into(),
                found,
            }
            .at(&self.path)
        };
        if xxh3_64(bytes) != block.checksum {
            return Err(problem("the bytes of its checksum", "other bytes".into()));
        }
        decode(&self.schema, bytes, block.n_rows).map_err(|found| problem("whole rows", found))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// A difference between a file and what it should be.
struct Problem {
    what: String,
    expected: String,
    found: String,
}

impl Problem {
    fn new(what: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    fn at(self, path: &Path) -> DataError {
        let Self {
            what,
            expected,
            found,
        } = self;
        DataError::Damaged {
            path: path.to_owned(),
            what,
            expected,
            found,
        }
    }
}

struct Footer {
    blocks: Vec<Block>,
    n_rows: u64,
    n_positives: u64,
}

fn check(bytes: &[u8]) -> Result<(Schema, Footer), Problem> {
    let (schema, header_end) = check_header(bytes)?;
    Ok((schema, check_footer(bytes, header_end)?))
}

fn check_header(bytes: &[u8]) -> Result<(Schema, usize), Problem> {
    let cut = || Problem::new("header", "a whole header", "a cut-off file");
    let word = |i: usize| {
        let word = bytes.get(8 + 4 * i..12 + 4 * i)?;
        Some(u32::from_le_bytes(word.try_into().ok()?))
    };
    if bytes.get(..8) != Some(MAGIC) {
        return Err(Problem::new(
            "header",
            "the start of a pack",
            "another file",
        ));
    }
    let version = word(0).ok_or_else(cut)?;
    if version != VERSION {
        return Err(Problem::new(
            "version",
            VERSION.to_string(),
            version.to_string(),
        ));
    }
    let n_fields = word(2).ok_or_else(cut)? as usize;
    let end = 24 + 8 * n_fields;
    let checksum = bytes.get(end..end + 8).ok_or_else(cut)?;
    if checksum != xxh3_64(&bytes[..end]).to_le_bytes() {
        return Err(Problem::new(
            "header",
            "the bytes of its checksum",
            "other bytes",
        ));
    }
    let block_rows = word(3).ok_or_else(cut)?;
    if block_rows as usize != BLOCK_ROWS {
        let (expected, found) = (BLOCK_ROWS.to_string(), block_rows.to_string());
        return Err(Problem::new("rows of a block", expected, found));
    }
    let field = |f: usize| {
        let arity = match word(5 + 2 * f).ok_or_else(cut)? {
            0 => Arity::Single,
            1 => Arity::Multi,
            kind => return Err(Problem::new("kind of a field", "0 or 1", kind.to_string())),
        };
        let n_rows = word(4 + 2 * f).ok_or_else(cut)?;
        Ok(FieldSchema { n_rows, arity })
    };
    let fields = (0..n_fields).map(field).collect::<Result<_, _>>()?;
    Ok((
        Schema {
            n_dense: word(1).ok_or_else(cut)? as usize,
            fields,
        },
        end + 8,
    ))
}

fn check_footer(bytes: &[u8], header_end: usize) -> Result<Footer, Problem> {
    let problem = |found: &str| Problem::new("footer", "a whole footer", found);
    let start = bytes
        .len()
        .checked_sub(TRAILER)
        .filter(|&start| start >= header_end);
    let start = start.ok_or_else(|| problem("a cut-off file"))?;
    let trailer = &bytes[start..];
    if &trailer[TRAILER - 8..] != END_MAGIC {
        return Err(problem("a cut-off file"));
    }
    let [n_blocks, n_rows, n_positives, offset, checksum] = numbers::<5>(trailer);
    let n_entry_bytes = usize::try_from(n_blocks)
        .ok()
        .and_then(|n| n.checked_mul(ENTRY));
    let footer = usize::try_from(offset)
        .ok()
        .filter(|&offset| offset >= header_end)
        .filter(|&offset| n_entry_bytes.and_then(|n| n.checked_add(offset)) == Some(start))
        .ok_or_else(|| problem("sizes that do not add up"))?;
    if xxh3_64(&bytes[footer..start + 32]) != checksum {
        return Err(problem("bytes of another checksum"));
    }
    let entries = bytes[footer..start].chunks_exact(ENTRY);
    let mut end = header_end;
    let blocks = entries
        .map(|entry| block(entry, &mut end))
        .collect::<Option<Vec<_>>>();
    let blocks = blocks.ok_or_else(|| problem("blocks that do not follow each other"))?;
    let total: u64 = blocks.iter().map(|block| block.n_rows as u64).sum();
    if end != footer || total != n_rows || n_positives > n_rows {
        return Err(problem("sizes that do not add up"));
    }
    Ok(Footer {
        blocks,
        n_rows,
        n_positives,
    })
}

/// A footer entry whose block begins where the last one ended.
fn block(entry: &[u8], end: &mut usize) -> Option<Block> {
    let [offset, n_bytes, n_rows, checksum] = numbers::<4>(entry);
    let (offset, n_bytes) = (
        usize::try_from(offset).ok()?,
        usize::try_from(n_bytes).ok()?,
    );
    let n_rows = usize::try_from(n_rows)
        .ok()
        .filter(|n| (1..=BLOCK_ROWS).contains(n))?;
    if offset != *end {
        return None;
    }
    *end = offset.checked_add(n_bytes)?;
    Some(Block {
        offset,
        n_bytes,
        n_rows,
        checksum,
    })
}

/// The first `N` numbers of `bytes`, which has at least as many.
fn numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let words = bytes.as_chunks::<8>().0;
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}
