//! Matrix products at the shapes of a DLRM: f32 by the `gemm` crate (`library`) and by ours, bf16, both with
//! the right operand packed before as well, and the definition.
//!
//! Shapes: a chunk of `B` samples through layers `in → out`; `y = x·Wᵀ` (`forward`), `dx = dy·W` and
//! `dW = dyᵀ·x`, weights stored `[out, in]`. One thread, operands in cache. The elements of the
//! throughput are floating-point operations, so "Gelem/s" reads as GFLOP/s; group `peak` has what the
//! instructions can do without any memory.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use slimbed_fused::{Mat, MatMut, Multiplier, PackedMatrix, Precision, Write, product};
use slimbed_rng::Seed;

/// `(in, out)` of the layers.
const LAYERS: [(usize, usize); 5] = [(13, 512), (512, 256), (256, 64), (64, 16), (367, 512)];

/// Samples of a chunk.
const BATCHES: [usize; 4] = [64, 128, 256, 1024];

/// The definition is slow: one batch of it is enough.
const BATCH_FOR_DEFINITION: usize = 64;

criterion_group!(benches, bench_peak, bench_products);
criterion_main!(benches);

fn bench_products(c: &mut Criterion) {
    for batch in BATCHES {
        for (n_in, n_out) in LAYERS {
            let layer = Layer::new(batch, n_in, n_out);
            let mut group = c.benchmark_group(format!("gemm/{batch}x{n_in}x{n_out}"));
            group.sample_size(20);
            group.warm_up_time(Duration::from_millis(200));
            group.measurement_time(Duration::from_secs(1));
            group.throughput(Throughput::Elements((2 * batch * n_in * n_out) as u64));
            layer.bench(&mut group);
        }
    }
}

/// The operands of a layer's three products.
struct Layer {
    batch: usize,
    n_in: usize,
    n_out: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
}

impl Layer {
    fn new(batch: usize, n_in: usize, n_out: usize) -> Self {
        let random = |purpose, n| {
            let mut values = vec![0.0; n];
            let mut stream = Seed::new(1).stream(purpose, n as u64);
            stream.fill_uniform(&mut values, 1.0);
            values
        };
        let x = random("bench/x", batch * n_in);
        let w = random("bench/w", n_out * n_in);
        let dy = random("bench/dy", batch * n_out);
        Self {
            batch,
            n_in,
            n_out,
            x,
            w,
            dy,
        }
    }

    /// Name and operands of the products.
    fn products(&self) -> [(&'static str, Mat<'_>, [usize; 2], Mat<'_>); 3] {
        let Self {
            batch, n_in, n_out, ..
        } = *self;
        let x = Mat::row_major(&self.x, batch, n_in);
        let w = Mat::row_major(&self.w, n_out, n_in);
        let dy = Mat::row_major(&self.dy, batch, n_out);
        [
            ("forward", x, [batch, n_out], w.t()),
            ("dx", dy, [batch, n_in], w),
            ("dW", dy.t(), [n_out, n_in], x),
        ]
    }

    fn bench(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        for (name, a, [m, n], b) in self.products() {
            let mut c = vec![0.0; m * n];
            group.bench_function(BenchmarkId::new("library", name), |bench| {
                bench.iter(|| {
                    let c = MatMut::row_major(black_box(&mut c), m, n);
                    product(c, black_box(a), b, Write::Set);
                });
            });
            for (precision, label) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
                let mut multiplier = Multiplier::new(precision);
                group.bench_function(BenchmarkId::new(label, name), |bench| {
                    bench.iter(|| {
                        let c = MatMut::row_major(black_box(&mut c), m, n);
                        multiplier.product(c, black_box(a), b, Write::Set);
                    });
                });
                let packed = PackedMatrix::new(precision, b);
                group.bench_function(BenchmarkId::new(format!("{label} packed"), name), |bench| {
                    bench.iter(|| {
                        let c = MatMut::row_major(black_box(&mut c), m, n);
                        multiplier.product_packed(c, black_box(a), &packed, Write::Set);
                    });
                });
            }
        }
        if self.batch == BATCH_FOR_DEFINITION {
            group.bench_function(BenchmarkId::new("definition", "forward"), |bench| {
                bench.iter(|| self.definition(black_box(&self.x)));
            });
        }
    }

    /// `y = x·Wᵀ` with operands rounded to bf16 and sums in f64.
    fn definition(&self, x: &[f32]) -> Vec<f64> {
        let dot = |x: &[f32], w: &[f32]| -> f64 {
            let terms = x.iter().zip(w);
            terms
                .map(|(&x, &w)| f64::from(rounded(x)) * f64::from(rounded(w)))
                .sum()
        };
        let rows = x.chunks(self.n_in);
        let y = rows.flat_map(|x| self.w.chunks(self.n_in).map(move |w| dot(x, w)));
        y.collect()
    }
}

/// The nearest bf16 of a finite number.
fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

/// What the instructions do at best, on registers alone.
#[cfg(target_arch = "x86_64")]
fn bench_peak(c: &mut Criterion) {
    if !slimbed_fused::bf16_is_available() {
        return;
    }
    let mut group = c.benchmark_group("peak");
    let instructions = (peak::ROUNDS * peak::SUMS) as u64;
    group.throughput(Throughput::Elements(32 * instructions));
    group.bench_function("fma_f32", |b| {
        // SAFETY: the processor has AVX-512 F and BF16.
        b.iter(|| unsafe { peak::fma(black_box(1.0)) });
    });
    group.throughput(Throughput::Elements(64 * instructions));
    group.bench_function("vdpbf16ps", |b| {
        // SAFETY: as above.
        b.iter(|| unsafe { peak::dot(black_box(1.0)) });
    });
    group.finish();
}

#[cfg(not(target_arch = "x86_64"))]
fn bench_peak(_: &mut Criterion) {}

#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::*;

    pub const ROUNDS: usize = 10_000;

    /// Sums that do not depend on each other: more than two units with a latency of 8 need.
    pub const SUMS: usize = 24;

    /// # Safety
    /// The processor has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn fma(x: f32) -> f32 {
        let x = _mm512_set1_ps(x);
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(x, x, *sum);
            }
        }
        total(sums)
    }

    /// # Safety
    /// The processor has AVX-512 F and BF16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub unsafe fn dot(x: f32) -> f32 {
        let x = _mm512_set1_ps(x);
        let x = _mm512_cvtne2ps_pbh(x, x);
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, x, x);
            }
        }
        total(sums)
    }

    #[target_feature(enable = "avx512f")]
    fn total(sums: [__m512; SUMS]) -> f32 {
        let mut total = 0.0;
        for sum in sums {
            total += _mm512_reduce_add_ps(sum);
        }
        total
    }
}
