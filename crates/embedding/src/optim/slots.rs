//! The state an optimiser keeps beside a table.

use rayon::prelude::*;

use super::SparseRule;
use super::decay::decay;
use crate::state::StateElement;
use crate::{EmbeddingError, SavedState, StateTensor, Table};

/// Rows whose owed decay one task applies.
const ROWS_PER_TASK: usize = 1 << 14;

/// One named tensor of state.
#[derive(Debug)]
pub struct Slot<T> {
    name: &'static str,
    pub table: Table<T>,
}

/// The state of one table; a slot exists only when the rule needs it.
#[derive(Debug)]
pub struct Slots {
    /// Adagrad: squared gradients, `sum` `[n_rows, dim]`; row-wise `[n_rows, 1]`. Adam: both moments,
    /// first and second next to each other, `moments` `[n_rows, 2 · dim]`.
    pub floats: Option<Slot<f32>>,
    /// Adam: the step a row was last touched at, `last` `[n_rows, 1]`.
    pub words: Option<Slot<u32>>,
    /// Weight decay: `Σ ln(1 − lr·λ)` a row has had, an f64 in two halves, `decayed` `[n_rows, 2]`.
    pub decayed: Option<Slot<u32>>,
}

impl Slots {
    pub fn new(
        rule: SparseRule,
        decays: bool,
        n_rows: usize,
        dim: usize,
    ) -> Result<Self, EmbeddingError> {
        let floats = match rule {
            SparseRule::Sgd => None,
            SparseRule::Adagrad { .. } => Some(("sum", dim)),
            SparseRule::RowWiseAdagrad { .. } => Some(("sum", 1)),
            SparseRule::LazyAdam { .. } => Some(("moments", 2 * dim)),
        };
        let words = matches!(rule, SparseRule::LazyAdam { .. }).then_some(("last", 1));
        let decayed = decays.then_some(("decayed", 2));
        Ok(Self {
            floats: Slot::zeros(floats, n_rows)?,
            words: Slot::zeros(words, n_rows)?,
            decayed: Slot::zeros(decayed, n_rows)?,
        })
    }

    /// Applies to every row the weight decay it still owes.
    pub fn settle(&mut self, table: &mut Table, decay_log: f64) {
        let Some(decayed) = &mut self.decayed else {
            return;
        };
        let dim = table.dim().max(1);
        let had = decayed.table.values_mut().par_chunks_mut(2 * ROWS_PER_TASK);
        let w = table.values_mut().par_chunks_mut(dim * ROWS_PER_TASK);
        had.zip(w).for_each(|(had, w)| {
            let rows = had.chunks_exact_mut(2).zip(w.chunks_exact_mut(dim));
            rows.for_each(|(had, w)| decay(had, w, decay_log));
        });
    }

    pub fn state<'a>(&'a self, owner: &str) -> Vec<StateTensor<'a>> {
        let floats = self.floats.iter().map(|slot| slot.state(owner));
        let words = self.words.iter().map(|slot| slot.state(owner));
        let decayed = self.decayed.iter().map(|slot| slot.state(owner));
        floats.chain(words).chain(decayed).collect()
    }

    pub fn restore(&mut self, owner: &str, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let mut floats = self.floats.iter_mut();
        floats.try_for_each(|slot| slot.restore(owner, saved))?;
        let mut words = self.words.iter_mut().chain(&mut self.decayed);
        words.try_for_each(|slot| slot.restore(owner, saved))
    }
}

impl<T: StateElement> Slot<T> {
    fn zeros(
        name_and_dim: Option<(&'static str, usize)>,
        n_rows: usize,
    ) -> Result<Option<Self>, EmbeddingError> {
        let Some((name, dim)) = name_and_dim else {
            return Ok(None);
        };
        let table = Table::zeros(n_rows, dim)?;
        Ok(Some(Self { name, table }))
    }

    fn state(&self, owner: &str) -> StateTensor<'_> {
        self.table.state(format!("{owner}/{}", self.name))
    }

    fn restore(&mut self, owner: &str, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let name = format!("{owner}/{}", self.name);
        self.table.restore(&name, saved)
    }
}
