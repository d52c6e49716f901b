//! Steps, lookups, states: what every method promises.

use slimbed_amtl::{AmtlEmbedding, AmtlSettings, Branches, Estimator, Sizes, ZeroSize};
use slimbed_embedding::{
    EmbeddingLayer, PlainEmbedding, SparseRule, StepSize, Table, TableView, lookup,
};

use crate::common::{DIM, N_ROWS, SEED, batch, copy, ids, layer, rows, scatter};

const N: usize = 700;

fn size() -> StepSize {
    StepSize {
        lr: 0.05,
        factor: 0.9,
        scale: 0.8,
    }
}

/// One step on a loss of `0.5 Σ (E − 0.1)²`; returns the embeddings.
fn step(layer: &mut dyn EmbeddingLayer, number: u64) -> Vec<f32> {
    let ids = ids(number, N);
    let mut embeddings = vec![0.0; N * N_ROWS.len() * DIM];
    layer.forward(&batch(&ids, N), &mut embeddings).unwrap();
    let gradient: Vec<f32> = embeddings.iter().map(|x| x - 0.1).collect();
    layer.backward(&gradient).unwrap();
    layer.step(size()).unwrap();
    embeddings
}

/// Settings under which sizes move within a few steps.
fn moving() -> AmtlSettings {
    AmtlSettings {
        hidden: vec![9, 5],
        lr: 0.1,
        start_bias: 0.1,
        penalty: 3.0,
        ..AmtlSettings::default()
    }
}

fn variants() -> Vec<AmtlSettings> {
    let base = moving();
    vec![
        base.clone(),
        AmtlSettings {
            branches: Branches::Single,
            zero_size: ZeroSize::Allowed,
            ..base.clone()
        },
        AmtlSettings {
            estimator: Estimator::Soft,
            ..base.clone()
        },
        AmtlSettings {
            target_ratio: 0.4,
            ..base
        },
    ]
}

#[test]
fn full_sizes_are_the_plain_layer() {
    let settings = AmtlSettings {
        sizes: Sizes::Full,
        ..AmtlSettings::default()
    };
    for rule in [SparseRule::Sgd, SparseRule::LAZY_ADAM] {
        let mut layer = layer(&settings, rule);
        let mut plain = PlainEmbedding::of(rows(rule));
        for number in 0..20 {
            assert_eq!(step(&mut layer, number), step(&mut plain, number));
            assert_eq!(
                layer.rows().tables()[1].values(),
                plain.rows().tables()[1].values()
            );
        }
        assert_eq!(layer.sizes(0), [DIM as u16; N_ROWS[0]]);
        assert_eq!(layer.figures()[0], ("mean_size", DIM as f64));
    }
}

#[test]
fn sizes_start_full_and_the_first_embeddings_are_those_of_the_plain_layer() {
    let mut layer = layer(&AmtlSettings::default(), SparseRule::Sgd);
    let mut plain = PlainEmbedding::of(rows(SparseRule::Sgd));
    assert_eq!(step(&mut layer, 0), step(&mut plain, 0));
}

#[test]
fn a_restored_layer_goes_on_with_the_same_bits() {
    for settings in variants() {
        let mut whole = layer(&settings, SparseRule::LAZY_ADAM);
        (0..5).for_each(|number| drop(step(&mut whole, number)));
        let saved = copy(&whole);
        let mut again = layer(&settings, SparseRule::LAZY_ADAM);
        saved.restore(&mut again);
        for number in 5..10 {
            assert_eq!(step(&mut whole, number), step(&mut again, number));
        }
        assert_eq!(copy(&whole).tensors(), copy(&again).tensors());
        assert_ne!(copy(&whole).tensors(), saved.tensors());
    }
}

#[test]
fn a_state_without_its_weights_is_refused() {
    let mut layer = layer(&moving(), SparseRule::Sgd);
    let saved = copy(&layer);
    let mut tensors = saved.tensors();
    tensors.retain(|tensor| tensor.name != "amtl-weights");
    let error = layer.restore(&tensors).unwrap_err().to_string();
    assert!(error.contains("amtl-weights"), "{error}");
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let run = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        pool.build().unwrap().install(|| {
            let mut layer = layer(&moving(), SparseRule::LAZY_ADAM);
            (0..6).for_each(|number| drop(step(&mut layer, number)));
            layer.fit(1500).unwrap();
            (copy(&layer), layer.figures())
        })
    };
    let ((one, figures), (three, others)) = (run(1), run(3));
    assert_eq!(one.tensors(), three.tensors());
    assert_eq!(figures, others);
}

