//! One bit for every row, with rank: empty rows cost next to nothing.
//!
//! `[blocks, 2]` words of 32 bits, a block for every 32 rows: how many rows are present before the block,
//! and the bits of its rows. Row `r`, if its bit is set, is row `before + popcount(bits below it)` of what
//! is stored. Rows of a head, which are all stored, come before and have no bits.

use safetensors::tensor::Dtype;

use super::{ABSENT, Buffer, Data, Tensors};
use crate::error::FormError;
use crate::lookup::{Isa, Lanes, Work};
use crate::prefetch::prefetch_line;
use crate::rows::{Rows, is_kept};

const SUFFIX: &str = ".present";
const BLOCK: usize = 32;

/// Which rows are stored.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a> {
    n_head: u32,
    blocks: &'a [[u32; 2]],
}

/// The numbers of the rows of the head and of those that have kept values.
pub fn present_rows(rows: Rows<'_>, n_head: usize) -> Vec<u32> {
    let stored = |(i, row): &(usize, &[f32])| *i < n_head || row.iter().any(|&x| is_kept(x));
    let present = rows.iter().enumerate().filter(stored);
    present.map(|(i, _)| i as u32).collect()
}

/// Bytes for `n_rows` rows behind the head.
pub fn n_bytes(n_rows: usize) -> usize {
    n_rows.div_ceil(BLOCK).max(1) * size_of::<[u32; 2]>()
}

/// The blocks for `present`, in rising order, the head's first, out of `n_rows` rows.
pub fn encode(present: &[u32], n_head: usize, n_rows: usize) -> Buffer<'static> {
    let n_blocks = (n_rows - n_head).div_ceil(BLOCK).max(1);
    let mut words = vec![0_u32; 2 * n_blocks];
    for &row in &present[n_head..] {
        let row = row as usize - n_head;
        words[2 * (row / BLOCK) + 1] |= 1 << (row % BLOCK);
    }
    let mut before = 0;
    for block in words.chunks_exact_mut(2) {
        block[0] = before;
        before += block[1].count_ones();
    }
    Buffer::new(SUFFIX, &[n_blocks, 2], Data::U32(words))
}

impl<'a> Presence<'a> {
    /// Opens the bits of `n_rows` rows, the first `n_head` of which have none; `n_present` are stored.
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        (n_head, n_rows): (usize, usize),
        n_present: usize,
    ) -> Result<Self, FormError> {
        let shape = [
            Some(n_rows.saturating_sub(n_head).div_ceil(BLOCK).max(1)),
            Some(2),
        ];
        let words: &[u32] = tensors.words(SUFFIX, Dtype::U32, &shape)?;
        let presence = Self {
            n_head: n_head as u32,
            blocks: words.as_chunks().0,
        };
        let n_present = n_present.saturating_sub(n_head);
        let mut good = false;
        let check = Check {
            presence,
            n_present,
            good: &mut good,
        };
        check.run_on(Isa::best());
        if !good {
            presence.check(n_present)?;
        }
        Ok(presence)
    }

    /// Whether all counts are right: each is compared with the one before, so nothing waits for a sum.
    ///
    /// Fewer than 2³² rows are before any block, so counts do not turn over.
    #[inline(always)]
    fn is_good(&self, n_present: usize) -> bool {
        let behind = |[before, bits]: [u32; 2]| before.wrapping_add(bits.count_ones());
        let pairs = self.blocks.windows(2);
        let n_wrong: usize = pairs.map(|w| usize::from(behind(w[0]) != w[1][0])).sum();
        let ends = (self.blocks.first(), self.blocks.last());
        let (Some(&[first, _]), Some(&[before, bits])) = ends else {
            return n_present == 0;
        };
        let end = u64::from(before) + u64::from(bits.count_ones());
        n_wrong == 0 && first == 0 && end == n_present as u64
    }

    /// Looks for the first count that is wrong.
    fn check(&self, n_present: usize) -> Result<(), FormError> {
        let mut before = 0_u64;
        for (i, &[found, bits]) in self.blocks.iter().enumerate() {
            if u64::from(found) != before {
                let expected = format!("{before} rows before block {i}");
                return Err(FormError::new(SUFFIX, expected, found));
            }
            before += u64::from(bits.count_ones());
        }
        if before != n_present as u64 {
            let expected = format!("{n_present} present rows");
            return Err(FormError::new(SUFFIX, expected, before));
        }
        Ok(())
    }

    /// Asks for the block of `row`.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        let row = row.saturating_sub(self.n_head) as usize;
        prefetch_line(self.blocks.as_ptr().wrapping_add(row / BLOCK));
    }

    /// The number of `row` among the stored ones, or [`ABSENT`].
    #[inline(always)]
    pub fn rank(&self, row: u32) -> u32 {
        self.rank_in(row, self.block(row))
    }

    /// The block of `row`, or any if it is in the head.
    #[inline(always)]
    fn block(&self, row: u32) -> [u32; 2] {
        // Without a branch: which rows are looked up is hard to predict. There is a block for row 0.
        self.blocks[row.saturating_sub(self.n_head) as usize / BLOCK]
    }

    /// The rank of `row`, whose block is given.
    #[inline(always)]
    fn rank_in(&self, row: u32, [before, bits]: [u32; 2]) -> u32 {
        let at = row.wrapping_sub(self.n_head) % BLOCK as u32;
        let rank = self.n_head + before + (bits & ((1 << at) - 1)).count_ones();
        let set = (bits >> at & 1).wrapping_neg();
        let stored = rank & set | ABSENT & !set;
        if row < self.n_head { row } else { stored }
    }

    /// Every row's number among the stored ones, or [`ABSENT`], for as many ids.
    pub fn ranks(self, ids: &[u32], out: &mut Vec<u32>, isa: Isa) {
        let presence = self;
        Ranks { presence, ids, out }.run_on(isa);
    }
}

/// Counts the present rows with the processor's instructions that count bits.
struct Check<'c, 'a> {
    presence: Presence<'a>,
    n_present: usize,
    good: &'c mut bool,
}

impl Work for Check<'_, '_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        *self.good = self.presence.is_good(self.n_present);
    }
}

struct Ranks<'r> {
    presence: Presence<'r>,
    ids: &'r [u32],
    out: &'r mut Vec<u32>,
}

impl Work for Ranks<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // In two loops: the first one does nothing but load, the second becomes one over whole registers.
        const GROUP: usize = 64;
        let presence = &self.presence;
        self.out.clear();
        let (groups, rest) = self.ids.as_chunks::<GROUP>();
        for (i, group) in groups.iter().enumerate() {
            let next = self.ids[(i + 1) * GROUP..].iter().take(GROUP);
            next.for_each(|&row| presence.prefetch(row));
            let mut blocks = [[0; 2]; GROUP];
            for (block, &row) in blocks.iter_mut().zip(group) {
                *block = presence.block(row);
            }
            let mut ranks = [0; GROUP];
            for (rank, (&row, block)) in ranks.iter_mut().zip(group.iter().zip(blocks)) {
                *rank = presence.rank_in(row, block);
            }
            self.out.extend_from_slice(&ranks);
        }
        self.out.extend(rest.iter().map(|&row| presence.rank(row)));
    }
}
