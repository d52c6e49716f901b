//! Files fit their budget, whatever the method.

use slimbed_train::{Config, MethodKind, Report};

use crate::methods::{of_method, report};
use crate::world::World;

/// Those that meet any budget within a few values; dims and divisors go in steps.
const FINE: [MethodKind; 7] = [
    MethodKind::Pep,
    MethodKind::Magnitude,
    MethodKind::Amtl,
    MethodKind::Deeplight,
    MethodKind::Autoemb,
    MethodKind::Hash,
    MethodKind::Cutoff,
];

const COARSE: [MethodKind; 4] = [
    MethodKind::Qr,
    MethodKind::MixedDim,
    MethodKind::Uniform,
    MethodKind::Mlet,
];

/// Wide enough for half of it to be enough.
fn wide(method: MethodKind) -> Config {
    let mut config = of_method(method);
    config.model.dim = 8;
    (config.hash.threshold, config.qr.threshold) = (4, 4);
    config
}

fn with_budget(world: &World, method: MethodKind, budget: u64) -> Report {
    let mut config = wide(method);
    config.method.budget = budget;
    let run = world.finished(method.name(), &config);
    let bytes = std::fs::metadata(run.dir().artefact()).unwrap().len();
    let report = report(&run);
    assert_eq!(bytes, report.card.bytes, "{method:?}");
    report
}

#[test]
fn files_fit_their_budget() {
    let world = World::new();
    let plain = report(&world.finished("plain", &wide(MethodKind::None)));
    let budget = plain.card.bytes - plain.card.parts.tables / 2;
    for method in FINE {
        let bytes = with_budget(&world, method, budget).card.bytes;
        assert!(bytes <= budget, "{method:?}: {bytes} of {budget}");
        assert!(
            bytes as f64 >= 0.95 * budget as f64,
            "{method:?}: {bytes} of {budget}"
        );
    }
    for method in COARSE {
        let bytes = with_budget(&world, method, budget).card.bytes;
        assert!(bytes <= budget, "{method:?}: {bytes} of {budget}");
        assert!(
            bytes as f64 >= 0.7 * budget as f64,
            "{method:?}: {bytes} of {budget}"
        );
    }
}

#[test]
fn tables_fit_their_ratio() {
    let world = World::new();
    let plain = report(&world.finished("plain", &wide(MethodKind::None)));
    for method in [
        MethodKind::Magnitude,
        MethodKind::Hash,
        MethodKind::Qr,
        MethodKind::Uniform,
    ] {
        let mut config = wide(method);
        config.method.ratio = 2.0;
        let tables = report(&world.finished(method.name(), &config)).card.parts;
        let most = plain.card.parts.tables as f64 / 2.0;
        assert!(tables.tables as f64 <= most, "{method:?}: {tables:?}");
    }
}

#[test]
fn impossible_budgets_name_the_smallest() {
    let world = World::new();
    for method in FINE.into_iter().chain(COARSE) {
        let mut config = of_method(method);
        config.method.budget = 10;
        let error = slimbed_train::run(&world.request("tiny", &config)).unwrap_err();
        let error = error.to_string();
        let start = "expected a budget of at least ";
        assert!(error.starts_with(start), "{method:?}: {error}");
        assert!(
            error.ends_with("bytes for the shipped file, found 10"),
            "{error}"
        );
        let smallest: u64 = error[start.len()..]
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(smallest > 1000, "{method:?}: {error}");
    }
    let mut config = of_method(MethodKind::Hash);
    config.method.keep = 1e-6;
    let error = slimbed_train::run(&world.request("few", &config)).unwrap_err();
    assert!(error.to_string().contains("values, found"), "{error}");
    config.method.budget = 100_000;
    config.export.max_auc_drop = 0.1;
    assert!(
        config.check().is_err(),
        "bytes of types selected later are not known"
    );
}
