//! What every layer has to hold to: threads, restarts, and one answer from all readers.

use slimbed_embedding::{EmbeddingError, EmbeddingLayer, SparseRule, StepSize};
use slimbed_pep::{Granularity, Mode, PepEmbedding, PepSettings};

use super::cases::{
    ALL, DIM, Saved, batch, busy, forward, ids, layer, noise, row_bits, rows, rows_of, train,
};

#[test]
fn a_restored_layer_goes_on_with_the_same_bits() {
    for granularity in ALL {
        for mode in [Mode::Lazy, Mode::Faithful] {
            let settings = busy(granularity, mode);
            let make = || {
                let rows = rows(SparseRule::LAZY_ADAM, 0.01);
                PepEmbedding::new(rows, &settings).unwrap()
            };
            let mut first = make();
            train(&mut first, 0..5);
            let saved = Saved::of(&first);
            let mut second = make();
            saved.restore(&mut second).unwrap();
            assert_eq!(train(&mut first, 5..10), train(&mut second, 5..10));
            assert_eq!(Saved::of(&first).0, Saved::of(&second).0);
            let mut names: Vec<_> = saved.0.iter().map(|tensor| &tensor.0).collect();
            names.sort();
            assert!(names.is_sorted_by(|a, b| a < b), "names are unique");
        }
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let settings = busy(Granularity::IdDimension, Mode::Lazy);
    let mut saved = Saved::of(&layer(&settings));
    saved.0.retain(|tensor| tensor.0 != "C1/threshold-moments");
    let error = saved.restore(&mut layer(&settings)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "state `C1/threshold-moments`: expected (6, 10), found nothing"
    );
    saved.0.retain(|tensor| tensor.0 != "threshold-path/v");
    let error = saved.restore(&mut layer(&settings)).unwrap_err();
    assert!(error.to_string().contains("threshold-path/v"), "{error}");
}

#[test]
fn lookups_rows_and_tables_are_what_forward_sees() {
    for granularity in ALL {
        for mode in [Mode::Lazy, Mode::Faithful] {
            let mut layer = layer(&busy(granularity, mode));
            train(&mut layer, 0..7);
            layer.settle();
            let ids = ids(99, 30);
            let expected = forward(&mut layer, &ids);
            let mut looked_up = vec![f32::NAN; expected.len()];
            layer.lookup(&batch(&ids), &mut looked_up).unwrap();
            assert_eq!(looked_up, expected);
            let error = layer.backward(&expected).unwrap_err();
            assert!(matches!(error, EmbeddingError::NoForward));
            let bits = row_bits(&mut layer);
            let mut part = vec![0.0; 2 * DIM];
            layer.write_rows(2, 7, &mut part);
            let part: Vec<_> = part.into_iter().map(f32::to_bits).collect();
            assert_eq!(part, bits[2][7 * DIM..9 * DIM]);
            let tables = Box::new(layer).into_tables().into_iter();
            let tables: Vec<_> = tables.flat_map(|field| field.parts).collect();
            for (table, bits) in tables.iter().zip(&bits) {
                assert!(
                    table
                        .values()
                        .iter()
                        .map(|v| v.to_bits())
                        .eq(bits.iter().copied())
                );
            }
            for (b, &id) in ids[0].0.iter().enumerate() {
                let row = &expected[b * 3 * DIM..][..DIM];
                assert_eq!(row, tables[0].row(id), "sample {b}");
            }
        }
    }
}

/// Bits of everything after some steps large enough to be cut into many tasks.
fn bits_on(n_threads: usize, settings: &PepSettings) -> (Vec<Vec<u32>>, u64, Vec<u32>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
    pool.build().unwrap().install(|| {
        let rows = rows_of(&[20_000, 9000], 8, SparseRule::LAZY_ADAM, 0.01);
        let mut layer = PepEmbedding::new(rows, settings).unwrap();
        let mut norm = 0;
        for step in 0..3u32 {
            let id = |b: u32, n: u32| (b.wrapping_mul(0x9e37_79b9).wrapping_add(step * 77)) % n;
            let ids = [20_000, 9000].map(|n| ((0..6000).map(|b| id(b, n)).collect(), None));
            let out = forward(&mut layer, &ids);
            layer.backward(&noise(step.into(), out.len(), 0.1)).unwrap();
            norm = layer.gradient_norm_squared().unwrap().to_bits();
            layer.step(StepSize::of(0.05)).unwrap();
        }
        let mask = layer.mask(100_000);
        let words = (0..2).flat_map(|f| mask.words(f).to_vec()).collect();
        (row_bits(&mut layer), norm, words)
    })
}

#[test]
fn bits_do_not_depend_on_threads() {
    for granularity in ALL {
        for mode in [Mode::Lazy, Mode::Faithful] {
            let settings = busy(granularity, mode);
            let (one, three) = (bits_on(1, &settings), bits_on(3, &settings));
            assert!(one == three, "{granularity:?} {mode:?}");
        }
    }
}

#[test]
fn calls_out_of_order_and_bad_batches_are_refused() {
    let mut layer = layer(&busy(Granularity::IdDimension, Mode::Lazy));
    assert!(matches!(
        layer.backward(&[]),
        Err(EmbeddingError::NoForward)
    ));
    let ids = ids(1, 4);
    let out = forward(&mut layer, &ids);
    let step = layer.step(StepSize::of(0.1));
    assert!(matches!(step, Err(EmbeddingError::NoGradient)));
    let mut short = vec![0.0; out.len() - 1];
    let error = layer.forward(&batch(&ids), &mut short).unwrap_err();
    assert!(matches!(error, EmbeddingError::Length { .. }));
    layer.backward(&out).unwrap();
    let bad = vec![(vec![50], None), (vec![0], None), (vec![0], None)];
    let error = layer.forward(&batch(&bad), &mut [0.0; 15]).unwrap_err();
    assert!(matches!(error, EmbeddingError::IdOutOfRange { id: 50, .. }));
    layer.step(StepSize::of(0.1)).unwrap();
}

#[test]
fn a_schedule_of_zero_and_clipping_reach_the_thresholds() {
    let settings = busy(Granularity::IdDimension, Mode::Lazy);
    let moved = |factor, scale| {
        let mut layer = layer(&settings);
        let out = forward(&mut layer, &ids(1, 40));
        layer.backward(&noise(1, out.len(), 100.0)).unwrap();
        let lr = 0.0;
        layer.step(StepSize { lr, factor, scale }).unwrap();
        let mut tau = [0.0; DIM];
        layer.write_thresholds(1, 3, &mut tau);
        tau
    };
    let still = moved(0.0, 1.0);
    assert!(still.iter().all(|&tau| tau == still[0]));
    assert_ne!(moved(1.0, 1.0), still);
    let clipped = moved(1.0, 0.0);
    assert!(
        clipped
            .iter()
            .all(|&tau| tau == clipped[0] && tau > still[0])
    );
}
