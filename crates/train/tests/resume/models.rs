//! Every model through whole runs: trained, shipped, reloaded, scored; stopped and resumed.

use std::fs;

use candle_core::Device;
use slimbed_compact::{Artefact, Values};
use slimbed_data::Split;
use slimbed_score::{ModelSpec, first_order_name};
use slimbed_train::{
    Config, MethodKind, ModelKind, Report, RunDir, SavedRun, Standing, Trainer, resume,
    score_artefact,
};

use crate::stops::assert_same_files;
use crate::world::{World, config};

/// Every model, and the forms that differ.
fn all() -> Vec<(String, Config)> {
    let with = |kind: ModelKind| {
        let mut config = config();
        config.model.kind = kind;
        if kind == ModelKind::Lr {
            config.model.dim = 1;
        }
        config.model.cross_layers = 2;
        config.model.attention_layers = 2;
        config.model.attention_dim = 3;
        config
    };
    let mut all: Vec<_> = ModelKind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), with(kind)))
        .collect();
    let mut plain = with(ModelKind::AutoInt);
    plain.model.top = Vec::new();
    let mut parallel = with(ModelKind::DcnV2);
    parallel.model.cross_structure = slimbed_base_models::DcnStructure::Parallel;
    all.push(("autoint-alone".into(), plain));
    all.push(("dcn-v2-parallel".into(), parallel));
    all
}

