//! What every reduction method has to keep: the off switch, threads, checkpoints, one answer from all readers.

use slimbed_embedding::{
    EmbeddingError, EmbeddingLayer, PlainEmbedding, SparseRule, StateTensor, StateValues,
    TableView, lookup,
};

use crate::cases::{Batch, DIM, N, all_rows, fields, forward, layer, rows, train_step};

const RULES: [SparseRule; 3] = [
    SparseRule::Sgd,
    SparseRule::ROW_WISE_ADAGRAD,
    SparseRule::LAZY_ADAM,
];

const SETTINGS: [&str; 4] = [
    r#"{"inner_dim": 10}"#,
    r#"{"optimizer": "adam", "lr": 0.01, "fields": {"a": {"dim": 3}, "few": {"dim": 2}}}"#,
    r#"{"optimizer": "sgd", "inner_dim": 2, "init": "normal"}"#,
    r#"{"train_projection": "frozen", "init": "random-projection", "fields": {"sum": {"dim": 1}}}"#,
];

#[test]
fn a_frozen_identity_is_a_plain_table_bit_for_bit() {
    for rule in RULES {
        let mut off = layer(
            r#"{"init": "identity", "train_projection": "frozen"}"#,
            rule,
        );
        let mut plain = PlainEmbedding::new(&fields(), &rows(DIM, rule)).unwrap();
        for step in 0..20 {
            assert_eq!(train_step(&mut off, step), train_step(&mut plain, step));
        }
        assert_eq!(all_rows(&off), all_rows(&plain));
    }
}

/// Embeddings and rows after some steps on a pool of so many threads.
fn trained(threads: usize, json: &str) -> (Vec<Vec<f32>>, Vec<f32>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(|| {
        let mut layer = layer(json, SparseRule::ADAGRAD);
        for step in 0..3 {
            let embeddings = forward(&mut layer, &Batch::random(6000, step));
            layer.backward(&embeddings).unwrap();
            layer.step(slimbed_embedding::StepSize::of(0.01)).unwrap();
        }
        (all_rows(&layer), layer.projection(0).unwrap().to_vec())
    })
}

#[test]
fn bits_do_not_depend_on_threads() {
    for json in SETTINGS {
        assert_eq!(trained(1, json), trained(3, json));
    }
}

/// State that owns its values.
fn save(layer: &dyn EmbeddingLayer) -> Vec<(StateTensor<'static>, Vec<u32>)> {
    let tensors = layer.state().into_iter().map(|tensor| {
        let bits = match tensor.values {
            StateValues::F32(values) => values.iter().map(|x| x.to_bits()).collect(),
            StateValues::U32(values) => values.to_vec(),
        };
        let values = match tensor.values {
            StateValues::F32(_) => StateValues::F32(&[]),
            StateValues::U32(_) => StateValues::U32(&[]),
        };
        (StateTensor { values, ..tensor }, bits)
    });
    tensors.collect()
}

