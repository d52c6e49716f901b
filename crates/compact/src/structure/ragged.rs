//! Rows of different lengths: `prefix` and `bitmap`.
//!
//! The payload holds the records of the rows, one after the other. In front of a bitmap's record stand
//! `⌈dim / 8⌉` bytes with a bit for every column; a row without kept values has neither. Behind the last
//! record is room for the longest read.
//!
//! The index has `[blocks, 1 + planes]` words of 32 bits, a block for every 32 rows: where the block's
//! first record begins, in words of 4 bytes, and plane `p`, whose bit `r` is bit `p` of the number of kept
//! values of row `r`. The bytes of a row are a weighted sum of the bits of that number (as an int4 record
//! has `⌈t / 2⌉` bytes, bit 0 weighs 1 there and bit `p` `2^(p-1)`), so popcounts of the planes' bits below
//! a row say where it begins. An index of 6 to 8 bits a row stays in the cache where the rows do not, and
//! no row is padded.

use std::marker::PhantomData;

use safetensors::tensor::Dtype;

use super::{ABSENT, Buffer, Data, Form, Record, Storage, Tensors};
use crate::error::{EncodeError, FormError};
use crate::prefetch::prefetch_bytes;
use crate::rows::{Rows, is_kept, prefix_len};
use crate::values::Values;

const INDEX: &str = ".index";
const BLOCK: usize = 32;
/// Records of a block begin at a multiple of this.
const ALIGN: usize = 4;
/// Dims have 16 bits.
const MAX_PLANES: usize = 16;
/// What a kernel may read beyond the longest record.
const SLACK: usize = 64;

/// Which values of a row are kept.
pub trait Kept: Copy + Sync + 'static {
    /// Whether records begin with a mask.
    const MASKED: bool;
    /// Its name in messages.
    const NAME: &'static str;

    /// The kept values of a row, to be found in `out` or in the row itself.
    fn kept<'a>(row: &'a [f32], out: &'a mut Vec<f32>) -> &'a [f32];
}

/// The first values of each row.
#[derive(Clone, Copy, Debug)]
pub struct Prefix;

/// Any values of each row.
#[derive(Clone, Copy, Debug)]
pub struct Bitmap;

impl Kept for Prefix {
    const MASKED: bool = false;
    const NAME: &'static str = "prefix";

    fn kept<'a>(row: &'a [f32], _: &'a mut Vec<f32>) -> &'a [f32] {
        &row[..prefix_len(row)]
    }
}

impl Kept for Bitmap {
    const MASKED: bool = true;
    const NAME: &'static str = "bitmap";

    fn kept<'a>(row: &'a [f32], out: &'a mut Vec<f32>) -> &'a [f32] {
        out.clear();
        out.extend(row.iter().copied().filter(|&x| is_kept(x)));
        out
    }
}

/// Sizes that follow from values and dim.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    n_planes: usize,
    /// Bytes of a row that keeps anything, beside its values.
    fixed: usize,
    /// Bytes that each bit of the number of kept values stands for.
    weights: [u32; MAX_PLANES],
    mask: usize,
    /// Room behind the last record.
    tail: usize,
}

impl Sizes {
    fn new<K: Kept>(values: Values, dim: usize) -> Self {
        let mask = if K::MASKED { dim.div_ceil(8) } else { 0 };
        let mut weights = [0; MAX_PLANES];
        for (p, weight) in weights.iter_mut().enumerate() {
            *weight = values.packed_bytes(1 << p) as u32;
        }
        Self {
            n_planes: n_planes(dim),
            fixed: mask + values.fixed_bytes(),
            weights,
            mask,
            tail: (mask + values.record_bytes(dim) + SLACK).next_multiple_of(SLACK),
        }
    }
}

/// Bits of the largest number of kept values.
fn n_planes(dim: usize) -> usize {
    (usize::BITS - dim.leading_zeros()) as usize
}

/// Bytes of index and payload for rows whose numbers of kept values have this histogram, of `dim + 1`
/// entries; those that keep fewer than `least` are not stored.
pub fn n_bytes<K: Kept>(histogram: &[usize], least: usize, values: Values) -> usize {
    let sizes = Sizes::new::<K>(values, histogram.len() - 1);
    let n_rows: usize = histogram[least..].iter().sum();
    let n_blocks = n_rows.div_ceil(BLOCK).max(1);
    let row = |t: usize| {
        if t == 0 {
            0
        } else {
            sizes.mask + values.record_bytes(t)
        }
    };
    let records: usize = histogram.iter().enumerate().map(|(t, n)| n * row(t)).sum();
    let all_aligned = !K::MASKED && values == Values::F32;
    let padding = if all_aligned {
        0
    } else {
        n_blocks * ALIGN * 3 / 8
    };
    n_blocks * (1 + sizes.n_planes) * 4 + records + padding + sizes.tail
}