fn report(run: &SavedRun) -> Report {
    match run.standing().unwrap() {
        Standing::Finished(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_shipped_scores_like_what_was_trained() {
    let world = World::new();
    for (name, mut config) in all() {
        config.export.values = Values::F32;
        let run = world.finished(&name, &config);
        let mut trainer =
            Trainer::new(&world.dataset, &config, crate::world::SEED, &Device::Cpu).unwrap();
        trainer.restore(&run.dir().checkpoints()).unwrap();
        trainer.load_best(&run.dir().checkpoints()).unwrap();
        let live = slimbed_train::score(
            &mut trainer.into_learner(),
            &world.dataset,
            Split::Test,
            &|_| {},
        );
        let (live, artefact) = (live.unwrap(), run.dir().artefact());
        let shipped = score_artefact(
            &artefact,
            &world.dataset,
            Split::Test,
            &Device::Cpu,
            &|_| {},
        );
        let shipped = shipped.unwrap();
        assert!(live.logits.len() > 100, "{name}");
        for (live, shipped) in live.logits.iter().zip(&shipped.logits) {
            let least = 1e-5 * live.abs().max(1.0);
            assert!(
                (live - shipped).abs() <= least,
                "{name}: {live} != {shipped}"
            );
        }
        let report = report(&run);
        assert!(report.test_auc > 0.5, "{name}: {}", report.test_auc);
        assert_eq!(
            report.artefact_bytes,
            fs::metadata(&artefact).unwrap().len()
        );
    }
}

#[test]
fn first_order_tables_are_in_the_file_and_in_its_bytes() {
    let world = World::new();
    for (name, config) in all() {
        let run = world.finished(&name, &config);
        let artefact = Artefact::open(&run.dir().artefact()).unwrap();
        artefact.verify().unwrap();
        let spec = ModelSpec::of(&artefact).unwrap();
        let fields = world.dataset.fields();
        let stored = &artefact.manifest().fields;
        let names = fields.iter().map(|field| field.name.clone());
        let weights = fields.iter().map(|field| first_order_name(&field.name));
        let expected: Vec<String> = if spec.has_first_order() {
            names.chain(weights).collect()
        } else {
            names.collect()
        };
        let found: Vec<_> = stored.iter().map(|field| field.name.clone()).collect();
        assert_eq!(found, expected, "{name}");
        assert!(stored[fields.len()..].iter().all(|field| field.dim == 1));
        let bytes: u64 = (0..stored.len()).map(|f| artefact.field_bytes(f)).sum();
        assert_eq!(report(&run).card.parts.tables, bytes, "{name}");
        let n_rows: u64 = fields.iter().map(|field| u64::from(field.n_rows)).sum();
        let n_values = n_rows * (config.model.dim as u64 + u64::from(spec.has_first_order()));
        let n_weights: usize = spec.network().unwrap().n_params();
        let dense = 4 * (n_values + n_weights as u64);
        assert_eq!(report(&run).dense_bytes, dense, "{name}");
    }
}

#[test]
fn a_run_with_first_order_weights_goes_on_with_the_same_bits() {
    let world = World::new();
    for kind in [ModelKind::DeepFm, ModelKind::WideDeep] {
        let mut config = config();
        config.model.kind = kind;
        let whole = world.finished("whole", &config);
        let lazy = fs::read(whole.dir().checkpoints().last).unwrap();
        let again = world.finished("again", &config);
        let folder = again.dir().path();
        take_back(&world, again.dir(), &config, 25);
        assert!(matches!(again.standing().unwrap(), Standing::Training(_)));
        resume(&again, &world.dataset, &Device::Cpu).unwrap();
        assert_same_files(whole.dir().path(), folder, kind.name());
        assert_eq!(fs::read(again.dir().checkpoints().last).unwrap(), lazy);
        fs::remove_dir_all(folder).unwrap();
        fs::remove_dir_all(whole.dir().path()).unwrap();
    }
}

/// Takes a finished run back to where it stood after so many events.
fn take_back(world: &World, dir: &RunDir, config: &Config, n_calls: u64) {
    for part in ["ckpt", "export"] {
        fs::remove_dir_all(dir.path().join(part)).unwrap();
    }
    fs::remove_file(dir.report()).unwrap();
    fs::remove_file(dir.metrics()).unwrap();
    crate::stops::train(world, dir, config, n_calls).unwrap_err();
}

#[test]
fn methods_reduce_the_embeddings_and_leave_the_first_order_weights() {
    let world = World::new();
    let n_fields = world.dataset.fields().len();
    for method in MethodKind::ALL {
        let mut config = config();
        config.model.kind = ModelKind::DeepFm;
        config.method.name = method;
        let prunes = matches!(
            method,
            MethodKind::Pep | MethodKind::MletPep | MethodKind::Magnitude
        );
        // Tables this small share few of their rows; what is asked for is what every method can reach.
        config.method.keep = if prunes { 0.25 } else { 0.9 };
        config.export.values = Values::F32;
        let run = world.finished(method.name(), &config);
        let artefact = Artefact::open(&run.dir().artefact()).unwrap();
        let kept = |fields: &[slimbed_compact::FieldEntry]| {
            let parts = fields.iter().flat_map(|field| &field.parts);
            let (kept, all) = parts.fold((0, 0), |(kept, all), part| {
                (kept + part.n_kept, all + part.n_rows * u64::from(part.dim))
            });
            kept as f64 / all as f64
        };
        let (embeddings, weights) = artefact.manifest().fields.split_at(n_fields);
        if prunes {
            assert!((kept(embeddings) - 0.25).abs() < 0.01, "{method:?}");
        }
        assert_eq!(weights.len(), n_fields, "{method:?}");
        assert!(kept(weights) > 0.3, "{method:?}: {}", kept(weights));
    }
}

#[test]
fn a_budget_covers_the_first_order_weights() {
    let world = World::new();
    let mut config = config();
    config.model.kind = ModelKind::Fm;
    config.method.name = MethodKind::Magnitude;
    let mut plain = config.clone();
    plain.method.name = MethodKind::None;
    let plain = report(&world.finished("plain", &plain));
    // The first-order weights alone take a third of the tables, or more.
    let budget = plain.card.bytes - plain.card.parts.tables / 3;
    config.method.budget = budget;
    let bytes = report(&world.finished("budget", &config)).card.bytes;
    assert!(bytes <= budget, "{bytes} of {budget}");
    assert!(bytes as f64 >= 0.95 * budget as f64, "{bytes} of {budget}");
    config.method.budget = 100;
    let error = slimbed_train::run(&world.request("tiny", &config)).unwrap_err();
    assert!(
        error.to_string().contains("a budget of at least"),
        "{error}"
    );
}

#[test]
fn a_warm_start_takes_the_first_order_weights_along() {
    let world = World::new();
    let mut config = config();
    config.model.kind = ModelKind::DeepFm;
    config.export.keep_exact = true;
    let first = world.finished("first", &config);
    config.method.warm_start = first.dir().exact().display().to_string();
    let second = world.finished("second", &config);
    let lines = fs::read_to_string(second.dir().metrics()).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let auc = line["auc"].as_f64().or(line["metrics"]["auc"].as_f64());
    // Before the first step it is the model that the first run ended with.
    let found = auc.unwrap_or_else(|| panic!("{line}"));
    assert!((found - report(&first).card.quality.unwrap().validation.auc_before).abs() < 1e-6);
}
