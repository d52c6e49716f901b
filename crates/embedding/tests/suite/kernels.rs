//! Every fast kernel against its naive twin, and reduce against expand.

use proptest::prelude::*;
use slimbed_embedding::{
    BatchIndex, EmbeddingError, SparseOptimizer, SparseRule, Table, TableView, expand, gather,
    lookup, reduce,
};

use crate::cases::{Batch, any_batch, any_dim, large_batch, normals};

/// What each kernel does, in the order of its sums.
mod naive {
    use super::*;

    pub fn lookup(tables: &[Table], batch: &Batch, dim: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for b in 0..batch.n {
            for (f, table) in tables.iter().enumerate() {
                let (bag, weight) = batch.bag(f, b);
                let mut sum = vec![0.0; dim];
                for &id in bag {
                    add(&mut sum, weight, table.row(id));
                }
                out.extend(sum);
            }
        }
        out
    }

    /// Unique rows by walking all rows of all tables.
    pub fn unique(batch: &Batch) -> Vec<(usize, u32)> {
        let fields = batch.fields.iter().enumerate();
        fields
            .flat_map(|(f, field)| {
                let used = (0..field.n_rows as u32).filter(|row| field.ids.contains(row));
                used.map(move |row| (f, row))
            })
            .collect()
    }

    pub fn gather(tables: &[Table], batch: &Batch) -> Vec<f32> {
        let rows = unique(batch).into_iter();
        rows.flat_map(|(f, row)| tables[f].row(row).to_vec())
            .collect()
    }

    pub fn reduce(gradient: &[f32], batch: &Batch, dim: usize) -> Vec<f32> {
        let unique = unique(batch);
        let mut out = vec![0.0; unique.len() * dim];
        for ((f, row), sum) in unique.into_iter().zip(out.chunks_exact_mut(dim)) {
            for b in 0..batch.n {
                let (bag, weight) = batch.bag(f, b);
                for _ in bag.iter().filter(|&&id| id == row) {
                    let slot = b * batch.fields.len() + f;
                    add(sum, weight, &gradient[slot * dim..][..dim]);
                }
            }
        }
        out
    }

    fn add(sum: &mut [f32], weight: f32, row: &[f32]) {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += weight * v);
    }
}

/// What the fast kernels make of a batch.
#[derive(Debug, PartialEq)]
struct Found {
    looked_up: Vec<f32>,
    gathered: Vec<f32>,
    expanded: Vec<f32>,
    reduced: Vec<f32>,
}

