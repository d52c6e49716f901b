//! Right operands laid out for products of a single row.
//!
//! The kernel for many rows reads a panel of 16 columns from its first row to its last. A single row reads
//! every line once, so what counts is how fast lines come from the cache that holds all weights. They come
//! fastest one behind the other: here the lines of up to 16 panels stand together, row after row. Eight panels
//! side by side were eight streams: 12.8 µs for the large layers of Kaggle's DLRM, half of the inputs of two
//! of them zero, where one stream takes 10.9 (Zen 5, 1 MB of L2).

use super::pages::Pages;
use super::{LANES, Line, bf16_is_available};
use crate::FusedError;
use crate::matrix::Mat;

/// Panels of a group, widest first; each takes as many as there are.
pub(super) const GROUPS: [usize; 5] = [16, 8, 4, 2, 1];

/// Right operands in one run of memory, for weights that do not change.
#[derive(Debug)]
pub(crate) struct RowSet {
    pages: Pages,
    shapes: Vec<Shape>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowView<'a> {
    pub(super) shape: Shape,
    pub(super) lines: &'a [Line],
}

/// `[k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub k: usize,
    pub n: usize,
}

impl RowSet {
    /// Lays all of them out; nothing where this processor has no kernel for single rows.
    ///
    /// # Errors
    /// When the system does not give the memory.
    pub fn new(matrices: &[Mat<'_>]) -> Result<Option<Self>, FusedError> {
        if !bf16_is_available() {
            return Ok(None);
        }
        let shapes: Vec<Shape> = matrices.iter().map(Shape::of).collect();
        let mut pages = Pages::zeros(shapes.iter().map(|shape| shape.n_lines()).sum())?;
        let mut rest = pages.lines_mut();
        for (shape, matrix) in shapes.iter().zip(matrices) {
            let (lines, behind) = rest.split_at_mut(shape.n_lines());
            shape.pack(*matrix, lines);
            rest = behind;
        }
        Ok(Some(Self { pages, shapes }))
    }

    /// Operand number `i`.
    pub fn view(&self, i: usize) -> RowView<'_> {
        let (before, shape) = (&self.shapes[..i], self.shapes[i]);
        let start: usize = before.iter().map(|shape| shape.n_lines()).sum();
        RowView {
            shape,
            lines: &self.pages.lines()[start..][..shape.n_lines()],
        }
    }
}

impl Shape {
    fn of(b: &Mat<'_>) -> Self {
        Self {
            k: b.rows,
            n: b.cols,
        }
    }

    fn n_panels(self) -> usize {
        self.n.div_ceil(LANES)
    }

    pub fn n_lines(self) -> usize {
        self.n_panels() * self.k
    }

    /// First panel and number of panels of each group.
    pub fn groups(self) -> impl Iterator<Item = (usize, usize)> {
        let mut panel = 0;
        std::iter::from_fn(move || {
            let left = self.n_panels() - panel;
            let size = GROUPS.into_iter().find(|&size| size <= left)?;
            panel += size;
            Some((panel - size, size))
        })
    }

    fn pack(self, b: Mat<'_>, lines: &mut [Line]) {
        for (panel, size) in self.groups() {
            let group = &mut lines[panel * self.k..][..size * self.k];
            for (i, line) in group.iter_mut().enumerate() {
                let (row, first) = (i / size, (panel + i % size) * LANES);
                let columns = first..self.n.min(first + LANES);
                for (word, column) in line.0.iter_mut().zip(columns) {
                    *word = b.values[row * b.row_stride + column * b.col_stride].to_bits();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_all_panels() {
        let groups = |n| Shape { k: 1, n }.groups().collect::<Vec<_>>();
        assert_eq!(groups(0), []);
        assert_eq!(groups(1), [(0, 1)]);
        assert_eq!(groups(512), [(0, 16), (16, 16)]);
        assert_eq!(
            groups(37 * LANES - 1),
            [(0, 16), (16, 16), (32, 4), (36, 1)]
        );
    }

    #[test]
    fn lines_of_a_group_stand_row_after_row() {
        let (k, n) = (2, 3 * LANES);
        let values: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
        let shape = Shape { k, n };
        let mut lines = vec![Line::default(); shape.n_lines()];
        shape.pack(Mat::row_major(&values, k, n), &mut lines);
        let first: Vec<f32> = lines.iter().map(|line| f32::from_bits(line.0[0])).collect();
        // Two panels with rows 0 and 1, then the last one.
        assert_eq!(first, [0.0, 16.0, 48.0, 64.0, 32.0, 80.0]);
    }
}
