//! Every encoding gives back what was stored, and every kernel what the naive lookup gives.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod sample;

use proptest::prelude::*;
use sample::{Pattern, Sample};
use serde_json::json;
use slimbed_compact::{
    Artefact, Bags, Combine, Encoding, FieldTable, Isa, Output, PartTable, Pooling, Projection,
    Rows, RowsStored, Scratch, Sharing, Structure, Table, Values, naive, write,
};

fn patterns() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        prop::sample::select(vec![0.0, 0.01, 0.05, 0.2, 0.5, 1.0]).prop_map(Pattern::Anywhere),
        prop::sample::select(vec![0.1, 0.5, 1.0]).prop_map(Pattern::Prefix),
        prop::sample::select(vec![0, 1, 5]).prop_map(Pattern::Falling),
    ]
}

fn samples() -> impl Strategy<Value = Sample> {
    let n_rows = prop_oneof![0..4_usize, 1..700_usize];
    let dim = prop_oneof![1..70_usize, 1..=130_usize];
    (n_rows, dim, patterns(), any::<u64>())
        .prop_map(|(n_rows, dim, pattern, seed)| Sample::new(n_rows, dim, pattern, seed))
}

/// Writes one field for each of `fields` and opens the file.
fn stored(fields: &[FieldTable<'_>]) -> (tempfile::TempDir, Artefact) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    write(&path, fields, &[], json!({}), json!({})).unwrap();
    let artefact = Artefact::open(&path).unwrap();
    artefact.verify().unwrap();
    (dir, artefact)
}

fn in_every_encoding(
    sample: &Sample,
    pooling: Pooling,
) -> (Vec<Encoding>, tempfile::TempDir, Artefact) {
    let rows = Rows::new(&sample.values, sample.dim).unwrap();
    let encodings = sample.encodings();
    let names: Vec<String> = encodings.iter().map(Encoding::name).collect();
    let fields = names.iter().zip(&encodings);
    let fields: Vec<_> = fields
        .map(|(name, &encoding)| FieldTable::new(name, rows, encoding, pooling))
        .collect();
    let (dir, artefact) = stored(&fields);
    (encodings, dir, artefact)
}

fn kept(row: &[f32]) -> Vec<f32> {
    row.iter().copied().filter(|&x| x != 0.0).collect()
}

/// The values that share scale and bias with those of `row`, stored as positions: of 128 rows that are stored.
fn kept_in_block(sample: &Sample, encoding: Encoding, row: usize) -> Vec<f32> {
    let is_stored =
        |&i: &usize| encoding.rows == RowsStored::All || sample.row(i).iter().any(|&x| x != 0.0);
    let stored = (encoding.n_head as usize..sample.n_rows).filter(is_stored);
    let stored: Vec<usize> = stored.collect();
    let block = stored.chunks(128).find(|block| block.contains(&row));
    let rows = block.unwrap_or_default().iter();
    rows.flat_map(|&i| kept(sample.row(i))).collect()
}

/// How far a decoded value of `row` may be from the exact one.
fn tolerance(sample: &Sample, encoding: Encoding, row: usize) -> f32 {
    let levels = match encoding.values {
        Values::F32 => return 0.0,
        Values::F16 => {
            return sample.row(row).iter().fold(0.0, |m: f32, x| m.max(x.abs())) / 2048.0;
        }
        Values::Int8 => 255.0,
        Values::Int4 => 15.0,
    };
    let prefix = |row: &[f32]| -> Vec<f32> {
        let last = row.iter().rposition(|&x| x != 0.0);
        row[..last.map_or(0, |last| last + 1)].to_vec()
    };
    let values = match encoding.structure {
        _ if row < encoding.n_head as usize => sample.row(row).to_vec(),
        Structure::Dense | Structure::DenseLines => sample.row(row).to_vec(),
        Structure::Prefix => prefix(sample.row(row)),
        // With zeros, if a row behind is longer.
        Structure::Steps => [prefix(sample.row(row)), vec![0.0]].concat(),
        Structure::Bitmap | Structure::List => kept(sample.row(row)),
        Structure::Positions => kept_in_block(sample, encoding, row),
    };
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if values.is_empty() {
        return 0.0;
    }
    // Scale and bias are f16, rounded away from the values: by 1/1024 of themselves at most.
    let step = (high - low + low.abs() / 1024.0) / levels * (1.0 + 1.0 / 1024.0);
    step / 2.0 + 1e-6
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_come_back(sample in samples()) {
        let (encodings, _dir, artefact) = in_every_encoding(&sample, Pooling::Sum);
        let (mut row, mut scratch) = (vec![0.0; sample.dim], Scratch::default());
        for (f, &encoding) in encodings.iter().enumerate() {
            let table = artefact.table(f).unwrap();
            for i in 0..sample.n_rows {
                table.row(i as u32, &mut row, &mut scratch).unwrap();
                let tolerance = tolerance(&sample, encoding, i);
                for (column, (found, exact)) in row.iter().zip(sample.row(i)).enumerate() {
                    prop_assert!(
                        (found - exact).abs() <= tolerance,
                        "{}: row {i}, column {column}: {found} for {exact}", encoding.name()
                    );
                }
            }
        }
    }

    #[test]
    fn kernels_agree_with_the_naive_lookup(
        sample in samples().prop_filter("rows", |sample| sample.n_rows > 0),
        mean: bool,
        bags in requests(),
    ) {
        let pooling = if mean { Pooling::Mean } else { Pooling::Sum };
        let (_, _dir, artefact) = in_every_encoding(&sample, pooling);
        for (f, field) in artefact.manifest().fields.iter().enumerate() {
            check(&artefact.table(f).unwrap(), &bags, &field.name)?;
        }
    }

    #[test]
    fn shared_and_projected_tables_agree_with_the_naive_lookup(
        dim in 1..40_usize,
        n_ids in 1..500_u32,
        divisor in 1..40_u32,
        seed: u64,
        bags in requests(),
    ) {
        let n_quotients = n_ids.div_ceil(divisor) as usize;
        let first = Sample::new(n_quotients, dim, Pattern::Anywhere(0.6), seed);
        let second = Sample::new(divisor as usize, dim, Pattern::Anywhere(1.0), seed ^ 1);
        let matrix = Sample::new(dim, 21, Pattern::Anywhere(1.0), seed ^ 2);
        let wide = Sample::new(2 * dim, 21, Pattern::Anywhere(1.0), seed ^ 3);
        let part = |sample: &'static Sample, structure| PartTable {
            rows: Rows::new(&sample.values, sample.dim).unwrap(),
            encoding: Encoding { structure, ..Encoding::EXACT_DENSE },
        };
        let cut = Sample::new(divisor.min(n_ids) as usize, dim, Pattern::Anywhere(0.6), seed ^ 4);
        let [first, second, matrix, wide, cut]: [&'static Sample; 5] =
            [first, second, matrix, wide, cut].map(|sample| &*Box::leak(Box::new(sample)));
        let one = vec![part(second, Structure::Bitmap)];
        let cut = vec![part(cut, Structure::Bitmap)];
        let two = vec![part(first, Structure::Bitmap), part(second, Structure::Dense)];
        let field = |name: &'static str, sharing, parts: &[PartTable<'static>], matrix: Option<&'static Sample>| FieldTable {
            name,
            n_rows: n_ids.into(),
            pooling: Pooling::Mean,
            sharing,
            parts: parts.to_vec(),
            projection: matrix.map(|m| Projection { matrix: &m.values, dim: m.dim }),
        };
        let split = |combine| Sharing::QuotientRemainder { divisor, combine };
        let fields = [
            field("hash", Sharing::Hash { seed }, &one, None),
            field("hash projected", Sharing::Hash { seed }, &one, Some(matrix)),
            field("cutoff", Sharing::Cutoff, &cut, None),
            field("cutoff projected", Sharing::Cutoff, &cut, Some(matrix)),
            field("sum", split(Combine::Sum), &two, None),
            field("product", split(Combine::Product), &two, None),
            field("product projected", split(Combine::Product), &two, Some(matrix)),
            field("concat", split(Combine::Concat), &two, None),
            field("concat projected", split(Combine::Concat), &two, Some(wide)),
        ];
        let (_dir, artefact) = stored(&fields);
        for (f, field) in fields.iter().enumerate() {
            check(&artefact.table(f).unwrap(), &bags, field.name)?;
        }
    }
}

