//! The shape of the branches, and where everything stands in memory.

use std::ops::Range;

use slimbed_rng::Seed;

use crate::attributes::ATTRIBUTES;
use crate::settings::{AmtlSettings, Branches, ZeroSize};

/// Rows that are computed side by side, one a lane.
pub const PANEL: usize = 32;

/// Panels of one task.
pub const PANELS_PER_CHUNK: usize = 16;

/// Rows of one task.
pub const CHUNK: usize = PANEL * PANELS_PER_CHUNK;

/// Lines of the input: the attributes, and the 1 that the biases are multiplied with.
const INPUTS: usize = ATTRIBUTES + 1;

/// The branches: same shape, weights of their own.
///
/// The *tape* of 32 rows (a panel) is `[lines, 32]`: a line is one quantity of all rows of the panel.
#[derive(Clone, Debug)]
pub struct Net {
    /// 1 or 2.
    pub n_branches: usize,
    /// Sizes to choose from.
    pub n_positions: usize,
    /// What the first position keeps: 0 or 1; each later one keeps one value more.
    pub smallest: usize,
    /// `1 / T`.
    pub coldness: f32,
    /// Widths from the attributes to the logits.
    widths: Vec<usize>,
    /// Where the weights of each layer of a branch start, and where the last one ends.
    weight_starts: Vec<usize>,
    /// The first line of what goes into each layer, the softmax as if it went into one more.
    line_starts: Vec<usize>,
}

impl Net {
    /// The net of rows of `dim` values.
    pub fn new(settings: &AmtlSettings, dim: usize) -> Self {
        let smallest = match settings.zero_size {
            ZeroSize::Never => 1,
            ZeroSize::Allowed => 0,
        };
        let n_positions = dim + 1 - smallest;
        let hidden = settings.hidden.iter().copied();
        let inner = std::iter::once(ATTRIBUTES).chain(hidden);
        let widths: Vec<usize> = inner.chain([n_positions]).collect();
        let n_branches = match settings.branches {
            Branches::Twins => 2,
            Branches::Single => 1,
        };
        let layers = widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]);
        let mut line_starts = vec![0];
        let hidden = widths[1..widths.len() - 1].iter();
        let hidden = hidden.map(|width| n_branches * (width + 1));
        line_starts.extend(sums(INPUTS + n_branches, hidden));
        Self {
            n_branches,
            weight_starts: sums(0, layers),
            line_starts,
            n_positions,
            smallest,
            coldness: 1.0 / settings.temperature,
            widths,
        }
    }

    /// What position `p` keeps.
    pub fn size(&self, p: usize) -> usize {
        p + self.smallest
    }

    /// Layers of weights of a branch.
    pub fn n_layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// Outputs of a layer.
    pub fn n_out(&self, layer: usize) -> usize {
        self.widths[layer + 1]
    }

    /// Weights of all branches.
    pub fn n_weights(&self) -> usize {
        self.n_branches * self.branch_len()
    }

    /// Where the weights of a layer stand: `[inputs + 1, outputs]`, the biases last.
    pub fn weights(&self, branch: usize, layer: usize) -> Range<usize> {
        let start = branch * self.branch_len();
        start + self.weight_starts[layer]..start + self.weight_starts[layer + 1]
    }

    /// The first weights: Xavier-uniform hidden layers with biases of 0; all logits are 0 but that of the
    /// full size, so that every row starts with all its values, whatever its attributes.
    pub fn draw(&self, seed: Seed, start_bias: f32) -> Vec<f32> {
        let mut weights = vec![0.0; self.n_weights()];
        let last = self.n_layers() - 1;
        for branch in 0..self.n_branches {
            for layer in 0..last {
                let (n_in, n_out) = (self.widths[layer], self.n_out(layer));
                let bound = (6.0 / (n_in + n_out) as f32).sqrt();
                let matrix = &mut weights[self.weights(branch, layer)][..n_in * n_out];
                let number = (branch * last + layer) as u64;
                seed.stream("amtl/branches", number)
                    .fill_uniform(matrix, bound);
            }
            // Its last weight is the bias of the largest size.
            weights[self.weights(branch, last).end - 1] = start_bias;
        }
        weights
    }

    /// Lines of a panel.
    pub fn n_lines(&self) -> usize {
        self.size_line() + 1
    }

    /// Values of the tape of a panel.
    pub fn panel_len(&self) -> usize {
        self.n_lines() * PANEL
    }

    /// Values of the tape of `n` rows.
    pub fn tape_len(&self, n: usize) -> usize {
        n.div_ceil(PANEL) * self.panel_len()
    }

    /// The inputs.
    pub fn inputs(&self) -> Range<usize> {
        lines(0, INPUTS)
    }

    /// The weight of a branch.
    pub fn gate(&self, branch: usize) -> Range<usize> {
        lines(INPUTS + branch, 1)
    }

    /// What goes into a layer, the line of its biases included.
    pub fn before(&self, branch: usize, layer: usize) -> Range<usize> {
        if layer == 0 {
            return self.inputs();
        }
        let len = self.widths[layer] + 1;
        lines(self.line_starts[layer] + branch * len, len)
    }

    /// The logits, then the softmax of them.
    pub fn softmax(&self) -> Range<usize> {
        lines(self.softmax_line(), self.n_positions)
    }

    /// The gradient with respect to the softmax, then to the logits.
    pub fn gradient(&self) -> Range<usize> {
        lines(self.softmax_line() + self.n_positions, self.n_positions)
    }

    /// The sizes, as numbers of 32 bits.
    pub fn sizes(&self) -> Range<usize> {
        lines(self.size_line(), 1)
    }

    /// The size of row `i` of a tape.
    pub fn size_of(&self, tape: &[f32], i: usize) -> usize {
        let panel = i / PANEL * self.panel_len();
        tape[panel + self.sizes().start + i % PANEL] as usize
    }

    /// The softmax of row `i` of a tape.
    pub fn softmax_of<'t>(
        &self,
        tape: &'t [f32],
        i: usize,
    ) -> impl DoubleEndedIterator<Item = f32> + use<'t> {
        let panel = &tape[i / PANEL * self.panel_len()..][self.softmax()];
        let (lines, _) = panel.as_chunks::<PANEL>();
        lines.iter().map(move |line| line[i % PANEL])
    }

    fn branch_len(&self) -> usize {
        self.weight_starts[self.n_layers()]
    }

    fn softmax_line(&self) -> usize {
        self.line_starts[self.n_layers()]
    }

    fn size_line(&self) -> usize {
        self.softmax_line() + 2 * self.n_positions
    }
}

fn lines(first: usize, n: usize) -> Range<usize> {
    first * PANEL..(first + n) * PANEL
}

/// `start` and the sums of it and the first 1, 2, … `sizes`.
fn sums(start: usize, sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sums = vec![start];
    sums.extend(sizes.scan(start, |sum, size| {
        *sum += size;
        Some(*sum)
    }));
    sums
}