/// Index and payload.
pub fn encode<'a, K: Kept>(rows: Rows<'_>, form: Form) -> Result<Vec<Buffer<'a>>, EncodeError> {
    let sizes = Sizes::new::<K>(form.values, form.dim);
    let width = 1 + sizes.n_planes;
    let n_blocks = rows.n_rows().div_ceil(BLOCK).max(1);
    let mut index = vec![0; n_blocks * width];
    let mut payload = Vec::new();
    let (mut scaled, mut kept) = (Vec::new(), Vec::new());
    for (i, row) in rows.iter().enumerate() {
        let block = &mut index[i / BLOCK * width..][..width];
        if i % BLOCK == 0 {
            payload.resize(payload.len().next_multiple_of(ALIGN), 0);
            block[0] = word(payload.len(), K::NAME)?;
        }
        let kept = K::kept(row, &mut kept);
        for (p, plane) in block[1..].iter_mut().enumerate() {
            *plane |= (kept.len() as u32 >> p & 1) << (i % BLOCK);
        }
        if K::MASKED && !kept.is_empty() {
            write_mask(row, &mut payload);
        }
        form.values
            .write_record(form.in_units(kept, &mut scaled), &mut payload);
    }
    payload.resize(payload.len().next_multiple_of(ALIGN) + sizes.tail, 0);
    Ok(vec![
        Buffer::new(INDEX, &[n_blocks, width], Data::U32(index)),
        Buffer::new("", &[payload.len()], Data::U8(payload)),
    ])
}

fn word(n_bytes: usize, structure: &'static str) -> Result<u32, EncodeError> {
    let word = u32::try_from(n_bytes / ALIGN);
    word.map_err(|_| EncodeError::TooLarge { structure, n_bytes })
}

fn write_mask(row: &[f32], out: &mut Vec<u8>) {
    let byte = |columns: &[f32]| {
        let bits = columns.iter().enumerate();
        bits.fold(0, |byte, (bit, &x)| byte | u8::from(is_kept(x)) << bit)
    };
    out.extend(row.chunks(8).map(byte));
}

/// Rows of different lengths, opened.
#[derive(Clone, Copy, Debug)]
pub struct Ragged<'a, K> {
    index: &'a [u32],
    payload: &'a [u8],
    sizes: Sizes,
    dim: u32,
    kept: PhantomData<K>,
}

impl<'a, K: Kept> Ragged<'a, K> {
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        n_rows: usize,
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let sizes = Sizes::new::<K>(values, dim);
        let n_blocks = n_rows.div_ceil(BLOCK).max(1);
        let shape = [Some(n_blocks), Some(1 + sizes.n_planes)];
        let ragged = Self {
            index: tensors.words(INDEX, Dtype::U32, &shape)?,
            payload: tensors.bytes("", Dtype::U8, &[None])?,
            sizes,
            dim: dim as u32,
            kept: PhantomData,
        };
        ragged.check()?;
        Ok(ragged)
    }

    /// Every record has to begin where the longest read still ends within the payload.
    fn check(&self) -> Result<(), FormError> {
        let room = self.payload.len().checked_sub(self.sizes.tail);
        let room = room.ok_or_else(|| {
            FormError::new(
                "",
                format!("at least {} bytes", self.sizes.tail),
                self.payload.len(),
            )
        })?;
        let blocks = self.index.chunks_exact(1 + self.sizes.n_planes);
        for (i, block) in blocks.enumerate() {
            let end = block[0] as usize * ALIGN + self.bytes_below(&block[1..], u32::MAX);
            if end > room {
                let expected = format!("records of block {i} within {room} bytes");
                return Err(FormError::new(INDEX, expected, end));
            }
        }
        Ok(())
    }

    /// Bytes of the records of a block's rows whose bits are set in `below`.
    #[inline(always)]
    fn bytes_below(&self, planes: &[u32], below: u32) -> usize {
        let (mut any, mut bytes) = (0, 0);
        for (&plane, &weight) in planes.iter().zip(&self.sizes.weights) {
            let plane = plane & below;
            any |= plane;
            bytes += plane.count_ones() as usize * weight as usize;
        }
        bytes + any.count_ones() as usize * self.sizes.fixed
    }
}

// SAFETY: `check` has seen that the end of every block's records leaves room for the longest read; a
// record begins before that end. A mask has at most `dim` columns that a kernel looks at, and `kept` is
// held below `dim`.
unsafe impl<K: Kept> Storage for Ragged<'_, K> {
    const MASKED: bool = K::MASKED;
    const INDIRECT: bool = true;

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.payload
    }

    #[inline(always)]
    fn prefetch_index(&self, row: u32) {
        let width = 1 + self.sizes.n_planes;
        let block = self
            .index
            .as_ptr()
            .wrapping_add(row as usize / BLOCK * width);
        prefetch_bytes(block.cast(), width * size_of::<u32>());
    }

    #[inline(always)]
    fn locate(&self, row: u32) -> Record {
        if row == ABSENT {
            return Record::default();
        }
        let width = 1 + self.sizes.n_planes;
        let block = &self.index[row as usize / BLOCK * width..][..width];
        let (at, planes) = (row % BLOCK as u32, &block[1..]);
        let mut kept = 0;
        for (p, &plane) in planes.iter().enumerate() {
            kept |= (plane >> at & 1) << p;
        }
        let kept = kept.min(self.dim);
        Record {
            start: block[0] as usize * ALIGN + self.bytes_below(planes, (1 << at) - 1),
            kept,
            // Nearly: an int4 record may end half a byte earlier.
            bytes: self.sizes.fixed as u32 + kept * self.sizes.weights[1] / 2 + 1,
        }
    }
}