#[test]
fn long_bags_and_batches_agree_with_the_naive_lookup() {
    // More bags and ids than are sorted or gathered at once, a bag that is longer still, empty ones between.
    let lengths = [
        vec![3; 1400],
        vec![0; 5],
        vec![9000],
        vec![0; 3000],
        vec![20; 120],
    ]
    .concat();
    let n: usize = lengths.iter().sum();
    let share = |i: usize| (i * 7919 % 10_007) as f64 / 10_007.0;
    for (dim, pattern) in [
        (40, Pattern::Anywhere(0.05)),
        (16, Pattern::Anywhere(0.05)),
        (16, Pattern::Falling(1)),
    ] {
        let sample = Sample::new(5000, dim, pattern, 7);
        let (_, _dir, artefact) = in_every_encoding(&sample, Pooling::Mean);
        for (single, weighted) in [(true, false), (false, false), (false, true)] {
            let n = if single { lengths.len() } else { n };
            let wanted = Wanted {
                ids: (0..n).map(share).collect(),
                lengths: lengths.clone(),
                single,
                weights: weighted.then(|| (0..n).map(|i| share(i) as f32 - 0.5).collect()),
            };
            for (f, field) in artefact.manifest().fields.iter().enumerate() {
                check(&artefact.table(f).unwrap(), &wanted, &field.name).unwrap();
            }
        }
    }
}

