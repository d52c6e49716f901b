//! Reduction methods through whole runs: switched off they are the plain run, targets are met, phases go on.

use std::fs;

use slimbed_compact::{Artefact, StoredTables, TableSource, Values};
use slimbed_train::{Config, MethodKind, Report, Retrain, SavedRun, Standing, resume};

use crate::world::{World, config};

/// Every row of the run's exact tables.
pub fn rows(run: &SavedRun) -> Vec<f32> {
    let tables = StoredTables::open(&run.dir().exact()).unwrap();
    let fields = 0..tables.fields().len();
    fields.flat_map(|f| tables.rows(f).unwrap()).collect()
}

pub fn report(run: &SavedRun) -> Report {
    match run.standing().unwrap() {
        Standing::Finished(report) => *report,
        other => panic!("{other:?}"),
    }
}

pub fn of_method(name: MethodKind) -> Config {
    let mut config = config();
    config.method.name = name;
    config.export.values = Values::F32;
    config.export.keep_exact = true;
    config
}

/// Every method in the form that changes nothing.
fn switched_off() -> Vec<(&'static str, Config)> {
    let mut amtl = of_method(MethodKind::Amtl);
    amtl.amtl.sizes = slimbed_amtl::Sizes::Full;
    let mut mlet = of_method(MethodKind::Mlet);
    mlet.mlet.init = slimbed_mlet::ProjectionInit::Identity;
    mlet.mlet.train_projection = slimbed_mlet::TrainProjection::Frozen;
    let mut pep = of_method(MethodKind::Pep);
    pep.method.keep = 1.0;
    let mut magnitude = of_method(MethodKind::Magnitude);
    magnitude.method.keep = 1.0;
    magnitude.method.retrain = Retrain::Initial;
    vec![
        ("amtl", amtl),
        ("mlet", mlet),
        ("pep", pep),
        ("magnitude", magnitude),
    ]
}

#[test]
fn switched_off_every_method_is_the_plain_run() {
    let world = World::new();
    let plain = world.finished("plain", &of_method(MethodKind::None));
    let metrics = fs::read(plain.dir().metrics()).unwrap();
    for (name, config) in switched_off() {
        let run = world.finished(name, &config);
        assert_eq!(fs::read(run.dir().metrics()).unwrap(), metrics, "{name}");
        assert_eq!(rows(&run), rows(&plain), "{name}");
        assert_eq!(report(&run).test, report(&plain).test, "{name}");
    }
}

#[test]
fn pruning_keeps_the_share_it_was_given() {
    let world = World::new();
    let n_values = rows(&world.finished("plain", &of_method(MethodKind::None))).len() as u64;
    for method in [MethodKind::Pep, MethodKind::Magnitude, MethodKind::MletPep] {
        let mut config = of_method(method);
        config.method.keep = 0.25;
        let run = world.finished(method.name(), &config);
        let n_kept = rows(&run).iter().filter(|x| **x != 0.0).count() as u64;
        assert_eq!(
            n_kept,
            (n_values as f64 * 0.25).round() as u64,
            "{method:?}"
        );
        let report = report(&run);
        let phases: Vec<_> = report.phases.iter().map(|p| p.phase.as_str()).collect();
        let expected = match method {
            MethodKind::Pep => vec!["search", "retrain"],
            MethodKind::Magnitude => vec!["dense", "retrain"],
            _ => vec!["wide", "search", "retrain"],
        };
        assert_eq!(phases, expected);
        assert_eq!(report.phases.last().unwrap().n_kept, n_kept);
    }
}

#[test]
fn amtl_meets_its_target_with_prefixes() {
    let world = World::new();
    let mut config = of_method(MethodKind::Amtl);
    config.method.keep = 0.4;
    let run = world.finished("amtl", &config);
    let rows = rows(&run);
    let n_kept = rows.iter().filter(|x| **x != 0.0).count() as f64;
    let share = n_kept / rows.len() as f64;
    assert!((0.35..=0.4).contains(&share), "{share}");
    for row in rows.chunks_exact(config.model.dim) {
        let k = row
            .iter()
            .rposition(|x| *x != 0.0)
            .map_or(0, |last| last + 1);
        assert!(row[..k].iter().all(|x| *x != 0.0), "{row:?}");
    }
    let phases = report(&run).phases;
    assert_eq!([&phases[0].phase, &phases[1].phase], ["sizes", "retrain"]);
}

#[test]
fn a_run_taken_back_to_its_last_phase_ends_with_the_same_bits() {
    let world = World::new();
    let mut config = of_method(MethodKind::Pep);
    config.method.keep = 0.25;
    let whole = world.finished("whole", &config);
    let again = world.finished("again", &config);
    for part in ["ckpt", "export"] {
        fs::remove_dir_all(again.dir().path().join(part)).unwrap();
    }
    fs::remove_file(again.dir().report()).unwrap();
    let searched = fs::metadata(again.dir().path().join("search/phase.json")).unwrap();
    resume(&again, &world.dataset, &candle_core::Device::Cpu).unwrap();
    let after = fs::metadata(again.dir().path().join("search/phase.json")).unwrap();
    assert_eq!(searched.modified().unwrap(), after.modified().unwrap());
    let model = |run: &SavedRun| fs::read(run.dir().artefact()).unwrap();
    assert_eq!(model(&whole), model(&again));
}

#[test]
fn what_is_shipped_looks_up_what_was_trained() {
    let world = World::new();
    for method in [MethodKind::Amtl, MethodKind::Pep] {
        let run = world.finished(method.name(), &of_method(method));
        let [exact, shipped] = [run.dir().exact(), run.dir().artefact()].map(|path| {
            let tables = StoredTables::open(&path).unwrap();
            (0..tables.fields().len())
                .map(|f| tables.rows(f).unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(exact, shipped, "{method:?}");
        assert!(Artefact::open(&run.dir().artefact()).is_ok());
    }
}
