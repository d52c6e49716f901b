//! Counts and masks against a plain sort.

use slimbed_embedding::{EmbeddingLayer, Mask, SparseRule};
use slimbed_pep::{Mode, PepEmbedding};

use super::cases::{ALL, DIM, N_ROWS, busy, layer, rows_of, train};

/// The mask of the `n` largest margins by a stable sort.
fn naive(layer: &PepEmbedding, n: usize) -> Mask {
    let (dim, mut places) = (layer.dim(), Vec::new());
    for f in 0..layer.n_fields() {
        for row in 0..layer.n_rows(f) {
            let mut tau = vec![0.0; dim];
            layer.write_thresholds(f, row, &mut tau);
            let values = layer.rows().tables()[f].row(row as u32).iter();
            for (j, (v, tau)) in values.zip(tau).enumerate() {
                places.push((v.abs() - tau, (f, row, j)));
            }
        }
    }
    places.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<_> = places[..n].iter().map(|&(_, place)| place).collect();
    kept.sort_unstable();
    let n_rows: Vec<_> = (0..layer.n_fields()).map(|f| layer.n_rows(f)).collect();
    Mask::from_rows(&n_rows, dim, |f, row, bits| {
        let bits = bits.iter_mut().enumerate();
        bits.for_each(|(j, bit)| *bit = kept.binary_search(&(f, row, j)).is_ok());
    })
}

#[test]
fn masks_keep_the_largest_margins() {
    let n_values: usize = N_ROWS.iter().map(|n| n * DIM).sum();
    for granularity in ALL {
        let mut layer = layer(&busy(granularity, Mode::Lazy));
        train(&mut layer, 0..5);
        let n_kept = layer.n_kept() as usize;
        for n in [0, 1, 100, n_kept, n_kept + 7, n_values - 1, n_values] {
            let mask = layer.mask(n as u64);
            assert_eq!(mask.n_kept(), n as u64);
            assert_eq!(mask, naive(&layer, n), "{granularity:?} {n}");
        }
        assert_eq!(layer.mask(n_kept as u64), layer.current_mask());
        assert_eq!(layer.mask(u64::MAX).n_kept(), n_values as u64);
    }
}

#[test]
fn of_equal_margins_the_first_are_kept() {
    let n_rows = [3, 9000, 5000];
    let mut rows = rows_of(&n_rows, 3, SparseRule::Sgd, 0.0);
    for table in rows.tables_mut() {
        let values = table.values_mut().iter_mut().enumerate();
        values.for_each(|(i, v)| *v = [0.5, -0.5, 2.0, 0.25][i % 4]);
    }
    let layer = PepEmbedding::new(rows, &busy(ALL[0], Mode::Lazy)).unwrap();
    for n in [3, 2000, 11_000, 15_001, 30_000, 40_000] {
        assert_eq!(layer.mask(n), naive(&layer, n as usize), "{n}");
    }
}

#[test]
fn what_is_not_zero_is_counted() {
    for granularity in ALL {
        let mut layer = layer(&busy(granularity, Mode::Lazy));
        train(&mut layer, 0..5);
        let mut n_kept = 0;
        for f in 0..layer.n_fields() {
            let mut rows = vec![0.0; layer.n_rows(f) * DIM];
            layer.write_rows(f, 0, &mut rows);
            n_kept += rows.iter().filter(|&&v| v != 0.0).count() as u64;
        }
        assert_eq!(layer.n_kept(), n_kept);
        let figures = layer.figures();
        assert_eq!(figures[1], ("kept", n_kept as f64));
    }
}
