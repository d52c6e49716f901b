//! Few values of many rows: Elias-Fano's code of the places of all kept values.
//!
//! The place of a kept value is `row · dim + column`. Its lower part, the column, takes
//! `⌈log2 dim⌉` bits in `.columns`; the upper part, the row, is unary in `.rows`: for every row as many ones
//! as it keeps values, then a zero. `.index` has a word for every 128 rows (and one at the end): the number
//! of values kept before them, so row `128·b` begins at bit `128·b + index[b]`. That is
//! `1 + density · dim · (1 + ⌈log2 dim⌉)` bits a row, within some percent of the entropy of a mask whose
//! places are independent.
//!
//! Rows of a head come before and are in none of this.
//!
//! Values stand one after the other in the main tensor. Integers have scale and bias for each block of
//! 128 rows (`.affine`, two f16), since most rows keep less than one value.
//!
//! P. Elias, Efficient storage and retrieval by content and address of static files, J. ACM 21 (1974).

use safetensors::tensor::Dtype;

use super::head::Head;
use super::{ABSENT, StoredRow, Tensors};
use crate::error::FormError;
use crate::lookup::{Isa, Lanes, Work};
use crate::prefetch::prefetch_line;
use crate::values::{AFFINE_BYTES, Affine, Values};

mod write;

pub use write::{encode, n_bytes};

const INDEX: &str = ".index";
const ROWS: &str = ".rows";
const COLUMNS: &str = ".columns";
const AFFINE: &str = ".affine";
/// Rows of a block.
const BLOCK: usize = 128;
const WORD: usize = 64;
const CACHE_LINE: usize = 64;
/// Words whose ones are counted together when a table is opened.
const COUNTED: usize = 256;

/// Bits of a column.
fn column_bits(dim: usize) -> usize {
    (usize::BITS - (dim - 1).leading_zeros()) as usize
}

/// Few values of many rows, opened.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    head: Head<'a>,
    index: &'a [u32],
    rows: &'a [u64],
    columns: &'a [u64],
    column_bits: usize,
    affine: &'a [u8],
    packed: &'a [u8],
    values: Values,
}

/// The kept values of a row.
#[derive(Clone, Copy, Debug)]
pub enum Run<'a> {
    /// Every value, in the head.
    Head(StoredRow<'a>),
    /// Values of the rows behind.
    Kept {
        /// Number of the first among all kept values.
        first: usize,
        /// How many.
        kept: usize,
        /// The block of the row, which has scale and bias of integers.
        block: usize,
    },
}

impl Run<'_> {
    /// No value.
    pub const EMPTY: Self = Self::Kept {
        first: 0,
        kept: 0,
        block: 0,
    };
}