fn fast(batch: &Batch, tables: &[TableView<'_>], gradient: &[f32], dim: usize) -> Found {
    let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
    let n_values = batch.n * batch.fields.len() * dim;
    // Values that a kernel forgets to write would show.
    let mut found = Found {
        looked_up: vec![9.0; n_values],
        gathered: vec![9.0; index.n_unique() * dim],
        expanded: vec![9.0; n_values],
        reduced: vec![9.0; index.n_unique() * dim],
    };
    lookup(tables, &batch.ids(), dim, &mut found.looked_up).unwrap();
    gather(tables, &index, dim, &mut found.gathered).unwrap();
    expand(&found.gathered, &index, dim, &mut found.expanded).unwrap();
    reduce(gradient, &index, dim, &mut found.reduced).unwrap();
    found
}

fn naive(batch: &Batch, tables: &[Table], gradient: &[f32], dim: usize) -> Found {
    let looked_up = naive::lookup(tables, batch, dim);
    Found {
        expanded: looked_up.clone(),
        looked_up,
        gathered: naive::gather(tables, batch),
        reduced: naive::reduce(gradient, batch, dim),
    }
}

fn check(batch: &Batch, dim: usize) {
    let tables = batch.tables(dim);
    let gradient = normals(batch.n * batch.fields.len() * dim, 99);
    let found = fast(batch, &batch.views(&tables), &gradient, dim);
    assert_eq!(found, naive(batch, &tables, &gradient, dim));
}

proptest! {
    #[test]
    fn kernels_equal_their_twins_bit_for_bit(batch in any_batch(), dim in any_dim()) {
        check(&batch, dim);
    }

    #[test]
    fn index_names_the_unique_rows(batch in any_batch()) {
        let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
        let rows = |f: usize| index.rows(f).iter().map(move |&row| (f, row));
        let found: Vec<_> = (0..batch.fields.len()).flat_map(rows).collect();
        prop_assert_eq!(found, naive::unique(&batch));
    }

    #[test]
    fn reduce_is_the_adjoint_of_expand(batch in any_batch(), dim in any_dim()) {
        let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
        let rows = normals(index.n_unique() * dim, 1);
        let gradient = normals(batch.n * batch.fields.len() * dim, 2);
        let mut embeddings = vec![0.0; gradient.len()];
        let mut sums = vec![0.0; rows.len()];
        expand(&rows, &index, dim, &mut embeddings).unwrap();
        reduce(&gradient, &index, dim, &mut sums).unwrap();
        prop_assert!((dot(&embeddings, &gradient) - dot(&rows, &sums)).abs() < 1e-3);
    }

    #[test]
    fn reduce_is_the_finite_difference(batch in any_batch(), dim in 1..4usize) {
        // Expanding is linear, so a step of any size gives its exact derivative.
        let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
        let rows = normals(index.n_unique() * dim, 1);
        let gradient = normals(batch.n * batch.fields.len() * dim, 2);
        let loss = |rows: &[f32]| {
            let mut embeddings = vec![0.0; gradient.len()];
            expand(rows, &index, dim, &mut embeddings).unwrap();
            dot(&embeddings, &gradient)
        };
        let mut sums = vec![0.0; rows.len()];
        reduce(&gradient, &index, dim, &mut sums).unwrap();
        for (i, &slope) in sums.iter().enumerate() {
            let mut moved = rows.clone();
            moved[i] += 1.0;
            prop_assert!((loss(&moved) - loss(&rows) - f64::from(slope)).abs() < 1e-4);
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

#[test]
fn large_batches_equal_their_twins_on_any_number_of_threads() {
    let batch = large_batch(1);
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| check(&batch, 8));
    }
}

#[test]
fn wrong_lengths_are_named() {
    let batch = large_batch(1);
    let tables = batch.tables(4);
    let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
    let (n_values, n_unique) = (1500 * 6 * 4, index.n_unique() * 4);
    let (mut embeddings, mut rows) = (vec![0.0; n_values], vec![0.0; n_unique]);
    let short = n_unique - 1;
    let views = batch.views(&tables);
    let cases = [
        (
            lookup(&views, &batch.ids(), 4, &mut rows),
            n_values,
            n_unique,
        ),
        (gather(&views, &index, 4, &mut rows[1..]), n_unique, short),
        (
            expand(&rows[1..], &index, 4, &mut embeddings),
            n_unique,
            short,
        ),
        (
            expand(&rows, &index, 4, &mut embeddings[3..]),
            n_values,
            n_values - 3,
        ),
        (
            reduce(&embeddings[3..], &index, 4, &mut rows),
            n_values,
            n_values - 3,
        ),
        (
            reduce(&embeddings, &index, 4, &mut rows[1..]),
            n_unique,
            short,
        ),
    ];
    for (result, expected, found) in cases {
        let message = result.unwrap_err().to_string();
        assert!(
            message.ends_with(&format!("expected {expected} values, found {found}")),
            "{message}"
        );
    }
}

#[test]
fn other_tables_are_refused() {
    let (batch, other) = (large_batch(1), large_batch(2));
    let index = BatchIndex::new(&batch.ids(), &batch.pooling()).unwrap();
    let mut rows = vec![0.0; index.n_unique() * 4];
    let tables = other.tables(4);
    let mut views = other.views(&tables);
    let last = views.len() - 1;
    views[last].values = &[0.0; 8];
    let error = gather(&views, &index, 4, &mut rows).unwrap_err();
    assert!(
        matches!(error, EmbeddingError::IdOutOfRange { field: 5, .. }),
        "{error}"
    );
    let error = gather(&views[1..], &index, 4, &mut rows).unwrap_err();
    assert!(
        matches!(error, EmbeddingError::FieldCount { .. }),
        "{error}"
    );
    let error = lookup(&views, &other.ids(), 2, &mut rows).unwrap_err();
    assert!(error.to_string().contains("dim of a table"), "{error}");
}

#[test]
fn no_fields_are_a_batch() {
    let index = BatchIndex::default();
    gather(&[], &index, 4, &mut []).unwrap();
    expand(&[], &index, 4, &mut []).unwrap();
    reduce(&[], &index, 4, &mut []).unwrap();
    let mut optimizer = SparseOptimizer::new(SparseRule::Sgd, 0.0, std::iter::empty()).unwrap();
    optimizer.step(&mut [], &index, &[], 0.1, 1.0).unwrap();
}
