//! Every engine against the definition, and those of bf16 against each other bit for bit.

use proptest::prelude::*;
use slimbed_rng::Seed;

use super::*;

/// A product's operands; `a` and `b` are stored as they are or transposed.
#[derive(Clone, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    transposed: [bool; 2],
    write: Write,
}

impl Case {
    fn new([m, n, k]: [usize; 3], transposed: [bool; 2], write: Write) -> Self {
        let (a, b, c) = (random(m * k, "a"), random(k * n, "b"), random(m * n, "c"));
        Self {
            m,
            n,
            k,
            a,
            b,
            c,
            transposed,
            write,
        }
    }

    fn a(&self) -> Mat<'_> {
        matrix(&self.a, self.m, self.k, self.transposed[0])
    }

    fn b(&self) -> Mat<'_> {
        matrix(&self.b, self.k, self.n, self.transposed[1])
    }

    fn product(&self, engine: Engine, scratch: &mut Scratch) -> Vec<f32> {
        let mut c = self.c.clone();
        let out = MatMut::row_major(&mut c, self.m, self.n);
        engine.product(out, self.a(), self.b(), self.write, scratch);
        c
    }
}

impl Case {
    /// The product with the right operand packed, anew and in parts of `width` columns.
    fn packed(&self, engine: Engine, width: usize, scratch: &mut Scratch) -> Vec<f32> {
        let zeros = vec![0.0; self.k * self.n];
        let zeros = matrix(&zeros, self.k, self.n, self.transposed[1]);
        let columns = (0..self.n).step_by(width);
        let parts = columns.map(|first| {
            let columns = first..(first + width).min(self.n);
            let mut part = PackedMatrix::with(engine, zeros.columns(columns.clone()));
            part.pack(self.b().columns(columns));
            part
        });
        let parts: Vec<_> = parts.collect();
        if parts.is_empty() {
            return Vec::new();
        }
        let mut c = self.c.clone();
        let out = OperandMut::Rows(MatMut::row_major(&mut c, self.m, self.n));
        let part = |i: usize| parts[i].view();
        let parts = PackedParts { width, part: &part };
        parts.multiply(out, Operand::Rows(self.a()), self.write, scratch);
        c
    }

    /// The product written to columns of a wider matrix.
    fn in_columns(&self, engine: Engine, scratch: &mut Scratch) -> Vec<f32> {
        let (before, wide) = (3, self.n + 7);
        let mut all = vec![7.0; self.m * wide];
        for (row, c) in all.chunks_mut(wide).zip(self.c.chunks(self.n.max(1))) {
            row[before..][..c.len()].copy_from_slice(c);
        }
        let columns = before..before + self.n;
        let out = MatMut::row_major(&mut all, self.m, wide).columns(columns.clone());
        engine.product(out, self.a(), self.b(), self.write, scratch);
        for row in all.chunks(wide) {
            let (left, right) = (&row[..before], &row[columns.end..]);
            assert!(left.iter().chain(right).all(|&x| x == 7.0));
        }
        let rows = all.chunks(wide).flat_map(|row| &row[columns.clone()]);
        rows.copied().collect()
    }
}

fn random(n: usize, purpose: &str) -> Vec<f32> {
    let mut values = vec![0.0; n];
    let mut stream = Seed::new(1).stream(purpose, n as u64);
    stream.fill_uniform(&mut values, 1.0);
    values
}

fn matrix(values: &[f32], rows: usize, cols: usize, transposed: bool) -> Mat<'_> {
    if transposed {
        Mat::row_major(values, cols, rows).t()
    } else {
        Mat::row_major(values, rows, cols)
    }
}

fn engines_of_bf16() -> Vec<Engine> {
    let mut engines = vec![Engine::Portable];
    #[cfg(target_arch = "x86_64")]
    if bf16_is_available() {
        engines.extend([Engine::Fma, Engine::Dot]);
    }
    engines
}

/// All whose bits are ours to promise.
fn engines() -> Vec<Engine> {
    let mut engines = engines_of_bf16();
    #[cfg(target_arch = "x86_64")]
    if bf16_is_available() {
        engines.push(Engine::Exact);
    }
    engines
}

