//! Where the outputs of pieces and their gradients are kept.

use std::ops::Range;

use crate::Precision;
use crate::activations::INPUTS;
use crate::matrix::{Mat, MatMut};
use crate::network::Network;
use crate::panels::{Operand, OperandMut, Panels, PanelsMut};
use crate::piece::{Piece, Value};
use crate::product::{LANES, Line, reads_panels};

/// How a value lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row after row.
    Rows,
    /// See [`Panels`].
    Panels,
}

/// Empty buffers for the first-order weights and the outputs of the pieces, in their order. A value lies in
/// panels where products alone work on all of it, and a row has a line at least.
pub(crate) fn buffers(network: &Network, precision: Precision) -> Vec<Buffer> {
    let buffer = |i| {
        let value = Value(i);
        let suits = reads_panels(precision)
            && network.width(value) >= LANES
            && network
                .pieces()
                .iter()
                .all(|piece| takes_panels(piece, value));
        let layout = if suits { Layout::Panels } else { Layout::Rows };
        Buffer::new(layout, network.width(value))
    };
    (INPUTS..network.n_values()).map(buffer).collect()
}

/// Whether a piece can read or write `value` in panels, if it does.
fn takes_panels(piece: &Piece, value: Value) -> bool {
    match piece {
        Piece::Linear(linear) if linear.n_vectors == 1 => true,
        // Of a line's width both layouts are the same.
        Piece::DotInteraction(piece) => piece.x != value || piece.dim == LANES,
        _ => piece.output() != value && !piece.reads(value),
    }
}

/// The output of a piece, or its gradient; grown to the largest batch it has seen.
#[derive(Debug)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
    layout: Layout,
    rows: usize,
    width: usize,
}

impl Buffer {
    /// One with these values, `[_, width]`.
    #[cfg(test)]
    pub fn of(layout: Layout, width: usize, values: &[f32]) -> Self {
        let mut buffer = Self::new(layout, width);
        buffer.resize(values.len() / width);
        for (i, row) in values.chunks(width).enumerate() {
            buffer
                .row_mut(i)
                .zip(row)
                .for_each(|(to, &from)| *to = from);
        }
        buffer
    }

    /// Its values row after row.
    #[cfg(test)]
    pub fn copy_rows(&mut self) -> Vec<f32> {
        let rows = (0..self.rows).flat_map(|i| self.row_mut(i).map(|&mut v| v).collect::<Vec<_>>());
        rows.collect()
    }

    fn new(layout: Layout, width: usize) -> Self {
        Self {
            lines: Vec::new(),
            layout,
            rows: 0,
            width,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Makes room for `rows` rows; what was there is lost.
    pub fn resize(&mut self, rows: usize) {
        self.rows = rows;
        let n_lines = match self.layout {
            Layout::Rows => (rows * self.width).div_ceil(LANES),
            Layout::Panels => self.stride() * self.width.div_ceil(LANES),
        };
        if self.lines.len() < n_lines {
            self.lines.resize(n_lines, Line::default());
        }
    }

    /// The value as products read it, which take `n_vectors` rows of it for each sample.
    pub fn operand(&self, n_vectors: usize) -> Operand<'_> {
        match self.layout {
            Layout::Rows => {
                let (rows, cols) = (self.rows * n_vectors, self.width / n_vectors);
                Operand::Rows(Mat::row_major(self.row_major(), rows, cols))
            }
            Layout::Panels => Operand::Panels(Panels {
                stride: self.stride(),
                lines: &self.lines,
                rows: self.rows,
                cols: self.width,
            }),
        }
    }

    /// The value as products write it, which give `n_vectors` rows of it for each sample.
    pub fn operand_mut(&mut self, n_vectors: usize) -> OperandMut<'_> {
        let (rows, width) = (self.rows, self.width);
        match self.layout {
            Layout::Rows => {
                let (all, cols) = (rows * n_vectors, width / n_vectors);
                OperandMut::Rows(MatMut::row_major(self.row_major_mut(), all, cols))
            }
            Layout::Panels => OperandMut::Panels(PanelsMut {
                stride: self.stride(),
                lines: &mut self.lines,
                rows,
                cols: width,
            }),
        }
    }

    /// The values row after row, of a value that lies so.
    pub fn row_major(&self) -> &[f32] {
        assert!(self.is_row_major(), "a value in panels");
        &self.values()[..self.rows * self.width]
    }

