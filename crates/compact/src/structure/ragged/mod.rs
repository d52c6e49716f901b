//! Rows of different lengths: `prefix`, `bitmap` and `list`.
//!
//! The payload holds the records of the rows, one after the other. In front of a bitmap's record stand
//! `⌈dim / 8⌉` bytes with a bit for every column, in front of a list's a byte with the column of every kept
//! value, in rising order; a row without kept values has nothing. Behind the last
//! record is room for the longest read.
//!
//! The index has `[blocks, width]` words of 32 bits, a block for every 32 rows: where the block's first
//! record begins, in words of 4 bytes, and bit planes. Bit `r` of plane 0 says whether row `r` keeps any
//! value; bit `r` of plane `1 + p` is bit `p` of their number less one. The bytes of a row are a weighted sum
//! of these bits (as an int4 record has `⌈t / 2⌉` bytes, bit 0 of `t - 1` weighs nothing there, and bit `p`
//! `2^(p-1)`), so the ones of the planes below a row say where it begins. An index of 6 to 8 bits a row
//! stays in the cache where the rows do not, and no row is padded. Blocks of 6 or 7 words get 8, so that none
//! crosses a cache line.
//!
//! Rows of a head come before and are in none of this.

mod kinds;

use std::hint::select_unpredictable;
use std::marker::PhantomData;

use safetensors::tensor::Dtype;

use super::head::{self, Head};
use super::{Buffer, Data, Form, Marks, Record, Records, Storage, StoredRow, Tensors, locate_each};
use crate::error::{EncodeError, FormError};
use crate::lookup::{LANES, Lanes};
use crate::prefetch::prefetch_line;
use crate::rows::{MAX_DIM, Rows, is_kept};
use crate::values::Values;
pub use kinds::{Bitmap, Kept, List, Prefix};

const INDEX: &str = ".index";
const BLOCK: usize = 32;
/// Records of a block begin at a multiple of this.
const ALIGN: usize = 4;
/// Dims have 15 bits; one plane says whether a row keeps anything.
const MAX_PLANES: usize = 16;
/// Words of 32 bytes, two blocks in a cache line.
const HALF_LINE: usize = 8;
/// What a kernel may read beyond the longest record.
const SLACK: usize = 64;

/// The largest dim whose columns have one byte.
pub const MAX_LIST_DIM: usize = 256;

/// Sizes that follow from values and dim.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    n_planes: usize,
    /// Words of a block of the index.
    width: usize,
    /// Bytes that each bit of word `i` of a block stands for: word 0 is no plane.
    weights: [u32; 1 + MAX_PLANES],
    /// Bytes of a mask.
    mask: usize,
    /// Room behind the last record.
    tail: usize,
}

impl Sizes {
    fn new<K: Kept>(values: Values, dim: usize) -> Self {
        let n_bits = (usize::BITS - (dim - 1).leading_zeros()) as usize;
        let bytes = |t: usize| K::MARKS.bytes(dim, t) + values.record_bytes(t);
        let mut weights = [0; 1 + MAX_PLANES];
        weights[1] = bytes(1) as u32;
        for p in 0..n_bits {
            // One value is counted already: int4's second one finds room beside it.
            weights[2 + p] = (bytes(1 + (1 << p)) - bytes(1)) as u32;
        }
        let words = 2 + n_bits;
        let longest = bytes(1 << n_bits);
        Self {
            n_planes: 1 + n_bits,
            width: if words == 6 || words == 7 {
                HALF_LINE
            } else {
                words
            },
            weights,
            mask: K::MARKS.bytes(dim, 0),
            tail: (longest + SLACK).next_multiple_of(SLACK),
        }
    }

    /// The bits of all planes for a row that keeps `t` values.
    fn bits(&self, t: usize) -> u32 {
        t.checked_sub(1).map_or(0, |less| 1 | (less as u32) << 1)
    }
}

/// Bytes of index and payload for rows whose numbers of kept values have this histogram, which begins with
/// rows that keep `least`.
pub fn n_bytes<K: Kept>(histogram: &[usize], least: usize, values: Values, dim: usize) -> usize {
    let sizes = Sizes::new::<K>(values, dim);
    let n_rows: usize = histogram.iter().sum();
    let n_blocks = n_rows.div_ceil(BLOCK).max(1);
    let row = |t: usize| {
        if t == 0 {
            0
        } else {
            K::MARKS.bytes(dim, t) + values.record_bytes(t)
        }
    };
    let records = histogram
        .iter()
        .enumerate()
        .map(|(i, n)| n * row(least + i));
    let all_aligned = K::MARKS == Marks::None && values == Values::F32;
    let padding = if all_aligned {
        0
    } else {
        n_blocks * ALIGN * 3 / 8
    };
    n_blocks * sizes.width * 4 + records.sum::<usize>() + padding + sizes.tail
}