impl<'a> Positions<'a> {
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        (n_head, n_rows): (usize, usize),
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let n_rows = n_rows.saturating_sub(n_head);
        let n_blocks = n_rows.div_ceil(BLOCK);
        let index: &[u32] = tensors.words(INDEX, Dtype::U32, &[Some(n_blocks + 1)])?;
        let n_kept = index[n_blocks] as usize;
        let words = |bits: usize| Some(bits.div_ceil(WORD) + 1);
        let bits = column_bits(dim);
        let affine = match values.is_integer() {
            true => tensors.bytes(AFFINE, Dtype::U8, &[Some(n_blocks), Some(AFFINE_BYTES)])?,
            false => &[],
        };
        let positions = Self {
            head: Head::open(tensors, n_head, values, dim)?,
            index,
            rows: tensors.words(ROWS, Dtype::U64, &[words(n_rows + n_kept)])?,
            columns: tensors.words(COLUMNS, Dtype::U64, &[words(n_kept * bits)])?,
            column_bits: bits,
            affine,
            packed: tensors.bytes("", Dtype::U8, &[Some(values.packed_bytes(n_kept))])?,
            values,
        };
        positions.check(n_rows)?;
        Ok(positions)
    }

    /// Every block has to have as many ones as the index says, and a zero for each of its rows.
    fn check(&self, n_rows: usize) -> Result<(), FormError> {
        let mut good = false;
        let check = Check {
            positions: self,
            n_rows,
            good: &mut good,
        };
        check.run_on(Isa::best());
        if good {
            return Ok(());
        }
        if let Some(b) = self.bad_block(n_rows) {
            let expected = format!("the ones of block {b} in .rows");
            let found = format!("{:?}", &self.index[b..b + 2]);
            return Err(FormError::new(INDEX, expected, found));
        }
        Err(FormError::new(INDEX, 0, self.index[0]))
    }

    /// Whether the ones before every block are those of the index.
    ///
    /// They are counted word after word, whatever block they are in: how many words a block has is hard to
    /// predict.
    #[inline(always)]
    fn is_good(&self, n_rows: usize) -> bool {
        let rising = self
            .index
            .windows(2)
            .fold(true, |so, w| so & (w[0] <= w[1]));
        if !rising {
            return false;
        }
        let begin = |b: usize| (BLOCK * b).min(n_rows) + self.index[b] as usize;
        let (mut good, mut b, mut ones) = (true, 0, 0);
        for (i, words) in self.rows.chunks(COUNTED).enumerate() {
            // Bits of these words; blocks rise, so all that begin before them have been looked at.
            let (first, end) = (i * COUNTED * WORD, (i * COUNTED + words.len()) * WORD);
            let mut before = [0_u32; COUNTED];
            for (before, word) in before.iter_mut().zip(words) {
                *before = ones;
                ones = ones.wrapping_add(word.count_ones());
            }
            while b < self.index.len() && begin(b) < end {
                let at = begin(b) - first;
                let below = words[at / WORD] & ((1 << (at % WORD)) - 1);
                let found = before[at / WORD].wrapping_add(below.count_ones());
                good &= found == self.index[b];
                b += 1;
            }
        }
        good && b == self.index.len()
    }

    /// The first block whose ones are not those of the index.
    fn bad_block(&self, n_rows: usize) -> Option<usize> {
        let last = self.index[self.index.len() - 1];
        self.index.windows(2).enumerate().position(|(b, pair)| {
            let (first, end) = (BLOCK * b, (BLOCK * (b + 1)).min(n_rows));
            let (from, to) = (first + pair[0] as usize, end + pair[1] as usize);
            let n = pair[1].checked_sub(pair[0]);
            !n.is_some_and(|n| pair[1] <= last && self.ones(from, to) == n as usize)
        })
    }

    /// Number of ones among the bits `from..to` of the unary numbers.
    fn ones(&self, from: usize, to: usize) -> usize {
        let below = |at: usize| {
            let word = self.rows.get(at / WORD).copied().unwrap_or(0);
            (word & ((1 << (at % WORD)) - 1)).count_ones() as usize
        };
        let whole = self.rows.get(from / WORD..to / WORD).unwrap_or(&[]);
        let whole: usize = whole.iter().map(|word| word.count_ones() as usize).sum();
        // Ones before `from` in its word are among those of `whole`, or else of the word of `to`.
        (whole + below(to)).saturating_sub(below(from))
    }

    /// The 64 bits from bit `at` of the unary numbers.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        read(self.rows, at)
    }

    /// The rows that stand apart.
    pub fn head(&self) -> Head<'a> {
        self.head
    }

    /// Asks for the index of a row behind the head.
    #[inline(always)]
    pub fn prefetch_index(&self, row: u32) {
        // Of a row in the head that of the first block: nothing far away.
        let row = row.saturating_sub(self.head.n_rows());
        prefetch_line(self.index.as_ptr().wrapping_add(row as usize / BLOCK));
    }

    /// Asks for the unary numbers that finding `row` will read.
    #[inline(always)]
    pub fn prefetch_rows(&self, row: u32) {
        if row != ABSENT && !self.head.has(row) {
            let row = (row - self.head.n_rows()) as usize;
            let bit = row / BLOCK * BLOCK + self.index[row / BLOCK] as usize;
            prefetch_line(self.rows.as_ptr().wrapping_add(bit / WORD));
            prefetch_line(self.rows.as_ptr().wrapping_add(bit / WORD + 4));
        }
    }

    /// Asks for columns and values.
    #[inline(always)]
    pub fn prefetch_values(&self, run: Run<'_>) {
        match run {
            Run::Head(row) => {
                let lines = row.values.chunks(CACHE_LINE);
                lines.for_each(|line| prefetch_line(line.as_ptr()));
            }
            Run::Kept { first, kept, .. } if kept > 0 => {
                let word = first * self.column_bits / WORD;
                prefetch_line(self.columns.as_ptr().wrapping_add(word));
                let byte = self.values.bits() * first / 8;
                prefetch_line(self.packed.as_ptr().wrapping_add(byte));
            }
            Run::Kept { .. } => {}
        }
    }

    /// Finds a row that exists, or is [`ABSENT`].
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn locate<L: Lanes>(&self, row: u32) -> Run<'a> {
        if self.head.has(row) {
            return Run::Head(self.head.stored(row));
        }
        if row == ABSENT {
            return Run::EMPTY;
        }
        let row = (row - self.head.n_rows()) as usize;
        let (block, zeros) = (row / BLOCK, row % BLOCK);
        let before = self.index[block] as usize;
        let start = BLOCK * block + before;
        // SAFETY: said above.
        let row_start = unsafe { self.after_zeros::<L>(start, zeros) };
        Run::Kept {
            first: before + (row_start - start - zeros),
            kept: self.run_len(row_start),
            block,
        }
    }

    /// Scale and bias of a block's integers.
    #[inline(always)]
    pub fn affine(&self, block: usize) -> Affine {
        let at = block * AFFINE_BYTES;
        match self.affine.get(at..at + AFFINE_BYTES) {
            Some(bytes) => Affine::read(bytes),
            None => Affine::default(),
        }
    }

    /// Hands every column and value of a row to `take`, values in units of the table.
    #[inline(always)]
    pub fn for_each(&self, run: Run<'_>, mut take: impl FnMut(usize, f32)) {
        match run {
            Run::Head(row) => {
                let (affine, packed) = row.values.split_at(self.values.fixed_bytes());
                let affine = match self.values.is_integer() {
                    true => Affine::read(affine),
                    false => Affine::default(),
                };
                for column in 0..row.kept {
                    take(column, self.values.read(packed, column, affine));
                }
            }
            Run::Kept { first, kept, block } => {
                let affine = self.affine(block);
                for i in first..first + kept {
                    take(self.column(i), self.values.read(self.packed, i, affine));
                }
            }
        }
    }

    /// The bit behind the `n`-th zero from bit `at`.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn after_zeros<L: Lanes>(&self, mut at: usize, n: usize) -> usize {
        let mut left = n;
        while left > 0 {
            let zeros = !self.word(at);
            let found = zeros.count_ones() as usize;
            if found >= left {
                // SAFETY: said above.
                return at + unsafe { L::select(zeros, left - 1) } + 1;
            }
            left -= found;
            at += WORD;
        }
        at
    }

    /// Number of ones from bit `at` to the next zero.
    #[inline(always)]
    fn run_len(&self, at: usize) -> usize {
        let mut n = 0;
        loop {
            let ones = self.word(at + n).trailing_ones() as usize;
            n += ones;
            if ones < WORD {
                return n;
            }
        }
    }

    /// The column of kept value number `i`.
    #[inline(always)]
    fn column(&self, i: usize) -> usize {
        let mask = (1 << self.column_bits) - 1;
        (read(self.columns, i * self.column_bits) & mask) as usize
    }
}

/// Looks for a bad block with the processor's instructions that count bits.
struct Check<'c, 'a> {
    positions: &'c Positions<'a>,
    n_rows: usize,
    good: &'c mut bool,
}

impl Work for Check<'_, '_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        *self.good = self.positions.is_good(self.n_rows);
    }
}

/// The 64 bits from bit `at` on; 0 beyond the end.
#[inline(always)]
fn read(words: &[u64], at: usize) -> u64 {
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    let (i, shift) = (at / WORD, at % WORD);
    // Shifting in two steps: a shift by 64 does not exist.
    word(i) >> shift | word(i + 1) << (WORD - 1 - shift) << 1
}
