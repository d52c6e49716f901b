//! Sizes of all rows: tabulated, counted, and fitted to a budget.

use slimbed_embedding::{EmbeddingError, EmbeddingLayer};

use crate::AmtlEmbedding;
use crate::sizer::Sizer;

/// Halvings of the interval of tilts: more than a 32-bit number can show.
const HALVINGS: usize = 28;

/// Tilts beyond this size no row's logits can withstand.
const MAX_TILT: f32 = 1e6;

impl AmtlEmbedding {
    /// How many leading values each row of field `f` keeps; a pass over its rows.
    pub fn sizes(&self, f: usize) -> Vec<u16> {
        let Some(learned) = self.learned() else {
            return vec![self.dim() as u16; self.n_rows(f)];
        };
        let sizer = &learned.sizer;
        let size = |tapes: &[f32], i| sizer.net.size_of(tapes, i) as u16;
        let chunk = |tapes: &[f32], n| (0..n).map(|i| size(tapes, i)).collect::<Vec<_>>();
        sizer.scan(f, chunk).concat()
    }

    /// How many values all rows keep together; a pass over them.
    pub fn kept_values(&self) -> u64 {
        let total = |sizer: &Sizer| totals(sizer).kept;
        self.learned()
            .map_or(self.n_values(), |learned| total(&learned.sizer))
    }

    /// Sets how many values all rows may keep, which the controller of λ works towards in training; 0 for
    /// no target. Without effect where sizes are full.
    ///
    /// # Errors
    /// When there are not so many values.
    pub fn set_target(&mut self, kept_values: u64) -> Result<(), EmbeddingError> {
        let n_values = self.n_values();
        if kept_values > n_values {
            return Err(too_many_values(kept_values, "at most all values"));
        }
        if let Some(learned) = self.learned_mut() {
            let share = kept_values as f64 / n_values as f64;
            learned.trainer.control.aim(share as f32);
            learned.note();
        }
        Ok(())
    }

    /// Makes all rows together keep at most `kept_values` values, and returns how many they keep now.
    ///
    /// Every row's size becomes that of the largest `o_k − tilt·k` with one tilt for all rows, the
    /// smallest that meets the budget: rows give up first what their branches value least, and the size
    /// stays a function of frequency. The tilt is negative where the budget has room for more. About
    /// 40 passes over the rows; made for the end of training, though training may go on.
    ///
    /// # Errors
    /// When the smallest sizes do not meet the budget, or sizes are full and all values do not; nothing is
    /// changed then.
    pub fn fit(&mut self, kept_values: u64) -> Result<u64, EmbeddingError> {
        let n_values = self.n_values();
        let Some(learned) = self.learned_mut() else {
            if kept_values < n_values {
                return Err(too_many_values(
                    kept_values,
                    "all values, as sizes are full",
                ));
            }
            return Ok(n_values);
        };
        let before = learned.sizer.tilt;
        let found = learned.sizer.fit(kept_values);
        if found > kept_values {
            learned.sizer.tilt = before;
            return Err(too_many_values(
                kept_values,
                "at least the smallest size of every row",
            ));
        }
        learned.note();
        Ok(found)
    }

    /// Keeps all sizes as they are from now on: later steps train the rows alone.
    pub fn hold_sizes(&mut self) {
        if let Some(learned) = self.learned_mut() {
            learned.saved.hold();
        }
    }

    pub(crate) fn size_figures(&self) -> Vec<(&'static str, f64)> {
        let n_rows = self.n_values() as f64 / self.dim() as f64;
        let full = Totals {
            kept: self.n_values(),
            n_empty: 0,
            expected: self.n_values() as f64,
        };
        let totals = self
            .learned()
            .map_or(full, |learned| totals(&learned.sizer));
        let lambda = self
            .learned()
            .map_or(0.0, |learned| learned.trainer.control.lambda);
        vec![
            ("mean_size", totals.kept as f64 / n_rows),
            ("expected_size", totals.expected / n_rows),
            ("empty_rows", totals.n_empty as f64 / n_rows),
            ("size_penalty", f64::from(lambda)),
        ]
    }
}

impl Sizer {
    /// Values of all rows.
    fn n_values(&self) -> u64 {
        let n_rows = self.attributes.iter().map(|table| table.n_rows() as u64);
        n_rows.sum::<u64>() * self.dim as u64
    }

    /// Finds the smallest tilt at which at most `most` values are kept, if there is one; returns how many
    /// are.
    fn fit(&mut self, most: u64) -> u64 {
        let (mut low, mut high) = self.bracket(most);
        for _ in 0..HALVINGS {
            self.tilt = 0.5 * (low + high);
            if totals(self).kept <= most {
                high = self.tilt;
            } else {
                low = self.tilt;
            }
        }
        self.tilt = high;
        totals(self).kept
    }

    /// Tilts that keep too much and not too much, if there are any.
    fn bracket(&mut self, most: u64) -> (f32, f32) {
        self.tilt = 0.0;
        let is_too_much = totals(self).kept > most;
        let sign = if is_too_much { 1.0 } else { -1.0 };
        let (mut near, mut far): (f32, f32) = (0.0, sign * 1e-3);
        while far.abs() < MAX_TILT {
            self.tilt = far;
            let kept = totals(self).kept;
            let is_full = !is_too_much && kept == self.n_values();
            if (kept > most) != is_too_much || is_full {
                break;
            }
            (near, far) = (far, 4.0 * far);
        }
        if is_too_much {
            (near, far)
        } else {
            (far, near)
        }
    }
}

/// Sums over all rows.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// Of the sizes.
    kept: u64,
    /// Rows that keep nothing.
    n_empty: u64,
    /// Of the expected sizes under the softmax.
    expected: f64,
}

/// A pass over all rows; chunks are added in their order.
fn totals(sizer: &Sizer) -> Totals {
    let mut sum = Totals::default();
    for f in 0..sizer.attributes.len() {
        for part in sizer.scan(f, |tapes, n| chunk_totals(sizer, tapes, n)) {
            sum.kept += part.kept;
            sum.n_empty += part.n_empty;
            sum.expected += part.expected;
        }
    }
    sum
}

fn chunk_totals(sizer: &Sizer, tapes: &[f32], n: usize) -> Totals {
    let net = &sizer.net;
    let mut sum = Totals::default();
    for i in 0..n {
        let size = net.size_of(tapes, i);
        sum.kept += size as u64;
        sum.n_empty += u64::from(size == 0);
        let terms = net.softmax_of(tapes, i).enumerate();
        let terms = terms.map(|(p, t)| f64::from(t) * net.size(p) as f64);
        sum.expected += terms.sum::<f64>();
    }
    sum
}

fn too_many_values(kept_values: u64, expected: &'static str) -> EmbeddingError {
    EmbeddingError::Setting {
        what: "values to keep".into(),
        expected,
        found: kept_values.to_string(),
    }
}
