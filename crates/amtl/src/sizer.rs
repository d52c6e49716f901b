//! Sizes as a function of frequency.

use std::ops::Range;

use rayon::prelude::*;
use slimbed_embedding::{BatchIndex, EmbeddingError, Pooling, Table, TableView, gather};
use smallvec::SmallVec;

use crate::attributes::ATTRIBUTES;
use crate::kernels;
use crate::net::{CHUNK, Net, PANEL};
use crate::settings::Estimator;

/// The branches with their weights, and the attributes of all rows.
#[derive(Debug)]
pub struct Sizer {
    pub net: Net,
    pub weights: Vec<f32>,
    /// Taken off the logits for each value kept, before the largest is chosen.
    pub tilt: f32,
    pub estimator: Estimator,
    /// A table `[n_rows, 2]` a field.
    pub attributes: Vec<Table>,
    /// Values of a row.
    pub dim: usize,
}

/// What looks at masked rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eye {
    /// A training step: the mask is that of the settings' estimator.
    Training,
    /// A lookup: the mask is hard.
    Scoring,
}

impl Sizer {
    /// Copies the attributes of the unique rows of a batch to `out`, `[U, 2]`.
    pub fn gather(&self, index: &BatchIndex, out: &mut [f32]) -> Result<(), EmbeddingError> {
        let views: SmallVec<[TableView<'_>; 32]> = self.attributes.iter().map(view).collect();
        gather(&views, index, ATTRIBUTES, out)
    }

    /// Fills the tapes of some rows from their attributes.
    pub fn size<'t>(&self, attributes: &[f32], tapes: &'t mut [f32]) -> &'t mut [f32] {
        let tapes = &mut tapes[..self.net.tape_len(attributes.len() / ATTRIBUTES)];
        let rows = attributes.chunks(PANEL * ATTRIBUTES);
        for (rows, tape) in rows.zip(tapes.chunks_exact_mut(self.net.panel_len())) {
            load(rows, &mut tape[self.net.inputs()]);
        }
        self.size_again(tapes);
        tapes
    }

    /// The same once more, where the way back has used tapes up.
    pub fn size_again(&self, tapes: &mut [f32]) {
        kernels::forward(&self.net, &self.weights, self.tilt, tapes);
    }

    /// Multiplies rows `[n, dim]`, or their gradients, by the masks of their tapes.
    pub fn mask(&self, tapes: &[f32], eye: Eye, rows: &mut [f32]) {
        let panels = rows.chunks_mut(PANEL * self.dim);
        for (rows, tape) in panels.zip(tapes.chunks_exact(self.net.panel_len())) {
            if eye == Eye::Training && self.estimator == Estimator::Soft {
                kernels::soften(&self.net, tape, rows);
            } else {
                kernels::cut(&tape[self.net.sizes()], self.dim, rows);
            }
        }
    }

    /// Masks the rows of field `f` from `first` on, as scoring sees them.
    pub fn mask_rows(&self, f: usize, first: usize, rows: &mut [f32], tapes: &mut [f32]) {
        for (first, rows) in (first..)
            .step_by(CHUNK)
            .zip(rows.chunks_mut(CHUNK * self.dim))
        {
            let n = rows.len() / self.dim;
            let tapes = self.size_rows(f, first..first + n, tapes);
            self.mask(tapes, Eye::Scoring, rows);
        }
    }

    /// Fills `tapes` from at most [`CHUNK`] rows of field `f`.
    pub fn size_rows<'t>(
        &self,
        f: usize,
        rows: Range<usize>,
        tapes: &'t mut [f32],
    ) -> &'t mut [f32] {
        let attributes = self.attributes[f].values();
        self.size(
            &attributes[rows.start * ATTRIBUTES..rows.end * ATTRIBUTES],
            tapes,
        )
    }

    /// Memory for the tapes of a chunk of rows.
    pub fn tapes(&self) -> Vec<f32> {
        vec![0.0; self.net.tape_len(CHUNK)]
    }

    /// What `work` makes of the tapes of every chunk of rows of field `f`, in their order; `work` also
    /// gets the number of rows.
    pub fn scan<R: Send>(&self, f: usize, work: impl Fn(&[f32], usize) -> R + Sync) -> Vec<R> {
        let n_rows = self.attributes[f].n_rows();
        let chunks = (0..n_rows.div_ceil(CHUNK)).into_par_iter();
        let one = |tapes: &mut Vec<f32>, chunk: usize| {
            let rows = chunk * CHUNK..n_rows.min((chunk + 1) * CHUNK);
            let n = rows.len();
            work(self.size_rows(f, rows, tapes), n)
        };
        chunks.map_init(|| self.tapes(), one).collect()
    }
}

fn view(table: &Table) -> TableView<'_> {
    TableView {
        values: table.values(),
        dim: ATTRIBUTES,
        pooling: Pooling::Sum,
    }
}

/// Writes the attributes of at most 32 rows to the lines of a panel's input, and the ones of the biases.
fn load(rows: &[f32], input: &mut [f32]) {
    let (lines, ones) = input.split_at_mut(ATTRIBUTES * PANEL);
    let (rows, _) = rows.as_chunks::<ATTRIBUTES>();
    lines[..].fill(0.0);
    ones.fill(1.0);
    for (lane, row) in rows.iter().enumerate() {
        for (line, &x) in lines.chunks_exact_mut(PANEL).zip(row) {
            line[lane] = x;
        }
    }
}