/// The nearest bf16 by comparing the two candidates in f64.
fn nearest(x: f32) -> f64 {
    let below = f32::from_bits(x.to_bits() & 0xffff_0000);
    let above = f32::from_bits(below.to_bits() + 0x1_0000);
    let distance = |y: f32| (f64::from(y) - f64::from(x)).abs();
    let even = |y: f32| y.to_bits() >> 16 & 1 == 0;
    let up = distance(above) < distance(below) || distance(above) == distance(below) && even(above);
    f64::from(if up { above } else { below })
}

/// An element by the definition in f64, and the sum of the magnitudes of its terms.
fn element(case: &Case, round: fn(f32) -> f64, i: usize, j: usize) -> (f64, f64) {
    let terms = (0..case.k).map(|k| round(case.a().at(i, k)) * round(case.b().at(k, j)));
    let before = match case.write {
        Write::Set => 0.0,
        Write::Add => f64::from(case.c[i * case.n + j]),
    };
    let all = terms.chain([before]);
    all.fold((0.0, 0.0), |(sum, size), term| {
        (sum + term, size + term.abs())
    })
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut scratch = Scratch::default();
    let portable = case.product(Engine::Portable, &mut scratch);
    check_definition(case, nearest, &portable)?;
    for engine in engines_of_bf16() {
        let found = case.product(engine, &mut scratch);
        prop_assert_eq!(&found, &portable, "{:?}", engine);
    }
    for precision in [Precision::F32, Precision::Bf16] {
        let engine = Engine::of(precision, usize::MAX);
        let found = case.product(engine, &mut scratch);
        if precision == Precision::F32 {
            check_definition(case, f64::from, &found)?;
        }
        for width in [case.n.max(1), 32, 160, 192] {
            let packed = case.packed(engine, width, &mut scratch);
            prop_assert_eq!(&packed, &found, "{:?}, parts of {}", engine, width);
        }
        prop_assert_eq!(case.in_columns(engine, &mut scratch), found);
    }
    // What processors without AVX-512 get; the library does not promise its bits.
    prop_assert_eq!(case.packed(Engine::Portable, 32, &mut scratch), portable);
    check_definition(
        case,
        f64::from,
        &case.packed(Engine::Library, 32, &mut scratch),
    )?;
    Ok(())
}

fn check_definition(
    case: &Case,
    round: fn(f32) -> f64,
    found: &[f32],
) -> Result<(), TestCaseError> {
    for i in 0..case.m {
        for j in 0..case.n {
            let (expected, size) = element(case, round, i, j);
            let error = (f64::from(found[i * case.n + j]) - expected).abs();
            // Each of `k` sums is off by half a unit in the last place at most.
            let bound = size * case.k as f64 * f64::from(f32::EPSILON);
            prop_assert!(error <= bound, "{i}, {j}: off by {error} of {size}");
        }
    }
    Ok(())
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![Just(Write::Set), Just(Write::Add)]
}

