//! Right operands that are packed once and used often.

use super::pages::Pages;
use super::{Engine, LANES, Line, Scratch, fill_trivial, is_trivial};
#[cfg(target_arch = "x86_64")]
use super::{blocked, kernel, operands};
use crate::FusedError;
use crate::matrix::{Mat, MatMut, Write};
use crate::mode::Precision;
use crate::panels::{Operand, OperandMut};

/// A right operand `[k, n]` laid out for the products of one precision.
#[derive(Debug)]
pub struct PackedMatrix {
    form: Form,
    lines: Vec<Line>,
}

/// A packed right operand, wherever its memory is.
#[derive(Clone, Copy, Debug)]
pub struct PackedView<'a> {
    form: Form,
    lines: &'a [Line],
}

/// Shape and layout of a packed right operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    engine: Engine,
    rows: usize,
    cols: usize,
}

impl PackedMatrix {
    /// Packs `b`.
    pub fn new(precision: Precision, b: Mat<'_>) -> Self {
        Self::with(Engine::of(precision, b.rows.min(b.cols)), b)
    }

    pub(super) fn with(engine: Engine, b: Mat<'_>) -> Self {
        let form = Form::new(engine, b);
        let mut packed = Self {
            lines: vec![Line::default(); form.n_lines()],
            form,
        };
        packed.pack(b);
        packed
    }

    /// Packs another matrix of the same shape.
    ///
    /// # Panics
    /// When the shape is another one.
    pub fn pack(&mut self, b: Mat<'_>) {
        self.form.pack(b, &mut self.lines);
    }

    /// The operand as products take it.
    pub fn view(&self) -> PackedView<'_> {
        PackedView {
            form: self.form,
            lines: &self.lines,
        }
    }
}

impl PackedView<'_> {
    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.form.cols
    }

    /// The values row after row, for engines that do not work in blocks.
    fn plain(&self) -> Mat<'_> {
        let Form { rows, cols, .. } = self.form;
        let values: &[f32] = bytemuck::cast_slice(self.lines);
        Mat::row_major(&values[..rows * cols], rows, cols)
    }
}

/// Packed right operands in one run of memory, for weights that do not change.
#[derive(Debug)]
pub(crate) struct PackedSet {
    pages: Pages,
    forms: Vec<Form>,
}

impl PackedSet {
    /// Packs all of them.
    ///
    /// # Errors
    /// When the system does not give the memory.
    pub fn new(precision: Precision, matrices: &[Mat<'_>]) -> Result<Self, FusedError> {
        let engine = |b: &Mat<'_>| Engine::of(precision, b.rows.min(b.cols));
        let forms = matrices.iter().map(|&b| Form::new(engine(&b), b));
        let forms: Vec<Form> = forms.collect();
        let mut pages = Pages::zeros(forms.iter().map(Form::n_lines).sum())?;
        let mut rest = pages.lines_mut();
        for (form, &b) in forms.iter().zip(matrices) {
            let (lines, behind) = rest.split_at_mut(form.n_lines());
            form.pack(b, lines);
            rest = behind;
        }
        Ok(Self { pages, forms })
    }

    /// Operand number `i`.
    pub fn view(&self, i: usize) -> PackedView<'_> {
        let start: usize = self.forms[..i].iter().map(Form::n_lines).sum();
        let form = self.forms[i];
        PackedView {
            form,
            lines: &self.pages.lines()[start..][..form.n_lines()],
        }
    }
}

impl Form {
    fn new(engine: Engine, b: Mat<'_>) -> Self {
        Self {
            engine,
            rows: b.rows,
            cols: b.cols,
        }
    }

    /// Lines of the packed operand.
    fn n_lines(&self) -> usize {
        match self.engine {
            #[cfg(target_arch = "x86_64")]
            Engine::Exact => blocked::packed_lines::<kernel::Exact>(self.rows, self.cols),
            #[cfg(target_arch = "x86_64")]
            Engine::Fma => blocked::packed_lines::<kernel::Fma>(self.rows, self.cols),
            #[cfg(target_arch = "x86_64")]
            Engine::Dot => blocked::packed_lines::<kernel::Dot>(self.rows, self.cols),
            Engine::Library | Engine::Portable => (self.rows * self.cols).div_ceil(LANES),
        }
    }

    fn pack(self, b: Mat<'_>, lines: &mut [Line]) {
        assert_eq!(Self::new(self.engine, b), self, "shape of a packed matrix");
        if b.rows == 0 || b.cols == 0 {
            return;
        }
        match self.engine {
            #[cfg(target_arch = "x86_64")]
            Engine::Exact => blocked::pack::<kernel::Exact>(b, lines),
            #[cfg(target_arch = "x86_64")]
            Engine::Fma => blocked::pack::<kernel::Fma>(b, lines),
            #[cfg(target_arch = "x86_64")]
            Engine::Dot => blocked::pack::<kernel::Dot>(b, lines),
            Engine::Library | Engine::Portable => copy(b, bytemuck::cast_slice_mut(lines)),
        }
    }
}

fn copy(b: Mat<'_>, to: &mut [f32]) {
    for (i, row) in to.chunks_exact_mut(b.cols).take(b.rows).enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = b.values[i * b.row_stride + j * b.col_stride];
        }
    }
}

/// A right operand whose columns were packed in parts.
#[derive(Clone, Copy)]
pub struct PackedParts<'a> {
    /// Columns of each part but the last; a multiple of 32 when there are several.
    pub width: usize,
    /// Part `i`.
    pub part: &'a dyn Fn(usize) -> PackedView<'a>,
}

impl PackedParts<'_> {
    pub(super) fn multiply(
        self,
        c: OperandMut<'_>,
        a: Operand<'_>,
        write: Write,
        scratch: &mut Scratch,
    ) {
        self.check(&c, a);
        if is_trivial([c.rows(), c.cols(), a.cols()]) {
            return fill_trivial(c, write);
        }
        let engine = (self.part)(0).form.engine;
        match (engine, c, a) {
            (Engine::Library | Engine::Portable, OperandMut::Rows(c), Operand::Rows(a)) => {
                self.one_by_one(c, a, write, scratch);
            }
            #[cfg(target_arch = "x86_64")]
            (Engine::Exact | Engine::Fma | Engine::Dot, c, a) => {
                let part = |i| (self.part)(i).lines;
                let parts = operands::Parts {
                    width: self.width,
                    part: &part,
                };
                engine.blocked(c, a.into(), operands::Right::Packed(parts), write, scratch);
            }
            (engine, ..) => unreachable!("{engine:?} does not read panels"),
        }
    }

    fn check(&self, c: &OperandMut<'_>, a: Operand<'_>) {
        assert_eq!(a.rows(), c.rows(), "rows of a product");
        let engine = (self.part)(0).form.engine;
        for (i, first) in (0..c.cols()).step_by(self.width).enumerate() {
            let expected = Form {
                engine,
                rows: a.cols(),
                cols: self.width.min(c.cols() - first),
            };
            assert_eq!((self.part)(i).form, expected, "part {i} of a product");
        }
    }

    fn one_by_one(&self, mut c: MatMut<'_>, a: Mat<'_>, write: Write, scratch: &mut Scratch) {
        for (i, first) in (0..c.cols).step_by(self.width).enumerate() {
            let part = (self.part)(i);
            let c = c.reborrow().columns(first..first + part.cols());
            part.form.engine.product(c, a, part.plain(), write, scratch);
        }
    }
}