/// Index, payload and head.
pub fn encode<'a, K: Kept>(
    rows: Rows<'_>,
    n_head: usize,
    form: Form,
) -> Result<Vec<Buffer<'a>>, EncodeError> {
    let sizes = Sizes::new::<K>(form.values, form.dim);
    let n_blocks = (rows.n_rows() - n_head).div_ceil(BLOCK).max(1);
    let mut index = vec![0; n_blocks * sizes.width];
    let mut payload = Vec::new();
    let (mut scaled, mut kept) = (Vec::new(), Vec::new());
    for (i, row) in rows.iter().skip(n_head).enumerate() {
        let block = &mut index[i / BLOCK * sizes.width..][..sizes.width];
        if i % BLOCK == 0 {
            payload.resize(payload.len().next_multiple_of(ALIGN), 0);
            block[0] = word(payload.len(), K::NAME)?;
        }
        let kept = K::kept(row, &mut kept);
        let bits = sizes.bits(kept.len());
        for (p, plane) in block[1..].iter_mut().enumerate() {
            *plane |= (bits >> p & 1) << (i % BLOCK);
        }
        if !kept.is_empty() {
            write_marks(K::MARKS, row, &mut payload);
        }
        form.values
            .write_record(form.in_units(kept, &mut scaled), &mut payload);
    }
    payload.resize(payload.len().next_multiple_of(ALIGN) + sizes.tail, 0);
    let mut buffers = vec![
        Buffer::new(INDEX, &[n_blocks, sizes.width], Data::U32(index)),
        Buffer::new("", &[payload.len()], Data::U8(payload)),
    ];
    buffers.extend(head::encode(rows, n_head, form));
    Ok(buffers)
}

fn word(n_bytes: usize, structure: &'static str) -> Result<u32, EncodeError> {
    let word = u32::try_from(n_bytes / ALIGN);
    word.map_err(|_| EncodeError::TooLarge { structure, n_bytes })
}

fn write_marks(marks: Marks, row: &[f32], out: &mut Vec<u8>) {
    let byte = |columns: &[f32]| {
        let bits = columns.iter().enumerate();
        bits.fold(0, |byte, (bit, &x)| byte | u8::from(is_kept(x)) << bit)
    };
    let kept = row.iter().enumerate().filter(|(_, x)| is_kept(**x));
    match marks {
        Marks::None => {}
        Marks::Bits => out.extend(row.chunks(8).map(byte)),
        Marks::Columns => out.extend(kept.map(|(column, _)| column as u8)),
    }
}

/// What a row that keeps nothing points to: a kernel may read a mask there, and scale and bias or a line behind it.
static NOTHING: [u8; MAX_DIM / 8 + SLACK] = [0; MAX_DIM / 8 + SLACK];

/// Rows of different lengths, opened.
#[derive(Clone, Copy, Debug)]
pub struct Ragged<'a, K> {
    head: Head<'a>,
    index: &'a [u32],
    payload: &'a [u8],
    sizes: Sizes,
    kept: PhantomData<K>,
}

impl<'a, K: Kept> Ragged<'a, K> {
    /// Opens `n_rows` rows, the first `n_head` of which are in the head.
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        (n_head, n_rows): (usize, usize),
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let sizes = Sizes::new::<K>(values, dim);
        let n_blocks = n_rows.saturating_sub(n_head).div_ceil(BLOCK).max(1);
        let shape = [Some(n_blocks), Some(sizes.width)];
        let ragged = Self {
            head: Head::open(tensors, n_head, values, dim)?,
            index: tensors.words(INDEX, Dtype::U32, &shape)?,
            payload: tensors.bytes("", Dtype::U8, &[None])?,
            sizes,
            kept: PhantomData,
        };
        ragged.check()?;
        Ok(ragged)
    }

    /// Every record has to begin where the longest read still ends within the payload.
    fn check(&self) -> Result<(), FormError> {
        let room = self.payload.len().checked_sub(self.sizes.tail);
        let room = room.ok_or_else(|| {
            let expected = format!("at least {} bytes", self.sizes.tail);
            FormError::new("", expected, self.payload.len())
        })?;
        let weights = self.sizes.weights.iter().map(|&w| w as usize);
        let most = BLOCK * weights.sum::<usize>();
        for (i, block) in self.index.chunks_exact(self.sizes.width).enumerate() {
            let start = block[0] as usize * ALIGN;
            // Of blocks that are far from the end whatever they hold nothing has to be counted.
            if start + most <= room {
                continue;
            }
            let end = start + self.bytes_below(block, u32::MAX);
            if end > room {
                let expected = format!("records of block {i} within {room} bytes");
                return Err(FormError::new(INDEX, expected, end));
            }
        }
        Ok(())
    }

    /// Bytes of the records of a block's rows whose bits are set.
    fn bytes_below(&self, block: &[u32], bits: u32) -> usize {
        let planes = block[1..].iter().zip(&self.sizes.weights[1..]);
        let bytes = planes.map(|(p, &weight)| (p & bits).count_ones() as usize * weight as usize);
        bytes.sum()
    }

    /// The rows that stand apart.
    pub fn head(&self) -> Head<'a> {
        self.head
    }

    /// The block and the bit of a row behind the head.
    #[inline(always)]
    fn place(&self, row: u32) -> (&'a [u32], u32) {
        let row = row - self.head.n_rows();
        let block = row as usize / BLOCK * self.sizes.width;
        (&self.index[block..][..self.sizes.width], row % BLOCK as u32)
    }
}

