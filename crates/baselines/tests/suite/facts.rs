//! What holds for every layer.

use proptest::prelude::*;
use slimbed_baselines::{
    CutoffSettings, FieldPlan, HashSettings, MixedDimSettings, Plan, QrSettings, n_values,
};
use slimbed_embedding::{
    EmbeddingError, EmbeddingLayer, PlainEmbedding, Sharing, SparseRule, StateValues, TableView,
    lookup,
};

use crate::cases::{
    Batch, DIM, N, all_rows, counts, fields, forward, layers, n_rows, rows, shared, shared_plans,
    train_step,
};

/// Plans that change nothing.
fn switched_off() -> Vec<Plan> {
    let counts = counts();
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    let qr = QrSettings {
        divisor: 1,
        ..QrSettings::default()
    };
    let all = u64::MAX;
    vec![
        HashSettings::default().plan(&n_rows(), DIM, all),
        qr.plan(&n_rows(), DIM, 0),
        QrSettings::default().plan(&n_rows(), DIM, all),
        CutoffSettings::default().plan(&counts, DIM, all),
    ]
}

#[test]
fn switched_off_they_are_the_plain_layer_bit_for_bit() {
    for rule in [
        SparseRule::Sgd,
        SparseRule::ROW_WISE_ADAGRAD,
        SparseRule::LAZY_ADAM,
    ] {
        let mut plain = PlainEmbedding::new(&fields(), &rows(rule)).unwrap();
        let mut others: Vec<Box<dyn EmbeddingLayer>> = Vec::new();
        for plan in switched_off() {
            let own: Plan = n_rows().iter().map(|&n| FieldPlan::own(n, DIM)).collect();
            assert_eq!(plan, own);
            others.push(Box::new(shared(&plan, rule)));
        }
        let even = MixedDimSettings {
            alpha: 0.0,
            ..MixedDimSettings::default()
        };
        let plan = even.plan_of_rule(&n_rows(), DIM);
        others.push(Box::new(even.layer(&fields(), &plan, &rows(rule)).unwrap()));
        for step in 0..4 {
            let expected = train_step(&mut plain, step);
            for other in &mut others {
                assert_eq!(train_step(other.as_mut(), step), expected);
            }
        }
        for other in &others {
            assert_eq!(all_rows(other.as_ref()), all_rows(&plain));
        }
    }
}

#[test]
fn they_train_no_more_than_they_were_given() {
    for (name, plan) in shared_plans() {
        let layer = shared(&plan, SparseRule::Sgd);
        assert_eq!(layer.n_trained(), n_values(&plan, DIM), "{name}");
        assert!(layer.n_trained() <= (594 * DIM / 4) as u64, "{name}");
        let stored: usize = Box::new(layer)
            .into_tables()
            .iter()
            .flat_map(|field| &field.parts)
            .map(|table| table.values().len())
            .sum();
        assert_eq!(stored as u64, n_values(&plan, DIM), "{name}");
    }
}

#[test]
fn all_readers_agree() {
    for (name, mut layer) in layers(SparseRule::ADAGRAD) {
        (0..4).for_each(|step| drop(train_step(layer.as_mut(), step)));
        let batch = Batch::random(N, 77);
        let trained = forward(layer.as_mut(), &batch);
        let mut scored = vec![f32::NAN; trained.len()];
        layer.lookup(&batch.ids(), &mut scored).unwrap();
        assert_eq!(trained, scored, "{name}");
        let mut middle = vec![0.0; 2 * DIM];
        layer.write_rows(1, 7, &mut middle);
        let rows = all_rows(layer.as_ref());
        assert_eq!(middle, rows[1][7 * DIM..9 * DIM], "{name}");
        let views: Vec<_> = rows
            .iter()
            .zip(layer.pooling())
            .map(|(values, &pooling)| TableView {
                values,
                dim: DIM,
                pooling,
            })
            .collect();
        let mut plain = vec![f32::NAN; trained.len()];
        lookup(&views, &batch.ids(), DIM, &mut plain).unwrap();
        assert_eq!(trained, plain, "{name}");
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let trained = layers(SparseRule::LAZY_ADAM)
                .into_iter()
                .map(|(_, mut layer)| {
                    let seen: Vec<_> = (0..3)
                        .map(|step| train_step(layer.as_mut(), step))
                        .collect();
                    (seen, all_rows(layer.as_ref()))
                });
            trained.collect::<Vec<_>>()
        })
    };
    assert_eq!(train(1), train(3));
}

