//! Matrix products on the calling thread, in f32 or with operands rounded to bf16.
//!
//! A thread takes many chunks of a batch through the same weights, so the weights are packed once a step
//! ([`PackedMatrix`]) and not once a product. No library at hand lets one do that, hence the kernels of
//! this module for processors with AVX-512 BF16; everywhere else f32 products are those of the `gemm`
//! crate, but for a single row.
//!
//! The formula of bf16, for every processor: operands are rounded to bf16 (nearest, ties to even,
//! subnormal numbers to zero), products are exact and sums are in f32, from `k = 0` on in pairs of which
//! the odd one comes first. That is the order of AVX-512's `vdpbf16ps`, so all engines give the same bits
//! (short of subnormal results, which that instruction flushes to zero), and an element's bits depend
//! neither on the tile it falls into nor on how the caller cuts the rows.

#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod library;
#[cfg(target_arch = "x86_64")]
mod operands;
#[cfg(target_arch = "x86_64")]
mod pack;
mod packed;
mod pages;
mod portable;
mod row_set;
#[cfg(target_arch = "x86_64")]
mod sparse_row;
mod steady;
#[cfg(test)]
mod tests;
mod vector;

pub use library::product;
pub(crate) use packed::PackedSet;
pub use packed::{PackedMatrix, PackedParts, PackedView};
pub(crate) use row_set::{RowSet, RowView};
pub use steady::steady_product;

use crate::matrix::{Mat, MatMut, Write};
use crate::mode::Precision;
use crate::panels::{Operand, OperandMut};

/// Buffers that operands are packed into; reused, so that nothing is allocated after warm-up.
#[derive(Debug, Default)]
struct Scratch {
    /// A tile of rows of the left operand.
    left: Vec<Line>,
    /// A block of the right operand.
    right: Vec<Line>,
    /// What is not zero of a single row.
    #[cfg(target_arch = "x86_64")]
    sparse: sparse_row::SparseRow,
}

/// A cache line of 32-bit words: pairs of bf16 or f32, as the engine likes it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Line([u32; LANES]);

/// 32-bit words in an AVX-512 register.
pub(crate) const LANES: usize = 16;

/// Whether this processor has AVX-512 BF16.
pub fn bf16_is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("avx512f") && has!("avx512bw") && has!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether products of this precision read values in panels, on this processor.
pub(crate) fn reads_panels(precision: Precision) -> bool {
    precision == Precision::F32 && bf16_is_available()
}

/// Products of one thread, in one precision. Never starts a thread: a batch is cut over threads, not a
/// product (on few cores the fork costs more than it brings).
#[derive(Debug, Default)]
pub struct Multiplier {
    precision: Precision,
    scratch: Scratch,
}

impl Multiplier {
    /// Makes empty buffers.
    pub fn new(precision: Precision) -> Self {
        Self {
            precision,
            scratch: Scratch::default(),
        }
    }

    /// `c = a·b` or `c += a·b`. Shapes: `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn product(&mut self, c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write) {
        let narrowest = a.cols.min(b.cols).min(a.rows);
        let engine = Engine::of(self.precision, narrowest);
        engine.product(c, a, b, write, &mut self.scratch);
    }

    /// As [`product`](Self::product), with a right operand packed before, in its precision.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn product_packed(&mut self, c: MatMut<'_>, a: Mat<'_>, b: &PackedMatrix, write: Write) {
        self.value_packed(OperandMut::Rows(c), Operand::Rows(a), b, write);
    }

    /// As [`product_packed`](Self::product_packed), with the columns of the right operand in several parts.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn product_parts(&mut self, c: MatMut<'_>, a: Mat<'_>, b: PackedParts<'_>, write: Write) {
        self.value_parts(OperandMut::Rows(c), Operand::Rows(a), b, write);
    }

    /// [`product_packed`](Self::product_packed) of values in any layout.
    pub(crate) fn value_packed(
        &mut self,
        c: OperandMut<'_>,
        a: Operand<'_>,
        b: &PackedMatrix,
        write: Write,
    ) {
        let width = b.view().cols().max(1);
        let part = |_| b.view();
        self.value_parts(c, a, PackedParts { width, part: &part }, write);
    }

    /// [`product_parts`](Self::product_parts) of values in any layout.
    pub(crate) fn value_parts(
        &mut self,
        c: OperandMut<'_>,
        a: Operand<'_>,
        b: PackedParts<'_>,
        write: Write,
    ) {
        b.multiply(c, a, write, &mut self.scratch);
    }

    /// Makes room for single rows of so many values, so that [`row_product`](Self::row_product) need not.
    pub(crate) fn reserve_row(&mut self, n_values: usize) {
        #[cfg(target_arch = "x86_64")]
        self.scratch.sparse.reserve(n_values);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = n_values;
    }

    /// `c = a·b` for a single row `a` and a `b` of finite values: what zeros of `a` are multiplied with is not
    /// read.
    pub(crate) fn row_product(&mut self, c: OperandMut<'_>, a: Operand<'_>, b: RowView<'_>) {
        assert_eq!((a.rows(), c.rows()), (1, 1), "rows of a product");
        #[cfg(target_arch = "x86_64")]
        {
            self.scratch.sparse.find(a);
            self.scratch.sparse.product(c, b);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("only AVX-512 has {b:?}");
    }

    /// `c = dyᵀ·x` or `c += dyᵀ·x` for values in any layout: `dy` is `[k, m]`, `x` `[k, n]`.
    pub(crate) fn gradient(
        &mut self,
        c: MatMut<'_>,
        dy: Operand<'_>,
        x: Operand<'_>,
        write: Write,
    ) {
        if let (Operand::Rows(dy), Operand::Rows(x)) = (dy, x) {
            return self.product(c, dy.t(), x, write);
        }
        let shape = (c.rows, x.rows(), c.cols);
        assert_eq!(
            (dy.cols(), dy.rows(), x.cols()),
            shape,
            "shapes of a product"
        );
        if is_trivial([c.rows, c.cols, x.rows()]) {
            return fill_trivial(OperandMut::Rows(c), write);
        }
        #[cfg(target_arch = "x86_64")]
        blocked::gradient(c, dy, x, write, &mut self.scratch);
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("only AVX-512 reads panels");
    }
}

