//! Batches to test with.

use proptest::prelude::*;
use slimbed_embedding::{Bags, IdBatch, Pooling, Table, TableView};
use slimbed_rng::Seed;

/// Rows of every table of [`any_batch`].
pub const N_ROWS: usize = 9;

/// A batch that owns its ids.
#[derive(Clone, Debug)]
pub struct Batch {
    pub n: usize,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub ids: Vec<u32>,
    pub offsets: Option<Vec<u32>>,
    pub pooling: Pooling,
    pub n_rows: usize,
}

impl Batch {
    pub fn ids(&self) -> IdBatch<'_> {
        let fields = self.fields.iter();
        let fields = fields.map(|field| Bags {
            ids: &field.ids,
            offsets: field.offsets.as_deref(),
        });
        IdBatch {
            n: self.n,
            fields: fields.collect(),
        }
    }

    pub fn pooling(&self) -> Vec<Pooling> {
        self.fields.iter().map(|field| field.pooling).collect()
    }

    /// The ids of sample `b` in field `f`, and their weight.
    pub fn bag(&self, f: usize, b: usize) -> (&[u32], f32) {
        let field = &self.fields[f];
        let range = match &field.offsets {
            None => b..b + 1,
            Some(offsets) => offsets[b] as usize..offsets[b + 1] as usize,
        };
        (&field.ids[range.clone()], field.pooling.weight(range.len()))
    }

    pub fn tables(&self, dim: usize) -> Vec<Table> {
        let fields = self.fields.iter().enumerate();
        let table = |(f, field): (usize, &Field)| {
            let mut table = Table::zeros(field.n_rows, dim).unwrap();
            table
                .values_mut()
                .copy_from_slice(&normals(field.n_rows * dim, f as u64));
            table
        };
        fields.map(table).collect()
    }

    pub fn views<'a>(&self, tables: &'a [Table]) -> Vec<TableView<'a>> {
        let tables = tables.iter().zip(&self.fields);
        tables
            .map(|(table, field)| TableView {
                values: table.values(),
                dim: table.dim(),
                pooling: field.pooling,
            })
            .collect()
    }
}

/// Small batches: single and multi-valued fields, empty bags, duplicates, sums and means.
pub fn any_batch() -> impl Strategy<Value = Batch> {
    (1..4usize, 0..7usize).prop_flat_map(|(n_fields, n)| {
        let fields = prop::collection::vec(any_field(n), n_fields);
        fields.prop_map(move |fields| Batch { n, fields })
    })
}

/// Known row lengths and odd ones.
pub fn any_dim() -> impl Strategy<Value = usize> {
    prop_oneof![1..11usize, Just(16), Just(17), Just(32), Just(64), Just(70)]
}

fn any_field(n: usize) -> impl Strategy<Value = Field> {
    let bag = prop::collection::vec(0..N_ROWS as u32, 0..4);
    let bags = prop::collection::vec(bag, n);
    let pooling = prop_oneof![Just(Pooling::Sum), Just(Pooling::Mean)];
    (bags, pooling, any::<bool>()).prop_map(|(bags, pooling, is_single)| {
        let first = |bag: &Vec<u32>| bag.first().copied().unwrap_or(3);
        let (ids, offsets) = if is_single {
            (bags.iter().map(first).collect(), None)
        } else {
            (bags.concat(), Some(offsets(bags.iter().map(Vec::len))))
        };
        Field {
            ids,
            offsets,
            pooling,
            n_rows: N_ROWS,
        }
    })
}

/// A batch that is worth more than one task: fields from 2 to 100,000 rows, the third multi-valued.
pub fn large_batch(seed: u64) -> Batch {
    let n = 1500;
    let mut stream = Seed::new(seed).stream("test/large", 0);
    let n_rows = [2u64, 100_000, 300, 70_000, 1, 5000];
    let mut fields: Vec<Field> = Vec::new();
    for (f, n_rows) in n_rows.into_iter().enumerate() {
        let sizes: Vec<usize> = (0..n).map(|_| stream.below(4) as usize).collect();
        let offsets = (f == 2).then(|| offsets(sizes.into_iter()));
        let n_ids = offsets.as_ref().map_or(n, |offsets| offsets[n] as usize);
        let ids = (0..n_ids).map(|_| stream.below(n_rows) as u32);
        fields.push(Field {
            ids: ids.collect(),
            offsets,
            pooling: if f == 2 { Pooling::Mean } else { Pooling::Sum },
            n_rows: n_rows as usize,
        });
    }
    Batch { n, fields }
}

pub fn normals(n: usize, index: u64) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Seed::new(3)
        .stream("test/normals", index)
        .fill_normal(&mut values, 1.0);
    values
}

fn offsets(sizes: impl Iterator<Item = usize>) -> Vec<u32> {
    let ends = sizes.scan(0, |end, size| {
        *end += size as u32;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
