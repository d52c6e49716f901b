//! One step over all touched rows.

use super::decay::decay;
use super::rules::Rule;
use super::slots::Slots;
use super::view::Part;
use crate::prefetch::AHEAD;
use crate::{BatchIndex, Table};

/// Rows one task updates.
const ROWS_PER_TASK: usize = 1024;

/// One step of all tables; what its tasks share.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub index: &'a BatchIndex,
    /// `Σ ln(1 − lr·λ)` up to and including this step.
    pub decay_log: f64,
}

impl Step<'_> {
    /// Updates the touched rows of all tables; `gradients` has those of each table one after the other.
    pub fn run(
        self,
        rule: impl Rule,
        tables: &mut [Table],
        slots: &mut [Slots],
        gradients: &[f32],
    ) {
        self.fields(rule, 0, tables, slots, gradients);
    }

    /// Updates the tables from field `first` on, as many as are given.
    ///
    /// Fields are halved until few rows are left or one field; then its rows are. They rise, so the halves
    /// are apart in memory.
    fn fields(
        self,
        rule: impl Rule,
        first: usize,
        tables: &mut [Table],
        slots: &mut [Slots],
        mut gradients: &[f32],
    ) {
        let span = self.index.span_of(first..first + tables.len());
        if tables.len() > 1 && span.len() > ROWS_PER_TASK {
            let n_left = tables.len() / 2;
            let (left_tables, right_tables) = tables.split_at_mut(n_left);
            let (left_slots, right_slots) = slots.split_at_mut(n_left);
            let (left, right) = gradients.split_at(self.n_values(first, left_tables));
            rayon::join(
                || self.fields(rule, first, left_tables, left_slots, left),
                || self.fields(rule, first + n_left, right_tables, right_slots, right),
            );
            return;
        }
        for (f, (table, slots)) in (first..).zip(tables.iter_mut().zip(slots)) {
            let (rows, dim) = (self.index.rows(f), table.dim());
            let (own, rest) = gradients.split_at(rows.len() * dim);
            gradients = rest;
            self.rows(rule, Part::new(table, slots), rows, own, dim);
        }
    }

    /// Values of the gradients of the tables from field `first` on.
    fn n_values(self, first: usize, tables: &[Table]) -> usize {
        let tables = tables.iter().zip(first..);
        let sizes = tables.map(|(table, f)| self.index.rows(f).len() * table.dim());
        sizes.sum()
    }

    fn rows(self, rule: impl Rule, part: Part<'_>, rows: &[u32], gradients: &[f32], dim: usize) {
        if rows.len() > ROWS_PER_TASK {
            let (left_rows, right_rows) = rows.split_at(rows.len() / 2);
            let (left, right) = gradients.split_at(left_rows.len() * dim);
            let (left_part, right_part) = part.split_at(right_rows[0]);
            rayon::join(
                || self.rows(rule, left_part, left_rows, left, dim),
                || self.rows(rule, right_part, right_rows, right, dim),
            );
            return;
        }
        match dim {
            8 => self.update(rule, part, rows, gradients, 8),
            16 => self.update(rule, part, rows, gradients, 16),
            32 => self.update(rule, part, rows, gradients, 32),
            64 => self.update(rule, part, rows, gradients, 64),
            _ => self.update(rule, part, rows, gradients, dim),
        }
    }

    /// Inlined for every known `dim`, so that a row is a few whole registers.
    #[inline(always)]
    fn update<R: Rule>(
        self,
        rule: R,
        mut part: Part<'_>,
        rows: &[u32],
        gradients: &[f32],
        dim: usize,
    ) {
        if part.decayed.width() > 0 {
            for &row in rows {
                let had = part.decayed.row(row, 2);
                decay(had, part.w.row(row, dim), self.decay_log);
            }
        }
        let n_floats = R::n_floats(dim);
        for (i, (&row, gradient)) in rows.iter().zip(gradients.chunks_exact(dim)).enumerate() {
            if let Some(&row) = rows.get(i + AHEAD) {
                part.prefetch(row, dim, n_floats, R::N_WORDS);
            }
            let w = part.w.row(row, dim);
            let floats = part.floats.row(row, n_floats);
            let words = part.words.row(row, R::N_WORDS);
            rule.update(w, gradient, floats, words);
        }
    }
}
