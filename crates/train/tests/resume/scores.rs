//! What is shipped scores what the network in training scored.

use candle_core::Device;
use slimbed_amtl::{AmtlEmbedding, AmtlSettings};
use slimbed_data::{BatchOptions, Dataset, Order, Split};
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, Mask, MaskedEmbedding, Pooling, RowInit, RowSettings, SparseRule,
    TrainedRows,
};
use slimbed_fused::{DenseRule, WeightDecay, bf16_is_available};
use slimbed_mlet::{MletEmbedding, MletSettings};
use slimbed_pep::{PepEmbedding, PepSettings};
use slimbed_train::{Engine, Learner, ModelConfig, Rates, export, score, score_artefact};

use crate::world::{SEED, World};

const DIM: usize = 16;

fn fields(dataset: &Dataset) -> Vec<FieldSpec> {
    let fields = dataset.fields().iter().map(|field| FieldSpec {
        name: field.name.clone(),
        n_rows: field.n_rows as usize,
        pooling: Pooling::Sum,
    });
    fields.collect()
}

/// A layer of each method, with rows that its step changes at once.
fn layers(dataset: &Dataset) -> [(&'static str, Box<dyn EmbeddingLayer>); 4] {
    let (fields, settings) = (
        fields(dataset),
        RowSettings {
            dim: DIM,
            init: RowInit::Normal { std: 0.3 },
            seed: SEED,
            rule: SparseRule::ADAGRAD,
            weight_decay: 0.01,
        },
    );
    let rows = || TrainedRows::new(&fields, &settings).unwrap();
    let n_rows: Vec<usize> = fields.iter().map(|field| field.n_rows).collect();
    let counts: Vec<Vec<u64>> = n_rows.iter().map(|&n| (0..n as u64).collect()).collect();
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    let half = |_, row: usize, keep: &mut [bool]| keep[row % DIM..].fill(true);
    let mask = Mask::from_rows(&n_rows, DIM, half);
    let pep = PepSettings {
        start: -2.0,
        threshold_lr: 0.01,
        ..PepSettings::default()
    };
    let amtl = AmtlSettings {
        target_ratio: 0.5,
        ..AmtlSettings::default()
    };
    let amtl = AmtlEmbedding::new(rows(), &counts, &amtl, SEED).unwrap();
    let mlet = MletEmbedding::new(&fields, &settings, &MletSettings::default()).unwrap();
    [
        ("pep", Box::new(PepEmbedding::new(rows(), &pep).unwrap())),
        ("amtl", Box::new(amtl)),
        ("mlet", Box::new(mlet)),
        (
            "masked",
            Box::new(MaskedEmbedding::new(rows(), mask).unwrap()),
        ),
    ]
}

/// A learner after an epoch.
fn trained(world: &World, config: &ModelConfig, layer: Box<dyn EmbeddingLayer>) -> Learner {
    let dataset = &world.dataset;
    let spec = config.spec(dataset.n_dense(), dataset.fields().len());
    let dense = Engine::new(&Device::Cpu)
        .build(
            spec.network().unwrap(),
            SEED,
            DenseRule::ADAM,
            WeightDecay::None,
        )
        .unwrap();
    let mut learner = Learner::new(dense, layer, SEED, 1.0);
    let options = BatchOptions {
        batch_size: 64,
        order: Order::Sequential,
        start_batch: 0,
        prefetch: 2,
    };
    let rates = Rates {
        dense: 0.01,
        embedding: 0.05,
        factor: 1.0,
    };
    let batches = dataset.batches(Split::Train, options).unwrap();
    for (batch, step) in batches.zip(0..) {
        learner.step(&batch.unwrap(), step, rates).unwrap();
    }
    learner
}

/// The tables hold the same rows (MLET's folded ones are looked up with the same bits in training), and with
/// this crate's own products a logit depends neither on the chunk it is computed in nor on who packed the
/// weights. The `gemm` crate's products do depend on the chunk, by a rounding or two.
#[test]
fn the_shipped_file_has_the_logits_of_the_network_in_training() {
    let world = World::new();
    let config = ModelConfig {
        dim: DIM,
        bottom: vec![96, 32],
        top: vec![300, 64],
        ..ModelConfig::default()
    };
    let spec = config.spec(world.dataset.n_dense(), world.dataset.fields().len());
    for (name, layer) in layers(&world.dataset) {
        let mut learner = trained(&world, &config, layer);
        // All 1300 samples of the training split, so that both cut them differently.
        let split = Split::Train;
        let live = score(&mut learner, &world.dataset, split, &|_| {}).unwrap();
        let path = world.folder.path().join(format!("{name}.safetensors"));
        let training = serde_json::Value::Null;
        export(&path, learner, &spec, &world.dataset, training).unwrap();
        let shipped = score_artefact(&path, &world.dataset, split, &Device::Cpu, &|_| {}).unwrap();
        let spread = live.logits.iter().fold(0f32, |most, z| most.max(z.abs()));
        assert!(spread > 0.5, "{name}: {spread}");
        if bf16_is_available() {
            assert_eq!(live, shipped, "{name}");
        } else {
            let pairs = live.logits.iter().zip(&shipped.logits);
            for (live, shipped) in pairs {
                assert!(
                    (live - shipped).abs() <= 1e-6 * spread,
                    "{name}: {live} {shipped}"
                );
            }
        }
    }
}
