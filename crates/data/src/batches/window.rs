//! The order of rows: permuted blocks, shuffled windows.

use slimbed_rng::Permutation;

use super::{Batch, Order};
use crate::DataError;
use crate::pack::PackReader;

/// Rows of some blocks in the order in which they are handed out.
pub struct Window {
    rows: Batch,
    /// Rows still to be handed out, last first.
    order: Vec<u32>,
}

impl Window {
    /// Moves up to `n` rows to the end of `batch`.
    pub fn drain_into(&mut self, batch: &mut Batch, n: usize) {
        for _ in 0..n {
            let Some(row) = self.order.pop() else { return };
            batch.extend(&self.rows, row as usize..row as usize + 1);
        }
    }

    /// Whether all rows have been handed out.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Leaves out the next `n` rows.
    pub fn skip(&mut self, n: usize) {
        self.order.truncate(self.order.len().saturating_sub(n));
    }
}

/// Cuts a pack into windows.
pub struct Windows<'a> {
    pack: &'a PackReader,
    order: Order,
    permutation: Option<Permutation>,
}

impl<'a> Windows<'a> {
    /// The windows of a pass over `pack`.
    pub fn new(pack: &'a PackReader, order: Order) -> Self {
        let permutation =
            match order {
                Order::Shuffled { seed, epoch, .. } if pack.n_blocks() > 0 => Some(
                    Permutation::new(pack.n_blocks() as u64, seed, "shuffle/blocks", epoch),
                ),
                _ => None,
            };
        Self {
            pack,
            order,
            permutation,
        }
    }

    /// Number of windows.
    pub fn n(&self) -> usize {
        self.pack.n_blocks().div_ceil(self.size())
    }

    /// Rows of window `w`.
    pub fn n_rows(&self, w: usize) -> usize {
        self.blocks(w)
            .map(|block| self.pack.block_rows(block))
            .sum()
    }

    /// Reads window `w`.
    pub fn read(&self, w: usize) -> Result<Window, DataError> {
        let mut rows = Batch::empty(self.pack.schema());
        for block in self.blocks(w) {
            let block_rows = self.pack.read_block(block)?;
            rows.extend(&block_rows, 0..block_rows.n);
        }
        let mut order: Vec<u32> = (0..rows.n as u32).rev().collect();
        if let Order::Shuffled { seed, epoch, .. } = self.order {
            seed.stream(&format!("shuffle/rows/{epoch}"), w as u64)
                .shuffle(&mut order);
        }
        Ok(Window { rows, order })
    }

    fn size(&self) -> usize {
        match self.order {
            Order::Sequential => 1,
            Order::Shuffled { window_blocks, .. } => window_blocks.max(1),
        }
    }

    fn blocks(&self, w: usize) -> impl Iterator<Item = usize> {
        let end = ((w + 1) * self.size()).min(self.pack.n_blocks());
        (w * self.size()..end).map(|i| match &self.permutation {
            Some(permutation) => permutation.apply(i as u64) as usize,
            None => i,
        })
    }
}