/// The number of values a row keeps, from its bits in all planes: that number less one in the upper bits, behind a
/// bit that says whether there are any.
#[inline(always)]
fn n_kept(bits: u32) -> u32 {
    (bits >> 1) + (bits & 1)
}

// SAFETY: `check` has seen that the end of every block's records leaves room for the longest read; a
// record begins before that end. The longest read is that of as many values as the planes can count. The
// head has whole rows; a row that is absent keeps nothing.
unsafe impl<K: Kept> Storage for Ragged<'_, K> {
    const MARKS: Marks = K::MARKS;
    const INDIRECT: bool = true;

    #[inline(always)]
    fn base(&self) -> *const u8 {
        self.payload.as_ptr()
    }

    #[inline(always)]
    fn straddles(&self) -> bool {
        true
    }

    #[inline(always)]
    fn prefetch_index(&self, row: u32) {
        let block = (row - self.head.n_rows()) as usize / BLOCK * self.sizes.width;
        prefetch_line(self.index.as_ptr().wrapping_add(block));
    }

    #[inline(always)]
    unsafe fn locate<L: Lanes>(&self, row: u32) -> Record {
        let behind = row - self.head.n_rows();
        let weights = self.sizes.weights[1..].as_ptr();
        // SAFETY: the row exists, so there is a block for it, with a word and as many planes, and weights
        // for 16.
        let (start, (bytes, bits)) = unsafe {
            let block = behind as usize / BLOCK * self.sizes.width;
            let block = self.index.as_ptr().add(block);
            let at = behind % BLOCK as u32;
            (
                *block,
                L::weigh(block.add(1), weights, self.sizes.n_planes, at),
            )
        };
        let start = start as usize * ALIGN + bytes as usize;
        let kept = n_kept(bits);
        let at = self.payload.as_ptr().wrapping_add(start);
        // Without a branch, which would be hard to predict, and nothing far away for nothing.
        let at = select_unpredictable(kept == 0, NOTHING.as_ptr(), at);
        Record::kept(at, kept)
    }

    #[inline(always)]
    unsafe fn locate_block<L: Lanes, const ONE_LINE: bool>(
        &self,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        if self.sizes.width != HALF_LINE {
            // SAFETY: said by the caller.
            return unsafe { locate_each::<L, Self>(self, rows, records, first) };
        }
        let behind = rows.map(|row| row - self.head.n_rows());
        let weights = self.sizes.weights.first_chunk().expect("17 weights");
        let blocks = self.index.as_ptr().cast();
        // SAFETY: the rows exist, so there is a block of 8 words for each.
        let weighed = unsafe { L::weigh_blocks(blocks, &behind, weights, self.sizes.n_planes) };
        let nothing = NOTHING.as_ptr().addr().wrapping_sub(self.base().addr()) as u64;
        for i in 0..LANES {
            let start = u64::from(weighed.first[i]) * ALIGN as u64 + u64::from(weighed.sum[i]);
            let kept = n_kept(weighed.number[i]);
            let start = select_unpredictable(kept == 0, nothing, start);
            records.put(first + i, start, kept, 0);
        }
    }

    fn row(&self, row: u32) -> StoredRow<'_> {
        if self.head.has(row) {
            return self.head.stored(row);
        }
        let (block, at) = self.place(row);
        let bit = |plane: u32| (plane >> at & 1) as usize;
        if bit(block[1]) == 0 {
            return StoredRow::EMPTY;
        }
        // Words behind the planes count nothing.
        let bits = block[2..=self.sizes.n_planes].iter().enumerate();
        let kept = 1 + bits.map(|(p, &plane)| bit(plane) << p).sum::<usize>();
        let start = block[0] as usize * ALIGN + self.bytes_below(block, (1 << at) - 1);
        let marks = match K::MARKS {
            Marks::Columns => kept,
            _ => self.sizes.mask,
        };
        let (marks, values) = self.payload[start..].split_at(marks);
        StoredRow {
            marks: (K::MARKS, marks),
            kept,
            values,
        }
    }
}