/// The rows of all fields by `write_rows`, in runs of `n`.
fn written(layer: &AmtlEmbedding, n: usize) -> Vec<Vec<f32>> {
    let field = |f: usize| {
        let mut values = vec![0.0; N_ROWS[f] * DIM];
        for (first, out) in (0..).step_by(n).zip(values.chunks_mut(n * DIM)) {
            layer.write_rows(f, first, out);
        }
        values
    };
    (0..N_ROWS.len()).map(field).collect()
}

#[test]
fn lookups_written_rows_tables_and_sizes_agree() {
    for settings in variants() {
        let mut layer = layer(&settings, SparseRule::Sgd);
        (0..5).for_each(|number| drop(step(&mut layer, number)));
        scatter(&mut layer);
        let rows = written(&layer, 1000);
        assert_eq!(rows, written(&layer, 7), "wherever a row stands");
        for (f, rows) in rows.iter().enumerate() {
            let trained = layer.rows().tables()[f].values();
            for (row, &size) in layer.sizes(f).iter().enumerate() {
                let place = row * DIM..(row + 1) * DIM;
                let (kept, rest) = rows[place.clone()].split_at(size as usize);
                assert_eq!(kept, &trained[place][..size as usize]);
                assert!(rest.iter().all(|&x| x == 0.0));
            }
        }
        let sizes: Vec<_> = layer.sizes(1);
        assert!(sizes.iter().min() < sizes.iter().max(), "{sizes:?}");
        let kept: u64 = (0..3).flat_map(|f| layer.sizes(f)).map(u64::from).sum();
        assert_eq!(kept, layer.kept_values());

        let ids = ids(99, N);
        let mut found = vec![0.0; N * N_ROWS.len() * DIM];
        layer.lookup(&batch(&ids, N), &mut found).unwrap();
        if settings.estimator == Estimator::StraightThrough {
            let mut trained = found.clone();
            layer.forward(&batch(&ids, N), &mut trained).unwrap();
            assert_eq!(found, trained, "training sees what is deployed");
        }
        let tables = Box::new(layer).into_tables().into_iter();
        let tables: Vec<_> = tables.flat_map(|field| field.parts).collect();
        let mut expected = found.clone();
        lookup(&views(&tables), &batch(&ids, N), DIM, &mut expected).unwrap();
        assert_eq!(found, expected);
        for (table, rows) in tables.iter().zip(&rows) {
            assert_eq!(table.values(), rows);
        }
    }
}

fn views(tables: &[Table]) -> Vec<TableView<'_>> {
    let pooling = rows(SparseRule::Sgd).pooling().to_vec();
    let fields = tables.iter().zip(pooling);
    fields
        .map(|(table, pooling)| TableView {
            values: table.values(),
            dim: DIM,
            pooling,
        })
        .collect()
}

#[test]
fn calls_out_of_order_and_bad_input_are_refused() {
    let mut layer = layer(&AmtlSettings::default(), SparseRule::Sgd);
    assert!(layer.backward(&[]).is_err());
    assert!(layer.step(size()).is_err());
    let ids = ids(0, 4);
    assert!(layer.forward(&batch(&ids, 4), &mut [0.0; 3]).is_err());
    let error = AmtlEmbedding::new(
        rows(SparseRule::Sgd),
        &[&[1], &[1], &[1]],
        &AmtlSettings::default(),
        SEED,
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("counts of field `C0`: expected one count"),
        "{error}"
    );
}

#[test]
fn settings_that_cannot_work_are_named() {
    let broken = |change: fn(&mut AmtlSettings)| {
        let mut settings = AmtlSettings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    };
    let hidden = broken(|s| s.hidden.clear());
    assert!(
        hidden.contains("`hidden`: expected 1 or more widths"),
        "{hidden}"
    );
    assert!(broken(|s| s.temperature = 0.0).contains("`temperature`"));
    assert!(broken(|s| s.lr = f64::NAN).contains("`lr`"));
    assert!(broken(|s| s.start_bias = -1.0).contains("`start_bias`"));
    assert!(broken(|s| s.penalty = -1.0).contains("`penalty`"));
    assert!(broken(|s| s.target_ratio = 1.1).contains("`target_ratio`"));
    assert!(broken(|s| s.control_rate = -1.0).contains("`control_rate`"));
    let text = r#"{"zero_size": "allowed", "estimator": "soft", "hidden": [8]}"#;
    let settings: AmtlSettings = serde_json::from_str(text).unwrap();
    assert_eq!((settings.zero_size, settings.lr), (ZeroSize::Allowed, 1e-3));
    assert!(serde_json::from_str::<AmtlSettings>(r#"{"size": 1}"#).is_err());
}
