//! Baselines through whole runs.

use std::fs;

use candle_core::Device;
use slimbed_baselines::{
    AutoEmbEmbedding, AutoEmbSettings, DeepLightEmbedding, DeepLightSettings, FieldPlan,
    QrSettings, SharedEmbedding,
};
use slimbed_compact::{Artefact, Sharing, StoredTables, TableSource, Values};
use slimbed_embedding::{
    EmbeddingLayer, FieldSpec, Pooling, RowInit, RowSettings, SparseRule, TrainedRows,
};
use slimbed_train::{Config, MethodKind, Recorder, RunDir, Trainer, resume};

use crate::methods::{of_method, report, rows};
use crate::stops::Stopper;
use crate::world::{SEED, World, config};

/// Those that are small from the start.
const PLANNED: [MethodKind; 4] = [
    MethodKind::Hash,
    MethodKind::Qr,
    MethodKind::MixedDim,
    MethodKind::Cutoff,
];

fn small(method: MethodKind) -> Config {
    let mut config = of_method(method);
    config.method.keep = 0.4;
    (config.hash.threshold, config.qr.threshold) = (4, 4);
    config
}

#[test]
fn what_is_shipped_is_small_and_looks_up_what_was_trained() {
    let world = World::new();
    let plain = world.finished("plain", &of_method(MethodKind::None));
    let n_values = rows(&plain).len() as u64;
    for method in PLANNED {
        let run = world.finished(method.name(), &small(method));
        let [exact, shipped] = [run.dir().exact(), run.dir().artefact()].map(|path| {
            let tables = StoredTables::open(&path).unwrap();
            let fields = 0..tables.fields().len();
            fields.map(|f| tables.rows(f).unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(exact, shipped, "{method:?}");
        let tables = StoredTables::open(&run.dir().artefact()).unwrap();
        let is_small = |field: &slimbed_compact::SourceField| {
            field.sharing != Sharing::None || field.is_projected
        };
        assert!(tables.fields().iter().any(is_small), "{method:?}");
        let phase = &report(&run).phases[0];
        assert!(
            phase.n_trained <= n_values * 2 / 5,
            "{method:?}: {}",
            phase.n_trained
        );
        assert_eq!(phase.n_trained, phase.n_kept, "{method:?}");
        let (small, large) = (report(&run).card, report(&plain).card);
        assert!(small.parts.tables < large.parts.tables / 2, "{method:?}");
        assert_eq!(
            small.quality.map(|q| q.test.auc),
            Some(report(&run).test_auc)
        );
    }
}

#[test]
fn trained_layers_score_as_their_files() {
    let world = World::new();
    for method in PLANNED {
        let run = world.finished(method.name(), &small(method));
        // The validation of live weights that was the best, and that of the exact file and of the shipped one.
        let report = report(&run);
        let quality = report.card.quality.unwrap().validation;
        let live = report.phases[0].val_auc;
        assert!(
            (quality.auc_before - live).abs() < 1e-9,
            "{method:?}: {live} {quality:?}"
        );
        assert_eq!(
            quality.auc, quality.auc_before,
            "{method:?}: both files hold f32"
        );
    }
}

#[test]
fn small_tables_are_stored_with_smaller_values() {
    let world = World::new();
    for method in PLANNED {
        let mut bytes = Vec::new();
        for values in [Values::F32, Values::F16, Values::Int8, Values::Int4] {
            let mut config = small(method);
            config.model.dim = 8;
            config.export.values = values;
            let run = world.finished(&format!("{}-{}", method.name(), values.name()), &config);
            let exact = rows(&run);
            let tables = StoredTables::open(&run.dir().artefact()).unwrap();
            let shipped: Vec<f32> = (0..6).flat_map(|f| tables.rows(f).unwrap()).collect();
            let largest = exact.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let errors = exact.iter().zip(&shipped).map(|(a, b)| (a - b).abs());
            let error = errors.fold(0.0, f32::max) / largest;
            assert!(error < 0.15, "{method:?} {values:?}: {error}");
            let artefact = Artefact::open(&run.dir().artefact()).unwrap();
            artefact.verify().unwrap();
            bytes.push(report(&run).card.parts.tables);
        }
        assert!(
            bytes.windows(2).all(|pair| pair[1] < pair[0]),
            "{method:?}: {bytes:?}"
        );
    }
}

#[test]
fn switched_off_they_are_the_plain_run() {
    let world = World::new();
    let plain = world.finished("plain", &of_method(MethodKind::None));
    let metrics = fs::read(plain.dir().metrics()).unwrap();
    let mut even = of_method(MethodKind::MixedDim);
    even.mixed_dim.alpha = 0.0;
    let mut all = vec![("even", even), ("uniform", of_method(MethodKind::Uniform))];
    for method in [MethodKind::Hash, MethodKind::Qr, MethodKind::Cutoff] {
        let mut config = small(method);
        config.method.keep = 1.0;
        all.push((method.name(), config));
    }
    for (name, config) in all {
        let run = world.finished(name, &config);
        assert_eq!(fs::read(run.dir().metrics()).unwrap(), metrics, "{name}");
        assert_eq!(rows(&run), rows(&plain), "{name}");
        assert_eq!(report(&run).test, report(&plain).test, "{name}");
    }
}

#[test]
fn schedules_and_sizes_keep_the_share_they_were_given() {
    let world = World::new();
    let n_values = rows(&world.finished("plain", &of_method(MethodKind::None))).len() as f64;
    for (method, phases) in [
        (MethodKind::Deeplight, ["dense", "retrain"]),
        (MethodKind::Autoemb, ["sizes", "retrain"]),
    ] {
        let run = world.finished(method.name(), &small(method));
        let n_kept = rows(&run).iter().filter(|x| **x != 0.0).count() as f64;
        let share = n_kept / n_values;
        assert!((0.36..=0.4001).contains(&share), "{method:?}: {share}");
        let found: Vec<_> = report(&run)
            .phases
            .iter()
            .map(|p| p.phase.clone())
            .collect();
        assert_eq!(found, phases);
    }
}

#[test]
fn runs_taken_back_to_their_last_phase_end_with_the_same_bits() {
    let world = World::new();
    for method in [
        MethodKind::Deeplight,
        MethodKind::Autoemb,
        MethodKind::Qr,
        MethodKind::Uniform,
    ] {
        let mut config = small(method);
        (config.model.dim, config.method.keep) = (8, 0.5);
        let whole = world.finished(&format!("{}-whole", method.name()), &config);
        let again = world.finished(&format!("{}-again", method.name()), &config);
        for part in ["ckpt", "export"] {
            fs::remove_dir_all(again.dir().path().join(part)).unwrap();
        }
        fs::remove_file(again.dir().report()).unwrap();
        let dim = again.config().model.dim;
        assert_eq!(dim, if method == MethodKind::Uniform { 4 } else { 8 });
        resume(&again, &world.dataset, &Device::Cpu).unwrap();
        assert_eq!(again.config().model.dim, dim);
        let model = |run: &slimbed_train::SavedRun| fs::read(run.dir().artefact()).unwrap();
        assert_eq!(model(&whole), model(&again), "{method:?}");
    }
}

/// The layers whose state is their own, over the data's fields.
fn layer(world: &World, kind: usize) -> Box<dyn EmbeddingLayer> {
    let fields = world.dataset.fields().iter().map(|field| FieldSpec {
        name: field.name.clone(),
        n_rows: field.n_rows as usize,
        pooling: Pooling::Sum,
    });
    let fields: Vec<_> = fields.collect();
    let settings = RowSettings {
        dim: 4,
        init: RowInit::UniformByRows,
        seed: SEED,
        rule: SparseRule::LAZY_ADAM,
        weight_decay: 0.1,
    };
    let trained = || TrainedRows::new(&fields, &settings).unwrap();
    match kind {
        0 => {
            let n_rows: Vec<_> = fields.iter().map(|field| field.n_rows).collect();
            let qr = QrSettings {
                divisor: 3,
                threshold: 4,
                ..QrSettings::default()
            };
            let plan: Vec<FieldPlan> = qr.plan(&n_rows, 4, 0);
            Box::new(SharedEmbedding::new(&fields, &plan, &settings).unwrap())
        }
        1 => {
            let schedule = DeepLightSettings::default().schedule(200, 42).unwrap();
            Box::new(DeepLightEmbedding::new(trained(), schedule))
        }
        _ => {
            let vocabulary = world.dataset.vocabulary().unwrap();
            let counts: Vec<_> = vocabulary.fields().iter().map(|f| f.counts()).collect();
            let own = AutoEmbSettings::default();
            Box::new(AutoEmbEmbedding::new(trained(), &counts, &own, SEED).unwrap())
        }
    }
}

#[test]
fn stopped_and_resumed_the_bits_are_the_same() {
    let world = World::new();
    let config = config();
    for kind in 0..3 {
        let train = |dir: &RunDir, left: u64| {
            let layer = layer(&world, kind);
            let mut trainer =
                Trainer::with_layer(&world.dataset, &config, SEED, &Device::Cpu, layer).unwrap();
            trainer.restore(&dir.checkpoints()).unwrap();
            let recorder = Recorder::open(dir, trainer.metrics_bytes()).unwrap();
            trainer.run(&dir.checkpoints(), &mut Stopper { recorder, left })
        };
        let folder = |name: String| {
            let folder = world.folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            RunDir::at(&folder)
        };
        let whole = folder(format!("whole-{kind}"));
        train(&whole, u64::MAX).unwrap();
        for n_calls in (0..32).step_by(3) {
            let dir = folder(format!("stopped-{kind}-{n_calls}"));
            drop(train(&dir, n_calls));
            train(&dir, u64::MAX).unwrap();
            for name in [
                "metrics.jsonl",
                "ckpt/last.safetensors",
                "ckpt/best.safetensors",
            ] {
                let [expected, found] =
                    [&whole, &dir].map(|run| fs::read(run.path().join(name)).unwrap());
                assert!(
                    expected == found,
                    "layer {kind} after {n_calls} calls: {name}"
                );
            }
        }
    }
}