#[test]
fn a_restored_layer_goes_on_with_the_same_bits() {
    for rule in [SparseRule::ROW_WISE_ADAGRAD, SparseRule::LAZY_ADAM] {
        let pairs = layers(rule).into_iter().zip(layers(rule));
        for ((name, mut whole), (_, mut resumed)) in pairs {
            (0..3).for_each(|step| drop(train_step(whole.as_mut(), step)));
            let state = whole.state();
            let mut names: Vec<_> = state.iter().map(|tensor| tensor.name.clone()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), state.len(), "{name}: names are unique");
            resumed.restore(&state).unwrap();
            let missing = state[1..].to_vec();
            let error = resumed.restore(&missing).unwrap_err();
            assert!(matches!(error, EmbeddingError::StateMismatch { .. }));
            resumed.restore(&state).unwrap();
            drop((state, missing));
            for step in 3..6 {
                let expected = train_step(whole.as_mut(), step);
                assert_eq!(train_step(resumed.as_mut(), step), expected, "{name}");
            }
            let (a, b) = (whole.state(), resumed.state());
            assert!(
                a.iter()
                    .zip(&b)
                    .all(|(a, b)| bits(a.values) == bits(b.values))
            );
        }
    }
}

fn bits(values: StateValues<'_>) -> Vec<u32> {
    match values {
        StateValues::F32(values) => values.iter().map(|x| x.to_bits()).collect(),
        StateValues::U32(values) => values.to_vec(),
    }
}

#[test]
fn calls_out_of_order_and_wrong_ids_are_errors() {
    for (name, mut layer) in layers(SparseRule::Sgd) {
        let error = layer.backward(&[]).unwrap_err();
        assert!(matches!(error, EmbeddingError::NoForward), "{name}");
        let mut batch = Batch::random(N, 1);
        batch.fields[0].0[3] = 500;
        let mut out = vec![0.0; N * 4 * DIM];
        let error = layer.forward(&batch.ids(), &mut out).unwrap_err();
        let expected = "field 0: id 500 at position 3 is not below 500 rows";
        assert_eq!(error.to_string(), expected, "{name}");
        let error = layer
            .lookup(&Batch::random(N, 1).ids(), &mut out[1..])
            .unwrap_err();
        assert!(matches!(error, EmbeddingError::Length { .. }), "{name}");
    }
}

#[test]
fn made_rows_have_the_variance_of_plain_ones() {
    let n_rows = 40_000;
    let field = slimbed_embedding::FieldSpec {
        n_rows,
        ..fields().swap_remove(0)
    };
    let mut settings = rows(SparseRule::Sgd);
    settings.init = slimbed_embedding::RowInit::UniformByRows;
    let expected = 1.0 / (3.0 * n_rows as f64);
    for combine in ["product", "sum", "concat"] {
        let json = format!(r#"{{"divisor": 150, "combine": "{combine}"}}"#);
        let qr: QrSettings = serde_json::from_str(&json).unwrap();
        let plan = qr.plan(&[n_rows], DIM, 0);
        let layer =
            slimbed_baselines::SharedEmbedding::new(std::slice::from_ref(&field), &plan, &settings)
                .unwrap();
        let rows = all_rows(&layer).swap_remove(0);
        let squares: f64 = rows.iter().map(|&x| f64::from(x).powi(2)).sum();
        let variance = squares / rows.len() as f64;
        assert!(
            (variance / expected - 1.0).abs() < 0.15,
            "{combine}: {variance} {expected}"
        );
    }
}

proptest! {
    #[test]
    fn hashed_fields_take_their_factor(
        sizes in prop::collection::vec(1_usize..30_000, 1..6),
        share in 0.01_f64..1.0,
    ) {
        let all = sizes.iter().sum::<usize>() * DIM;
        let n = (share * all as f64) as u64;
        let settings = HashSettings { threshold: 0, seed: 1 };
        let plan = settings.plan(&sizes, DIM, n);
        let least = n_values(&settings.plan(&sizes, DIM, 0), DIM);
        prop_assert!(n_values(&plan, DIM) <= n.max(least));
        // Each field may lack a row to its share.
        let most = n.saturating_sub(((sizes.len() + 1) * DIM) as u64);
        prop_assert!(n_values(&plan, DIM) >= most.min(all as u64));
        for (field, &size) in plan.iter().zip(&sizes) {
            let is_own = field.sharing == Sharing::None;
            prop_assert_eq!(is_own, field.parts[0].0 == size);
        }
    }

    #[test]
    fn mixed_dims_keep_to_the_number_of_values(
        sizes in prop::collection::vec(1_usize..30_000, 1..6),
        share in 0.05_f64..1.0,
        alpha in 0.0_f64..0.6,
    ) {
        let settings = MixedDimSettings { alpha, ..MixedDimSettings::default() };
        let all = sizes.iter().sum::<usize>() * 16;
        let n = (share * all as f64) as u64;
        let plan = settings.plan(&sizes, 16, n);
        let least = n_values(&settings.plan(&sizes, 16, 0), 16);
        prop_assert!(n_values(&plan, 16) <= n.max(least));
    }
}