proptest! {
    #[test]
    fn small_shapes(
        m in 0usize..40, n in 0usize..70, k in 0usize..40, transposed: [bool; 2], write in write(),
    ) {
        check(&Case::new([m, n, k], transposed, write))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shapes_across_blocks(
        m in 1usize..60, n in 490usize..550, k in 240usize..530, transposed: [bool; 2], write in write(),
    ) {
        check(&Case::new([m, n, k], transposed, write))?;
    }

    #[test]
    fn few_rows(
        m in 1usize..4, n in 1usize..700, k in 1usize..600, transposed: [bool; 2], write in write(),
    ) {
        check(&Case::new([m, n, k], transposed, write))?;
    }

    #[test]
    fn bits_do_not_depend_on_the_cut_of_the_rows(
        m in 2usize..100, n in 1usize..300, k in 1usize..300, cut in 0.0..1.0, transposed: [bool; 2],
    ) {
        let case = Case::new([m, n, k], transposed, Write::Set);
        let cut = (cut * m as f64) as usize;
        for engine in engines() {
            let mut scratch = Scratch::default();
            let whole = case.product(engine, &mut scratch);
            let mut parts = vec![f32::NAN; m * n];
            let (top, bottom) = parts.split_at_mut(cut * n);
            for (rows, part) in [(0..cut, top), (cut..m, bottom)] {
                let part = MatMut::row_major(part, rows.len(), n);
                let a = case.a().t().columns(rows).t();
                engine.product(part, a, case.b(), Write::Set, &mut scratch);
            }
            prop_assert_eq!(parts, whole, "{:?}", engine);
        }
    }
}

/// `[n]·[1]` with each engine: the values as they are rounded.
fn rounded(values: &[f32]) -> Vec<Vec<f32>> {
    let round = |engine: Engine| {
        let mut out = vec![f32::NAN; values.len()];
        let c = MatMut::row_major(&mut out, values.len(), 1);
        let (a, one) = (
            Mat::row_major(values, values.len(), 1),
            Mat::row_major(&[1.0], 1, 1),
        );
        engine.product(c, a, one, Write::Set, &mut Scratch::default());
        out
    };
    engines_of_bf16().into_iter().map(round).collect()
}

#[test]
fn rounding_is_to_nearest_with_ties_to_even() {
    let step = 2f32.powi(-7);
    let (first, second) = (1.0 + step, 1.0 + 2.0 * step);
    let cases = [
        (1.0, 1.0),
        (1.0 + 0.5 * step, 1.0),
        (1.0 + 0.5 * step + f32::EPSILON, first),
        (1.0 + 1.5 * step - f32::EPSILON, first),
        (-1.0 - 1.5 * step, -second),
        (f32::MAX, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
        (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
        (f32::MIN_POSITIVE.next_down(), 0.0),
        (f32::from_bits(1), 0.0),
    ];
    for found in rounded(&cases.map(|case| case.0)) {
        assert_eq!(found, cases.map(|case| case.1));
    }
    for found in rounded(&[f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)]) {
        assert!(found.iter().all(|x| x.is_nan()), "{found:?}");
    }
}

#[test]
fn engines_round_alike() {
    let mut stream = Seed::new(2).stream("bits", 0);
    let bits = std::iter::repeat_with(|| f32::from_bits(stream.word()));
    let values: Vec<f32> = bits.filter(|x| !x.is_nan()).take(100_000).collect();
    let all = rounded(&values);
    assert!(all.iter().all(|found| *found == all[0]));
}

#[test]
fn small_integers_are_exact() {
    for engine in engines() {
        let mut c = [100.0, 200.0, 300.0, 400.0];
        let a = Mat::row_major(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3);
        let b = Mat::row_major(&[7.0, -8.0, 9.0, 10.0, -11.0, 12.0], 3, 2);
        let scratch = &mut Scratch::default();
        engine.product(MatMut::row_major(&mut c, 2, 2), a, b, Write::Add, scratch);
        assert_eq!(c, [92.0, 248.0, 307.0, 490.0]);
        engine.product(MatMut::row_major(&mut c, 2, 2), a, b, Write::Set, scratch);
        assert_eq!(c, [-8.0, 48.0, 7.0, 90.0]);
    }
}

#[test]
fn columns_are_a_view() {
    let case = Case::new([5, 40, 30], [false, true], Write::Set);
    for engine in engines() {
        let scratch = &mut Scratch::default();
        let whole = case.product(engine, scratch);
        let mut found = vec![f32::NAN; 5 * 20];
        let b = case.b().columns(3..23);
        engine.product(
            MatMut::row_major(&mut found, 5, 20),
            case.a(),
            b,
            Write::Set,
            scratch,
        );
        for (found, whole) in found.chunks(20).zip(whole.chunks(40)) {
            assert_eq!(found, &whole[3..23]);
        }
    }
}

#[test]
fn nothing_is_allocated_after_warm_up() {
    let (large, small) = (
        Case::new([60, 70, 300], [false; 2], Write::Set),
        Case::new([50, 33, 41], [true; 2], Write::Set),
    );
    for engine in engines() {
        let mut scratch = Scratch::default();
        large.product(engine, &mut scratch);
        let buffers = |s: &Scratch| [&s.left, &s.right].map(|b| (b.as_ptr(), b.capacity()));
        let before = buffers(&scratch);
        small.product(engine, &mut scratch);
        large.product(engine, &mut scratch);
        assert_eq!(buffers(&scratch), before);
    }
}
