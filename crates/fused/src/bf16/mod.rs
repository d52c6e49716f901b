//! Matrix products of operands rounded to bf16.
//!
//! The formula, for every processor: operands are rounded to bf16 (nearest, ties to even, subnormal
//! numbers to zero), products are exact and sums are in f32, from `k = 0` on in pairs of which the
//! odd one comes first. That is the order of AVX-512's `vdpbf16ps`, so all engines give the same bits
//! (short of subnormal results, which that instruction flushes to zero), and an element's bits depend
//! neither on the tile it falls into nor on how the caller cuts the rows.
//!
//! `vdpbf16ps` does 32 products at once, but not everywhere at speed; see [`Engine`].

#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod pack;
mod portable;
#[cfg(test)]
mod tests;

use crate::matrix::{Mat, MatMut, Write};

/// Buffers a product packs its operands into; reused, so that nothing is allocated after warm-up.
#[derive(Debug, Default)]
pub struct Bf16Scratch {
    /// A tile of rows of the left operand.
    left: Vec<Line>,
    /// A block of the right operand.
    right: Vec<Line>,
}

/// A cache line of 32-bit words: pairs of bf16 or f32, as the engine likes it.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, Default)]
struct Line([u32; LANES]);

/// 32-bit words in an AVX-512 register.
const LANES: usize = 16;

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

/// `c = a·b` or `c += a·b` with operands rounded to bf16 (nearest even), products and sums in f32.
///
/// Shapes: `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`. Never starts a thread. Without AVX-512 BF16 the
/// result is the same and the speed a fraction.
///
/// # Panics
/// When the shapes do not fit.
pub fn product_bf16(
    c: MatMut<'_>,
    a: Mat<'_>,
    b: Mat<'_>,
    write: Write,
    scratch: &mut Bf16Scratch,
) {
    product_with(Engine::of_this_processor(), c, a, b, write, scratch);
}

/// How products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// Plain code.
    Portable,
    /// AVX-512: operands rounded by the BF16 instructions, then multiplied as f32. The product of two
    /// bf16 is exact in f32, so a fused multiply-add loses nothing.
    #[cfg(target_arch = "x86_64")]
    Fma,
    /// AVX-512 BF16's `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Dot,
}

impl Engine {
    /// Intel's cores from Golden Cove on run `vdpbf16ps` every other cycle, half the speed of f32's
    /// multiply-adds (104 against 215 GFLOP/s at 3.5 GHz, group `peak` of the benchmark `gemm`): they
    /// have AMX for bf16. Zen 4 runs it at twice f32's speed (<https://github.com/iree-org/iree/pull/15089>).
    /// AVX-512 FP16 tells the former from the latter and from Cooper Lake.
    fn of_this_processor() -> Self {
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
}

fn product_with(
    engine: Engine,
    c: MatMut<'_>,
    a: Mat<'_>,
    b: Mat<'_>,
    write: Write,
    scratch: &mut Bf16Scratch,
) {
    let shape = (c.rows, b.rows, c.cols);
    assert_eq!((a.rows, a.cols, b.cols), shape, "shapes of a product");
    if a.cols == 0 {
        if write == Write::Set {
            c.values.fill(0.0);
        }
        return;
    }
    if c.values.is_empty() {
        return;
    }
    match engine {
        Engine::Portable => portable::product(c, a, b, write, scratch),
        #[cfg(target_arch = "x86_64")]
        Engine::Fma => blocked::product::<kernel::Fma>(c, a, b, write, scratch),
        #[cfg(target_arch = "x86_64")]
        Engine::Dot => blocked::product::<kernel::Dot>(c, a, b, write, scratch),
    }
}
