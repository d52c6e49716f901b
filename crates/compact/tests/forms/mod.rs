//! Tables in every form there is: each structure with each value type, heads, presence, sharing,
//! projection.

use slimbed_compact::{
    Combine, Encoding, FieldTable, PartTable, Pooling, Projection, Rows, RowsStored, Sharing,
    Structure, Values,
};
use slimbed_rng::Seed;

/// Values that are kept, of 8 in a row.
const KEPT: [u64; 4] = [8, 4, 2, 1];

/// Rows of which about `of_8` in 8 values are kept; every fifth row is empty. All values are multiples of
/// 1/8, so they can be written down.
fn rows(n_rows: usize, dim: usize, of_8: u64, seed: u64) -> Rows<'static> {
    let mut random = Seed::new(seed).stream("forms", 0);
    let mut values = Vec::with_capacity(n_rows * dim);
    for row in 0..n_rows {
        for _ in 0..dim {
            let x = (random.below(31) as f32 - 15.0) / 8.0;
            let kept = random.below(8) < of_8 && row % 5 != 4;
            values.push(if kept && x != 0.0 { x } else { 0.0 });
        }
    }
    Rows::new(values.leak(), dim).expect("whole rows")
}

/// Rows that keep their first values, fewer from row to row; every fifth row is empty.
fn falling(n_rows: usize, dim: usize, seed: u64) -> Rows<'static> {
    let all = rows(n_rows, dim, 8, seed);
    let longest = |row: usize| dim * (n_rows - row) / n_rows;
    let rows = all.iter().enumerate().map(|(i, row)| {
        let kept = row.iter().take(longest(i)).copied();
        kept.chain(vec![0.0; dim - longest(i)])
    });
    let values: Vec<f32> = rows.flatten().collect();
    Rows::new(values.leak(), dim).expect("whole rows")
}

/// Structure by value type; what has a head has one, and is stored with presence, every other time.
fn encodings() -> Vec<(String, Encoding)> {
    let mut all = Vec::new();
    for structure in Structure::ALL {
        for (i, values) in Values::ALL.into_iter().enumerate() {
            let encoding = Encoding {
                rows: [RowsStored::All, RowsStored::Present][i % 2],
                structure,
                values,
                n_head: if structure.has_head() && i % 3 == 1 {
                    7
                } else {
                    0
                },
            };
            all.push((format!("{} {}", structure.name(), values.name()), encoding));
        }
    }
    all
}

fn plain(i: usize, name: String, encoding: Encoding) -> FieldTable<'static> {
    // Two blocks of each index, of 32 rows or 128; more than one vector where that is cheap.
    let (n_rows, dim, of_8) = match encoding.structure {
        Structure::Dense => (9, 6, KEPT[i % 4]),
        Structure::DenseLines => (9, 3 + 2 * (i % 4), 8),
        Structure::Prefix => (35, 6, KEPT[i % 4]),
        Structure::Steps => (35, 18 - 2 * (i % 4), 8),
        Structure::List => (35, 9, KEPT[i % 4]),
        Structure::Positions => (131, 9, 1),
        _ => (35, 18, KEPT[i % 4]),
    };
    let pooling = [Pooling::Sum, Pooling::Mean][i % 2];
    let rows = match encoding.structure {
        Structure::Steps => falling(n_rows, dim, i as u64),
        _ => rows(n_rows, dim, of_8, i as u64),
    };
    FieldTable::new(name.leak(), rows, encoding, pooling)
}

/// One field of every form.
pub fn every_form() -> Vec<FieldTable<'static>> {
    let encodings = encodings().into_iter().enumerate();
    let mut fields: Vec<_> = encodings
        .map(|(i, (name, encoding))| plain(i, name, encoding))
        .collect();
    let split = |combine| Sharing::QuotientRemainder {
        divisor: 8,
        combine,
    };
    let bitmap = Encoding {
        structure: Structure::Bitmap,
        ..Encoding::EXACT_DENSE
    };
    let int8 = Encoding {
        values: Values::Int8,
        ..Encoding::EXACT_DENSE
    };
    let part = |n_rows, encoding, seed| PartTable {
        rows: rows(n_rows, 4, 6, seed),
        encoding,
    };
    let field = |name, sharing, parts, projection| FieldTable {
        name,
        n_rows: 37,
        pooling: Pooling::Sum,
        sharing,
        parts,
        projection,
    };
    let two = || vec![part(5, bitmap, 21), part(8, int8, 22)];
    let matrix = |width| {
        let matrix = rows(width, 5, 8, 23);
        let values: Vec<f32> = matrix.iter().flatten().copied().collect();
        Some(Projection {
            matrix: values.leak(),
            dim: 5,
        })
    };
    fields.extend([
        field(
            "hash",
            Sharing::Hash { seed: 3 },
            vec![part(9, bitmap, 24)],
            None,
        ),
        field("cutoff", Sharing::Cutoff, vec![part(9, bitmap, 26)], None),
        field("sum", split(Combine::Sum), two(), None),
        field("product", split(Combine::Product), two(), None),
        field("concat", split(Combine::Concat), two(), None),
        field(
            "projected",
            Sharing::None,
            vec![part(37, bitmap, 25)],
            matrix(4),
        ),
        field("concat projected", split(Combine::Concat), two(), matrix(8)),
    ]);
    let empty = Rows::new(&[], 3).expect("no rows");
    let present = Encoding {
        rows: RowsStored::All,
        ..bitmap
    };
    fields.push(FieldTable::new("empty", empty, present, Pooling::Sum));
    fields
}