/// How products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// f32 by the `gemm` crate.
    Library,
    /// f32 by this module's AVX-512 kernel.
    #[cfg(target_arch = "x86_64")]
    Exact,
    /// bf16 in plain code.
    Portable,
    /// bf16 with AVX-512: operands rounded by the BF16 instructions, then multiplied as f32. The product
    /// of two bf16 is exact in f32, so a fused multiply-add loses nothing.
    #[cfg(target_arch = "x86_64")]
    Fma,
    /// bf16 with AVX-512 BF16's `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Dot,
}

/// Operands as narrow as this stay in f32: rounding would cost more than it saves.
const NARROW: usize = 16;

impl Engine {
    fn of(precision: Precision, narrowest: usize) -> Self {
        match precision {
            Precision::Bf16 if narrowest > NARROW => Self::of_bf16(),
            Precision::F32 | Precision::Bf16 => Self::of_f32(),
        }
    }

    fn of_f32() -> Self {
        #[cfg(target_arch = "x86_64")]
        if bf16_is_available() {
            return Self::Exact;
        }
        Self::Library
    }

    /// Intel's cores from Golden Cove on run `vdpbf16ps` every other cycle, half the speed of f32's
    /// multiply-adds (104 against 215 GFLOP/s at 3.5 GHz, group `peak` of the benchmark `gemm`): they
    /// have AMX for bf16. Zen 4 runs it at twice f32's speed (<https://github.com/iree-org/iree/pull/15089>).
    /// AVX-512 FP16 tells the former from the latter and from Cooper Lake.
    fn of_bf16() -> Self {
        #[cfg(target_arch = "x86_64")]
        if bf16_is_available() {
            return if std::arch::is_x86_feature_detected!("avx512fp16") {
                Self::Fma
            } else {
                Self::Dot
            };
        }
        Self::Portable
    }

    fn product(self, c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, write: Write, scratch: &mut Scratch) {
        let shape = (c.rows, b.rows, c.cols);
        assert_eq!((a.rows, a.cols, b.cols), shape, "shapes of a product");
        if is_trivial([c.rows, c.cols, a.cols]) {
            return fill_trivial(OperandMut::Rows(c), write);
        }
        match self {
            Self::Library if vector::fits(a, b) => {
                vector::row_product(&mut c.values[..b.cols], &a.values[..a.cols], b, write);
            }
            Self::Library => product(c, a, b, write),
            Self::Portable => portable::product(c, a, b, write, scratch),
            #[cfg(target_arch = "x86_64")]
            _ => {
                let (c, a) = (OperandMut::Rows(c), operands::Left::Rows(a));
                self.blocked(c, a, operands::Right::Plain(b), write, scratch);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn blocked(
        self,
        c: OperandMut<'_>,
        a: operands::Left<'_>,
        b: operands::Right<'_>,
        write: Write,
        scratch: &mut Scratch,
    ) {
        match self {
            Self::Exact => blocked::product::<kernel::Exact>(c, a, b, write, scratch),
            Self::Fma => blocked::product::<kernel::Fma>(c, a, b, write, scratch),
            Self::Dot => blocked::product::<kernel::Dot>(c, a, b, write, scratch),
            Self::Library | Self::Portable => unreachable!("{self:?} does not work in blocks"),
        }
    }
}

/// Whether there is nothing to multiply.
fn is_trivial(shape: [usize; 3]) -> bool {
    shape.contains(&0)
}

fn fill_trivial(c: OperandMut<'_>, write: Write) {
    if write == Write::Set {
        c.fill(0.0);
    }
}
