//! How small tables get: against the information in them, and against what was predicted.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use serde_json::json;
use slimbed_compact::{
    Artefact, Encoder, Encoding, FieldTable, Pooling, Prefer, Rows, TableStats, Values, write,
};
use slimbed_rng::Seed;

/// Enough for sizes that differ from those of a million rows in the fourth digit;
/// `SLIMBED_SIZE_ROWS=1000000` asks for others.
const N_ROWS: usize = 100_000;

fn n_rows() -> usize {
    let wanted = std::env::var("SLIMBED_SIZE_ROWS").ok();
    wanted.map_or(N_ROWS, |n| n.parse().unwrap())
}

/// Rows of which every value is kept with the same chance, wherever it stands.
fn uniform(n_rows: usize, dim: usize, density: f64) -> Vec<f32> {
    let mut random = Seed::new(7).stream("sizes", dim as u64);
    let threshold = (density * 2.0_f64.powi(32)) as u64;
    let value = |word: u32| 0.25 + (word % 1024) as f32;
    let values = (0..n_rows * dim).map(|_| {
        let kept = u64::from(random.word()) < threshold;
        if kept { value(random.word()) } else { 0.0 }
    });
    values.collect()
}

/// Bytes of the tensors of a table stored as `encoding`.
fn stored_bytes(rows: Rows<'_>, encoding: Encoding) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    let field = FieldTable::new("t", rows, encoding, Pooling::Sum);
    write(&path, &[field], &[], json!({}), json!({})).unwrap();
    Artefact::open(&path).unwrap().field_bytes(0)
}

const SMALLEST: Encoder = Encoder {
    values: Values::F32,
    prefer: Prefer::Size,
};

#[test]
fn the_smallest_encoding_is_near_the_bound() {
    for dim in [16, 64] {
        for pruned in [0.50, 0.80, 0.95, 0.99] {
            let values = uniform(n_rows(), dim, 1.0 - pruned);
            let rows = Rows::new(&values, dim).unwrap();
            let choice = SMALLEST.choose(&TableStats::of(rows));
            let encoding = choice.taken.encoding;
            let found = stored_bytes(rows, encoding) as f64;
            let ratio = found / choice.bound.bytes();
            println!("d={dim} pruned={pruned}: {} {ratio:.4}", encoding.name());
            assert!(ratio <= 1.15, "d={dim} pruned={pruned}: {ratio}");
            // Nothing can be smaller than the information that is in it.
            assert!(ratio >= 1.0, "d={dim} pruned={pruned}: {ratio}");
        }
    }
}

#[test]
fn half_bytes_take_less_than_a_fifth_of_a_dense_table() {
    let dim = 16;
    let values = uniform(n_rows(), dim, 1.0);
    let rows = Rows::new(&values, dim).unwrap();
    let stats = TableStats::of(rows);
    for prefer in [Prefer::Size, Prefer::Speed] {
        let encoder = Encoder {
            values: Values::Int4,
            prefer,
        };
        let encoding = encoder.choose(&stats).taken.encoding;
        let ratio = stored_bytes(rows, encoding) as f64 / (4 * values.len()) as f64;
        println!("{}: {ratio:.4}", encoding.name());
        // 8 bytes of values and 4 of scale and bias for 64.
        assert!(ratio <= 0.1876, "{}: {ratio}", encoding.name());
    }
}

/// Rows of `dim · min(1, 8 % / share of the rows before)` values, up to one more: a quarter of them all.
fn falling(n_rows: usize, dim: usize) -> Vec<f32> {
    let mut random = Seed::new(8).stream("sizes", dim as u64);
    let mut values = vec![0.0; n_rows * dim];
    for (row, values) in values.chunks_exact_mut(dim).enumerate() {
        let share = (0.077 * n_rows as f64 / (row + 1) as f64).min(1.0);
        let length = (share * dim as f64 + random.uniform_f64()) as usize;
        values[..length.min(dim)].fill(1.5);
    }
    values
}

#[test]
fn prefixes_that_fall_with_frequency_become_steps() {
    for dim in [16, 64] {
        let values = falling(n_rows(), dim);
        let rows = Rows::new(&values, dim).unwrap();
        let speed = Encoder {
            prefer: Prefer::Speed,
            ..SMALLEST
        };
        let choice = speed.choose(&TableStats::of(rows));
        let taken = choice.taken;
        assert_eq!(taken.encoding.name(), "steps f32");
        assert_eq!(taken.n_bytes, stored_bytes(rows, taken.encoding));
        let ratio = taken.n_bytes as f64 / choice.bound.bytes();
        assert!(ratio <= 1.25, "d={dim}: {ratio}");
    }
}

#[test]
fn every_candidate_takes_what_was_predicted() {
    let encoders = Values::ALL.map(|values| Encoder { values, ..SMALLEST });
    for (dim, density) in [(16, 0.05), (17, 0.5), (64, 0.01), (9, 1.0)] {
        let values = uniform(20_000, dim, density);
        let rows = Rows::new(&values, dim).unwrap();
        let stats = TableStats::of(rows);
        for encoder in encoders {
            for candidate in encoder.choose(&stats).candidates {
                let found = stored_bytes(rows, candidate.encoding) as f64;
                let off = candidate.n_bytes as f64 / found - 1.0;
                assert!(
                    off.abs() <= 0.01,
                    "d={dim}: {}: {off}",
                    candidate.encoding.name()
                );
            }
            let speed = Encoder {
                prefer: Prefer::Speed,
                ..encoder
            };
            let taken = speed.choose(&stats).taken;
            let off = taken.n_bytes as f64 / stored_bytes(rows, taken.encoding) as f64 - 1.0;
            assert!(
                off.abs() <= 0.01,
                "d={dim}: {}: {off}",
                taken.encoding.name()
            );
        }
    }
}
