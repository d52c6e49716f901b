//! Writes the tensors of `positions`.

use super::{AFFINE, BLOCK, COLUMNS, INDEX, ROWS, WORD, column_bits};
use crate::error::EncodeError;
use crate::rows::{Rows, is_kept};
use crate::structure::head;
use crate::structure::{Buffer, Data, Form};
use crate::values::{AFFINE_BYTES, Affine, Values};

/// Bytes for `n_kept` values of `n_rows` rows.
pub fn n_bytes(n_rows: usize, n_kept: usize, values: Values, dim: usize) -> usize {
    let n_blocks = n_rows.div_ceil(BLOCK);
    let words = |bits: usize| (bits.div_ceil(WORD) + 1) * size_of::<u64>();
    let affine = if values.is_integer() {
        n_blocks * AFFINE_BYTES
    } else {
        0
    };
    (n_blocks + 1) * size_of::<u32>()
        + words(n_rows + n_kept)
        + words(n_kept * column_bits(dim))
        + values.packed_bytes(n_kept)
        + affine
}

/// A string of bits in words; one word more than needed, so that two words can always be read.
#[derive(Debug)]
struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    fn new() -> Self {
        Self {
            words: vec![0],
            len: 0,
        }
    }

    /// Appends the low `n` bits of `bits`; the others are 0.
    fn push(&mut self, bits: u64, n: usize) {
        let at = self.len % WORD;
        self.words.resize((self.len + n) / WORD + 2, 0);
        let word = self.len / WORD;
        self.words[word] |= bits << at;
        if at + n > WORD {
            self.words[word + 1] |= bits >> (WORD - at);
        }
        self.len += n;
    }

    fn into_words(mut self) -> Vec<u64> {
        self.words.resize(self.len.div_ceil(WORD) + 1, 0);
        self.words
    }
}

/// Index, rows, columns, values, scale and bias of integers, and head.
pub fn encode<'a>(
    rows: Rows<'_>,
    n_head: usize,
    form: Form,
) -> Result<Vec<Buffer<'a>>, EncodeError> {
    let n_bits = column_bits(form.dim);
    let (mut unary, mut columns) = (Bits::new(), Bits::new());
    let (mut index, mut packed) = (Vec::new(), Packed::new(form));
    let mut n_kept = 0_usize;
    for (i, row) in rows.iter().skip(n_head).enumerate() {
        if i % BLOCK == 0 {
            index.push(count(n_kept)?);
            packed.end_block();
        }
        for (column, &x) in row.iter().enumerate().filter(|(_, x)| is_kept(**x)) {
            columns.push(column as u64, n_bits);
            unary.push(1, 1);
            packed.block.push(x);
            n_kept += 1;
        }
        unary.push(0, 1);
    }
    index.push(count(n_kept)?);
    let (unary, columns) = (unary.into_words(), columns.into_words());
    let mut buffers = vec![
        Buffer::new(INDEX, &[index.len()], Data::U32(index)),
        Buffer::new(ROWS, &[unary.len()], Data::U64(unary)),
        Buffer::new(COLUMNS, &[columns.len()], Data::U64(columns)),
    ];
    buffers.extend(packed.finish());
    buffers.extend(head::encode(rows, n_head, form));
    Ok(buffers)
}

fn count(n: usize) -> Result<u32, EncodeError> {
    let structure = "positions";
    u32::try_from(n).map_err(|_| EncodeError::TooLarge {
        structure,
        n_bytes: n * size_of::<f32>(),
    })
}

/// The values of all rows, block after block.
struct Packed {
    form: Form,
    /// Kept values of the block that is being read.
    block: Vec<f32>,
    scaled: Vec<f32>,
    affine: Vec<u8>,
    bytes: Vec<u8>,
    /// An int4 value that waits for the other half of its byte.
    half: Option<u8>,
    n_blocks: usize,
    begun: bool,
}

impl Packed {
    fn new(form: Form) -> Self {
        Self {
            form,
            block: Vec::new(),
            scaled: Vec::new(),
            affine: Vec::new(),
            bytes: Vec::new(),
            half: None,
            n_blocks: 0,
            begun: false,
        }
    }

    /// Writes the block read so far, if any was begun, and begins the next.
    fn end_block(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            return;
        }
        let block = self.form.in_units(&self.block, &mut self.scaled);
        let affine = match self.form.values.levels() {
            Some(levels) if !block.is_empty() => Affine::of(block, levels),
            _ => Affine::default(),
        };
        affine.write(&mut self.affine);
        let mut packed = Vec::new();
        self.form.values.write_packed(block, affine, &mut packed);
        let n = block.len();
        self.append(packed, n);
        self.block.clear();
        self.n_blocks += 1;
    }

    /// Appends `n` packed values; those of int4 may begin in the middle of a byte.
    fn append(&mut self, packed: Vec<u8>, n: usize) {
        if self.form.values != Values::Int4 {
            self.bytes.extend(packed);
            return;
        }
        for i in 0..n {
            let q = packed[i / 2] >> (4 * (i % 2)) & 15;
            match self.half.take() {
                None => self.half = Some(q),
                Some(low) => self.bytes.push(low | q << 4),
            }
        }
    }

    fn finish<'a>(mut self) -> Vec<Buffer<'a>> {
        self.end_block();
        self.bytes.extend(self.half);
        let values = Buffer::new("", &[self.bytes.len()], Data::U8(self.bytes));
        if !self.form.values.is_integer() {
            return vec![values];
        }
        let shape = [self.n_blocks, AFFINE_BYTES];
        vec![values, Buffer::new(AFFINE, &shape, Data::U8(self.affine))]
    }
}