/// Hands saved state to a layer.
fn restore(
    layer: &mut dyn EmbeddingLayer,
    saved: &[(StateTensor<'static>, Vec<u32>)],
) -> Result<(), EmbeddingError> {
    let floats: Vec<Vec<f32>> = saved
        .iter()
        .map(|(_, bits)| bits.iter().map(|&x| f32::from_bits(x)).collect())
        .collect();
    let tensors: Vec<StateTensor<'_>> = saved
        .iter()
        .zip(&floats)
        .map(|((tensor, bits), floats)| StateTensor {
            values: match tensor.values {
                StateValues::F32(_) => StateValues::F32(floats),
                StateValues::U32(_) => StateValues::U32(bits),
            },
            ..tensor.clone()
        })
        .collect();
    layer.restore(&tensors)
}

#[test]
fn a_restored_layer_goes_on_with_the_same_bits() {
    for (json, rule) in SETTINGS.into_iter().zip(RULES.into_iter().cycle()) {
        let mut layer = layer(json, rule);
        (0..5).for_each(|step| drop(train_step(&mut layer, step)));
        let saved = save(&layer);
        let mut names: Vec<_> = saved.iter().map(|(tensor, _)| &tensor.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), saved.len(), "names are unique");
        let mut resumed = crate::cases::layer(json, rule);
        restore(&mut resumed, &saved).unwrap();
        for step in 5..10 {
            assert_eq!(train_step(&mut layer, step), train_step(&mut resumed, step));
        }
        assert_eq!(all_rows(&layer), all_rows(&resumed));
        assert_eq!(save(&layer), save(&resumed));
    }
}

#[test]
fn missing_state_is_named() {
    let full = layer(SETTINGS[1], SparseRule::Sgd);
    for name in ["a/w2", "sum/w2/m", "w2/step", "few/rows"] {
        let mut saved = save(&full);
        saved.retain(|(tensor, _)| tensor.name != name);
        let mut fresh = layer(SETTINGS[1], SparseRule::Sgd);
        let error = restore(&mut fresh, &saved).unwrap_err().to_string();
        assert!(error.starts_with(&format!("state `{name}`")), "{error}");
    }
}

#[test]
fn all_readers_agree_bit_for_bit() {
    for json in SETTINGS {
        let mut layer = layer(json, SparseRule::ADAGRAD);
        (0..4).for_each(|step| drop(train_step(&mut layer, step)));
        let batch = Batch::random(N, 77);
        let trained = forward(&mut layer, &batch);
        let mut scored = vec![f32::NAN; trained.len()];
        layer.lookup(&batch.ids(), &mut scored).unwrap();
        assert_eq!(trained, scored);
        let mut middle = vec![0.0; 2 * DIM];
        layer.write_rows(1, 7, &mut middle);
        let rows = all_rows(&layer);
        assert_eq!(middle, rows[1][7 * DIM..9 * DIM]);
        let memory = layer.rows().tables()[0].values().as_ptr();
        let is_wide = layer.width(0) >= DIM;
        let pooling = layer.pooling().to_vec();
        let tables = Box::new(layer).into_tables().into_iter();
        let tables: Vec<_> = tables.flat_map(|field| field.parts).collect();
        assert_eq!(tables[0].values().as_ptr() == memory, is_wide, "in place");
        let views: Vec<_> = tables
            .iter()
            .zip(pooling)
            .map(|(table, pooling)| TableView {
                values: table.values(),
                dim: table.dim(),
                pooling,
            })
            .collect();
        for (table, rows) in tables.iter().zip(&rows) {
            assert_eq!(table.values(), rows);
        }
        let mut folded = vec![f32::NAN; trained.len()];
        lookup(&views, &batch.ids(), DIM, &mut folded).unwrap();
        assert_eq!(trained, folded);
    }
}

#[test]
fn large_tables_fold_in_place() {
    let settings = serde_json::from_str(r#"{"inner_dim": 12}"#).unwrap();
    let field = slimbed_embedding::FieldSpec {
        name: "large".into(),
        n_rows: 40_000,
        pooling: slimbed_embedding::Pooling::Sum,
    };
    let layer =
        slimbed_mlet::MletEmbedding::new(&[field], &rows(DIM, SparseRule::Sgd), &settings).unwrap();
    let expected = all_rows(&layer);
    let tables = Box::new(layer).into_tables();
    let table = &tables[0].parts[0];
    assert_eq!((table.n_rows(), table.dim()), (40_000, DIM));
    assert!(table.values() == expected[0]);
}

#[test]
fn calls_out_of_order_and_wrong_lengths_are_errors() {
    let mut layer = layer(SETTINGS[0], SparseRule::Sgd);
    let batch = Batch::random(N, 1);
    assert!(matches!(
        layer.backward(&[]),
        Err(EmbeddingError::NoForward)
    ));
    assert!(matches!(
        layer.forward(&batch.ids(), &mut [0.0; 3]),
        Err(EmbeddingError::Length { .. })
    ));
    let embeddings = forward(&mut layer, &batch);
    assert!(matches!(
        layer.gradient_norm_squared(),
        Err(EmbeddingError::NoGradient)
    ));
    assert!(matches!(
        layer.backward(&embeddings[1..]),
        Err(EmbeddingError::Length { .. })
    ));
    layer.backward(&embeddings).unwrap();
    let first = layer.gradient_norm_squared().unwrap();
    layer.backward(&embeddings).unwrap();
    assert_eq!(
        layer.gradient_norm_squared().unwrap(),
        first,
        "backward twice"
    );
}
