//! How many values are left, and which to keep within a budget.

use rayon::prelude::*;
use slimbed_embedding::{EmbeddingLayer, Mask};
use smallvec::{SmallVec, smallvec};

use crate::PepEmbedding;
use crate::select::{Counts, Cut, Pass, cut_below, key_of};

/// Rows one task works on.
const ROWS_PER_TASK: usize = 1 << 12;

/// Some rows of one field, from `first` to before `end`.
#[derive(Clone, Copy)]
struct Task {
    f: usize,
    first: usize,
    end: usize,
}

/// The last value that is kept of those equal to the smallest kept: by field, row and column.
type Place = (usize, usize, usize);

impl PepEmbedding {
    /// Values of `V̂` that are not 0, over all tables; costs a pass over them.
    ///
    /// Rows that owe weight decay count as they are: call
    /// [`settle`](EmbeddingLayer::settle) before where that matters.
    pub fn n_kept(&self) -> u64 {
        let tasks = self.tasks();
        let counts = tasks.into_par_iter().map(|task| {
            let mut n_kept = 0;
            self.for_margins(task, |_, margins| {
                n_kept += margins.iter().filter(|&&margin| is_kept(margin)).count() as u64;
            });
            n_kept
        });
        counts.sum()
    }

    /// The values of `V̂` that are not 0.
    pub fn current_mask(&self) -> Mask {
        self.mask_where(|_, margin| is_kept(margin))
    }

    /// The `n_keep` values with the largest margin `|v| − σ(s)`, pruned ones among them if need be; all when
    /// there are no more.
    ///
    /// Of equal margins the one of the first field, row and column is kept. Costs five passes over the
    /// tables and, besides the mask, no memory that grows with them.
    pub fn mask(&self, n_keep: u64) -> Mask {
        let n_rows = self.n_rows_of_fields();
        let n_values: usize = n_rows.iter().map(|n_rows| n_rows * self.dim()).sum();
        if n_keep == 0 {
            return self.mask_where(|_, _| false);
        }
        if n_keep >= n_values as u64 {
            return Mask::full(&n_rows, self.dim());
        }
        let cut = cut_below(n_keep, |pass| self.count_digits(pass));
        let last = self.place_of_tie(cut);
        self.mask_where(|place, margin| {
            let key = key_of(margin);
            key > cut.key || key == cut.key && place <= last
        })
    }

    /// The mask of the values whose place and margin `keep` likes.
    fn mask_where(&self, keep: impl Fn(Place, f32) -> bool + Sync) -> Mask {
        let dim = self.dim();
        Mask::from_rows(&self.n_rows_of_fields(), dim, |f, row, bits| {
            let mut margins: SmallVec<[f32; 64]> = smallvec![0.0; dim];
            let (first, end) = (row, row + 1);
            let task = Task { f, first, end };
            self.for_margins_in(task, &mut margins, |_, margins| {
                let values = bits.iter_mut().zip(margins).enumerate();
                values.for_each(|(j, (bit, &margin))| *bit = keep((f, row, j), margin));
            });
        })
    }

    /// How often each value of a digit occurs among the keys of all margins.
    fn count_digits(&self, pass: Pass) -> Counts {
        let add = |mut sums: Counts, counts: Counts| {
            sums.iter_mut().zip(counts).for_each(|(s, c)| *s += c);
            sums
        };
        let tasks = self.tasks().into_par_iter();
        let counts = tasks.fold(
            || pass.zeros(),
            |mut counts, task| {
                self.for_margins(task, |_, margins| {
                    let keys = margins.iter().map(|&margin| key_of(margin));
                    keys.for_each(|key| pass.add(&mut counts, key));
                });
                counts
            },
        );
        counts.reduce(|| pass.zeros(), add)
    }

    /// The place of the last value that is kept of those with the key of the cut.
    fn place_of_tie(&self, cut: Cut) -> Place {
        let tasks = self.tasks();
        let ties = |margins: &[f32]| margins.iter().filter(|&&m| key_of(m) == cut.key).count();
        let count = |&task: &Task| {
            let mut n_ties = 0;
            self.for_margins(task, |_, margins| n_ties += ties(margins) as u64);
            n_ties
        };
        let counts: Vec<u64> = tasks.par_iter().map(count).collect();
        let mut wanted = cut.n_ties;
        let mut place = (usize::MAX, 0, 0);
        for (&task, n_ties) in tasks.iter().zip(counts) {
            if n_ties >= wanted {
                let mut places = self.places_of_ties(task, cut.key);
                place = places.swap_remove(wanted as usize - 1);
                break;
            }
            wanted -= n_ties;
        }
        place
    }

    /// The places of all values of a task with this key, in their order.
    fn places_of_ties(&self, task: Task, key: u32) -> Vec<Place> {
        let mut places = Vec::new();
        self.for_margins(task, |row, margins| {
            let ties = margins.iter().enumerate();
            let ties = ties.filter(|&(_, &margin)| key_of(margin) == key);
            places.extend(ties.map(|(j, _)| (task.f, row, j)));
        });
        places
    }

    /// Calls `each` for every row of a task with its margins, `[dim]`.
    fn for_margins(&self, task: Task, each: impl FnMut(usize, &[f32])) {
        self.for_margins_in(task, &mut vec![0.0; self.dim()], each);
    }

    /// The same in memory for the margins of one row.
    fn for_margins_in(&self, task: Task, margins: &mut [f32], mut each: impl FnMut(usize, &[f32])) {
        let table = &self.rows().tables()[task.f];
        for row in task.first..task.end {
            self.write_thresholds(task.f, row, margins);
            let values = table.row(row as u32).iter();
            for (margin, v) in margins.iter_mut().zip(values) {
                *margin = v.abs() - *margin;
            }
            each(row, margins);
        }
    }

    /// All rows in tasks, in the order of fields and rows.
    fn tasks(&self) -> Vec<Task> {
        let n_rows = self.n_rows_of_fields().into_iter().enumerate();
        let tasks = n_rows.flat_map(|(f, n_rows)| {
            let firsts = (0..n_rows).step_by(ROWS_PER_TASK);
            firsts.map(move |first| Task {
                f,
                first,
                end: n_rows.min(first + ROWS_PER_TASK),
            })
        });
        tasks.collect()
    }

    fn n_rows_of_fields(&self) -> Vec<usize> {
        (0..self.n_fields()).map(|f| self.n_rows(f)).collect()
    }
}

/// Whether a value of this margin is not pruned, or not a number.
fn is_kept(margin: f32) -> bool {
    margin > 0.0 || margin.is_nan()
}