    /// The values row after row, to be changed.
    pub fn row_major_mut(&mut self) -> &mut [f32] {
        assert!(self.is_row_major(), "a value in panels");
        let n = self.rows * self.width;
        &mut self.values_mut()[..n]
    }

    /// Whether the values lie row after row, and not in panels.
    pub fn is_in_rows(&self) -> bool {
        self.layout == Layout::Rows
    }

    /// The same, or in panels that are rows: one of the width, or of a single row each.
    pub fn is_row_major(&self) -> bool {
        self.layout == Layout::Rows || self.width == LANES || self.rows == 1
    }

    /// Runs of columns with the values `[rows, stride]` of each and their stride.
    pub fn blocks(&self) -> impl Iterator<Item = Block<&[f32]>> {
        let (places, len) = (self.places(), self.block_len());
        let values = self.values().chunks(places.block).zip(self.runs());
        values.map(move |(values, columns)| Block {
            columns,
            values: &values[..len],
            stride: places.row,
        })
    }

    /// The same, to be changed.
    pub fn blocks_mut(&mut self) -> impl Iterator<Item = Block<&mut [f32]>> {
        let (places, len, runs) = (self.places(), self.block_len(), self.runs());
        let values = self.values_mut().chunks_mut(places.block).zip(runs);
        values.map(move |(values, columns)| Block {
            columns,
            values: &mut values[..len],
            stride: places.row,
        })
    }

    /// The values of row `i`, to be changed.
    pub fn row_mut(&mut self, i: usize) -> impl Iterator<Item = &mut f32> {
        self.blocks_mut().flat_map(move |block| {
            let row = &mut block.values[i * block.stride..];
            &mut row[..block.columns.len()]
        })
    }

    /// All values, and where each is among them.
    pub fn placed(&self) -> (&[f32], Places) {
        (self.values(), self.places())
    }

    /// All values to be changed, and where each is among them.
    pub fn placed_mut(&mut self) -> (&mut [f32], Places) {
        let places = self.places();
        (self.values_mut(), places)
    }

    fn values(&self) -> &[f32] {
        bytemuck::cast_slice(&self.lines)
    }

    fn values_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }

    /// The columns of each block.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (width, step) = (self.width, self.places().row);
        let firsts = (0..width).step_by(step);
        firsts.map(move |first| first..(first + step).min(width))
    }

    fn block_len(&self) -> usize {
        self.rows * self.places().row
    }

    fn places(&self) -> Places {
        match self.layout {
            Layout::Rows => Places {
                row: self.width,
                block: usize::MAX,
            },
            Layout::Panels => Places {
                row: LANES,
                block: self.stride().max(1) * LANES,
            },
        }
    }

    /// Lines from a panel to the next. With 64 (4 KB) or a multiple of it the panels of a tile would all
    /// want the same few sets of the L1 cache.
    fn stride(&self) -> usize {
        const SET: usize = 64;
        if self.rows < SET / 2 {
            self.rows
        } else {
            self.rows.next_multiple_of(SET) + LANES
        }
    }
}

/// Where the values of a row are: as many columns as there are values from a row to the next lie side by
/// side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Values from a row to the next.
    pub row: usize,
    /// Values from some columns to the next ones.
    pub block: usize,
}

impl Places {
    /// Those of a matrix with rows of `width` values.
    pub fn rows(width: usize) -> Self {
        Self {
            row: width,
            block: usize::MAX,
        }
    }

    /// Writes row `i` among `values`.
    #[inline(always)]
    pub fn write_row(self, values: &mut [f32], i: usize, from: &[f32]) {
        let (lines, rest) = from.as_chunks::<LANES>();
        if self.row != LANES {
            return values[i * self.row..][..from.len()].copy_from_slice(from);
        }
        for (panel, line) in lines.iter().enumerate() {
            values[panel * self.block + i * LANES..][..LANES].copy_from_slice(line);
        }
        if !rest.is_empty() {
            let at = lines.len() * self.block + i * LANES;
            values[at..][..rest.len()].copy_from_slice(rest);
        }
    }