/// What to look up: ids as shares of the table, lengths of bags, weights.
#[derive(Clone, Debug)]
struct Wanted {
    ids: Vec<f64>,
    lengths: Vec<usize>,
    single: bool,
    weights: Option<Vec<f32>>,
}

fn requests() -> impl Strategy<Value = Wanted> {
    let lengths = prop::collection::vec(0..6_usize, 0..90);
    (lengths, any::<bool>(), any::<bool>()).prop_flat_map(|(lengths, single, weighted)| {
        let n: usize = if single {
            lengths.len()
        } else {
            lengths.iter().sum()
        };
        let ids = prop::collection::vec(0.0..1.0, n);
        let weights = prop::collection::vec(-2.0..2.0_f32, n);
        (ids, weights).prop_map(move |(ids, weights)| Wanted {
            ids,
            lengths: lengths.clone(),
            single,
            weights: weighted.then_some(weights),
        })
    })
}

/// Holds all kernels against the naive lookup, on every kind of processor this one can be.
fn check(table: &Table<'_>, wanted: &Wanted, name: &str) -> Result<(), TestCaseError> {
    let ids: Vec<u32> = wanted
        .ids
        .iter()
        .map(|share| (share * table.n_rows() as f64) as u32)
        .collect();
    let mut offsets = vec![0];
    offsets.extend(wanted.lengths.iter().scan(0, |end, &len| {
        *end += len as u32;
        Some(*end)
    }));
    let bags = Bags {
        ids: &ids,
        offsets: (!wanted.single).then_some(offsets.as_slice()),
        weights: wanted.weights.as_deref(),
    };
    // A layout as a model has it: other fields before and behind.
    let stride = table.dim() + 5;
    let memory = || vec![9.0_f32; bags.n() * stride + 3];
    let (mut expected, mut scratch) = (memory(), Scratch::default());
    let out = Output {
        values: &mut expected,
        start: 2,
        stride,
    };
    naive::lookup(table, &bags, out, &mut scratch).unwrap();
    for isa in Isa::available() {
        let mut found = memory();
        let table = table.clone().with_isa(isa);
        let out = Output {
            values: &mut found,
            start: 2,
            stride,
        };
        table.lookup(&bags, out, &mut scratch).unwrap();
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            prop_assert!(
                (f - e).abs() <= 1e-4 * e.abs().max(1.0),
                "{name} {isa:?}: {f} for {e} at {i}"
            );
        }
    }
    Ok(())
}

#[test]
fn ids_offsets_and_sizes_are_checked() {
    let sample = Sample::new(10, 3, Pattern::Anywhere(1.0), 1);
    let (_, _dir, artefact) = in_every_encoding(&sample, Pooling::Sum);
    let table = artefact.table(0).unwrap();
    let fails = |bags: Bags<'_>, n: usize, expected: &str| {
        let (mut out, mut scratch) = (vec![5.0; n], Scratch::default());
        let error = table
            .lookup(&bags, Output::rows(&mut out, 3), &mut scratch)
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(out.iter().all(|&x| x == 5.0));
    };
    fails(
        Bags::single(&[1, 9, 10]),
        9,
        "id 10 at position 2: expected less than 10",
    );
    fails(Bags::single(&[1, 9]), 5, "output: expected 6, found 5");
    fails(Bags::new(&[1, 2], &[0, 1]), 3, "offset 1 is 1: expected 2");
    fails(
        Bags::new(&[1, 2], &[0, 2, 1, 2]),
        9,
        "offset 2 is 1: expected 2 or more",
    );
    fails(Bags::new(&[1, 2], &[]), 9, "offset 0");
    let weights = Some(&[1.0][..]);
    fails(
        Bags {
            weights,
            ..Bags::single(&[1, 2])
        },
        6,
        "weights: expected 2, found 1",
    );
}