    /// Copies row `i` out of `values`.
    #[inline(always)]
    pub fn read_row(self, values: &[f32], i: usize, to: &mut [f32]) {
        if self.row != LANES {
            return to.copy_from_slice(&values[i * self.row..][..to.len()]);
        }
        let (lines, rest) = to.as_chunks_mut::<LANES>();
        for (panel, line) in lines.iter_mut().enumerate() {
            line.copy_from_slice(&values[panel * self.block + i * LANES..][..LANES]);
        }
        if !rest.is_empty() {
            let at = lines.len() * self.block + i * LANES;
            rest.copy_from_slice(&values[at..][..rest.len()]);
        }
    }
}

/// Some columns of a value.
pub(crate) struct Block<V> {
    pub columns: Range<usize>,
    /// `[rows, stride]`, of which the first columns count.
    pub values: V,
    pub stride: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slimbed_rng::Seed;

    use super::*;
    use crate::matrix::Write;
    use crate::product::{Multiplier, PackedMatrix};

    fn random(purpose: &str, n: usize) -> Vec<f32> {
        let mut values = vec![0.0; n];
        let mut stream = Seed::new(1).stream(purpose, n as u64);
        stream.fill_uniform(&mut values, 1.0);
        values
    }

    fn layout() -> impl Strategy<Value = Layout> {
        // Without AVX-512 no value lies in panels.
        let panels = reads_panels(Precision::F32);
        any::<bool>().prop_map(move |p| {
            if p && panels {
                Layout::Panels
            } else {
                Layout::Rows
            }
        })
    }

    fn write() -> impl Strategy<Value = Write> {
        prop_oneof![Just(Write::Set), Just(Write::Add)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn products_do_not_depend_on_the_layout(
            rows in 1usize..150, n_in in 1usize..300, n_out in 1usize..600,
            x_layout in layout(), y_layout in layout(), write in write(),
        ) {
            let (x, w) = (random("x", rows * n_in), random("w", n_in * n_out));
            let before = random("y", rows * n_out);
            let mut multiplier = Multiplier::new(Precision::F32);
            let weight = PackedMatrix::new(Precision::F32, Mat::row_major(&w, n_out, n_in).t());
            let mut plain = before.clone();
            let out = MatMut::row_major(&mut plain, rows, n_out);
            multiplier.product_packed(out, Mat::row_major(&x, rows, n_in), &weight, write);
            let value = Buffer::of(x_layout, n_in, &x);
            let mut found = Buffer::of(y_layout, n_out, &before);
            multiplier.value_packed(found.operand_mut(1), value.operand(1), &weight, write);
            prop_assert_eq!(found.copy_rows(), plain);
        }

        #[test]
        fn gradients_do_not_depend_on_the_layout(
            rows in 1usize..300, n_in in 1usize..80, n_out in 1usize..80, first in 0usize..3,
            x_layout in layout(), dy_layout in layout(), write in write(),
        ) {
            let (x, dy) = (random("x", rows * n_in), random("dy", rows * n_out));
            let columns = (first * LANES).min(n_out.saturating_sub(1) / LANES * LANES)..n_out;
            let before = random("dw", columns.len() * n_in);
            let mut multiplier = Multiplier::new(Precision::F32);
            let mut plain = before.clone();
            let out = MatMut::row_major(&mut plain, columns.len(), n_in);
            let part = Mat::row_major(&dy, rows, n_out).columns(columns.clone());
            multiplier.product(out, part.t(), Mat::row_major(&x, rows, n_in), write);
            let (x, dy) = (Buffer::of(x_layout, n_in, &x), Buffer::of(dy_layout, n_out, &dy));
            let mut found = before.clone();
            let out = MatMut::row_major(&mut found, columns.len(), n_in);
            multiplier.gradient(out, dy.operand(1).columns(columns), x.operand(1), write);
            prop_assert_eq!(found, plain);
        }

        #[test]
        fn rows_are_where_they_were_put(rows in 1usize..150, width in 1usize..100, layout in layout()) {
            let values = random("values", rows * width);
            let mut buffer = Buffer::of(layout, width, &values);
            let mut copy = Buffer::of(layout, width, &vec![0.0; rows * width]);
            let mut row = vec![0.0; width];
            for i in 0..rows {
                let (from, places) = buffer.placed();
                places.read_row(from, i, &mut row);
                let (to, places) = copy.placed_mut();
                places.write_row(to, i, &row);
            }
            prop_assert_eq!(&copy.copy_rows(), &values);
            prop_assert_eq!(buffer.copy_rows(), values);
        }
    }
}
